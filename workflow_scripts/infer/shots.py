"""Step: draw the answered rows of a training split that stand before the questions of a scored one."""

from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.systems.model import Shots
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.questions.shot_sets import draw, sets_of


def write_shots(*, split: Path, train: Path, shots: Shots, out: Path) -> str:
    """Write the shots of a system on a split: rows of the training split, set by set, in the order of the prompt.

    Args:
        split: Parquet of the rows to answer.
        train: Parquet of training rows.
        shots: JSON of the system's `shots`.
        out: Parquet of rows to write.

    Raises:
        Refused: too few training rows can be shown.
    """
    shown = draw(read_rows(train, Row), read_rows(split, Row), shots)
    write_rows(out, shown, Row)
    return f"shots: {len(sets_of(shown, shots))} sets of {shots.count}"


if __name__ == "__main__":
    run_step(write_shots)
