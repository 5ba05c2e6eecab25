"""Step: choose one setting of a sweep by rows held back from training, and publish its weights under the sweep's name.

It reads training logs and the answers to held-back rows, and no row of another split: evaluated splits are written
after the selection (`rules/data.smk`).
"""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.cache.store import put_in_place, unfinished
from workflow_scripts.core.answers import ReadingPart, final_answer
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.config.recipes import Recipe, Selection
from workflow_scripts.core.files import write_json
from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.models.record import read_record
from workflow_scripts.tasks.boxes.model_reading import in_the_rows_form
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes, model_boxes

SAMPLES = "samples.parquet"
SPEED = "speed.json"


@dataclass(frozen=True)
class Setting:
    """What a selection reads of one setting."""

    name: str
    keep: str  # best or last: which checkpoint was published
    step: int  # of the published checkpoint
    loss: float  # of the published checkpoint, on held-back rows
    row_score: float | None  # mean over its answers to held-back rows; None where none has a score

    def value(self, metric: str) -> float:
        """What is compared; not a number where it is not known."""
        value = self.loss if metric == "loss" else self.row_score
        return math.nan if value is None else value


def select(
    *,
    selection: Selection,
    sweep: str,
    settings: list[str],
    recipes: list[Recipe],
    folders: list[Path],
    split: Path,
    weights: Path,
    boxes: BoxForm = DATASETS_FORM,
    record: Path | None = None,
    out: Path,
) -> str:
    """Choose a setting, write why, and copy its weights, log and answers to the folder of the sweep's own system.

    Args:
        selection: JSON of what to choose by
        sweep: name of the sweep
        settings: names of the settings, in their order; the first of equals is chosen
        recipes: JSON of each setting's recipe
        folders: of each setting's system
        split: Parquet of the training rows
        weights: the file that the copied folder of weights has to hold
        boxes: JSON of the form of boxes that the model is asked for; by default the dataset's
        record: of the model, where its files say how images are resized
        out: JSON file to write, in the folder of the sweep's system

    Raises:
        Refused: no setting has the value to choose by.
    """
    rows = read_rows(split, Row) if selection.metric == "row_score" else []
    form = model_boxes(boxes, None if record is None else read_record(record)[1])
    read = [
        setting_of(name, recipe, folder, rows, form)
        for name, recipe, folder in zip(settings, recipes, folders, strict=True)
    ]
    chosen = best(read, selection.metric)
    source = folders[settings.index(chosen.name)]
    copy = unfinished(weights.parent)
    shutil.copytree(source / weights.parent.name, copy)
    put_in_place(weights.parent, copy)
    for name in ("history.parquet", SAMPLES, SPEED):
        shutil.copyfile(source / name, out.parent / name)
    write_json(
        out,
        {
            "sweep": sweep,
            "chosen": chosen.name,
            "on": selection.on,
            "metric": selection.metric,
            "settings": [asdict(setting) for setting in read],
        },
    )
    value = f"{selection.metric} {chosen.value(selection.metric):.4f} at step {chosen.step}"
    return f"{sweep} is {chosen.name}, chosen from {len(read)} settings: {value}"


def setting_of(
    name: str, recipe: Recipe, folder: Path, rows: Sequence[Row], boxes: ModelBoxes | None = None
) -> Setting:
    """A setting's published checkpoint, by its log.

    Raises:
        Refused: nothing was evaluated.
    """
    assert recipe.evaluation is not None
    history = read_rows(folder / "history.parquet", TrainingStep)
    losses = [(entry.step, entry.evaluation_loss) for entry in history if entry.evaluation_loss is not None]
    if not losses:
        raise Refused(
            f"{name} was never evaluated in {history[-1].step if history else 0} steps: lower evaluation.every of its "
            "recipe, or train longer"
        )
    keep = recipe.evaluation.keep
    step, loss = losses[-1] if keep == "last" else min(losses, key=lambda pair: (math.isnan(pair[1]), pair[1], pair[0]))
    answers = [answer for answer in read_rows(folder / SAMPLES, SampleAnswer) if answer.step == step]
    return Setting(name, keep, step, loss, mean_row_score(answers, rows, boxes))


def best(settings: Sequence[Setting], metric: str) -> Setting:
    """The setting of the least loss, or of the greatest row score; the first of equals.

    Raises:
        Refused: none has a finite value.
    """
    known = [setting for setting in settings if math.isfinite(setting.value(metric))]
    if not known:
        raise Refused(f"no setting has a {metric} to choose by: choose by another metric")
    sign = 1 if metric == "loss" else -1
    return min(known, key=lambda setting: sign * setting.value(metric))


def mean_row_score(
    answers: Sequence[SampleAnswer], rows: Sequence[Row], boxes: ModelBoxes | None = None
) -> float | None:
    """How right the answers are by their tasks' own metrics, 0 to 1; free text, which judges score, counts for none."""
    by_uid = {row.uid: row for row in rows}
    by_task: dict[str, list[ScoredAnswer]] = {}
    for answer in answers:
        row = by_uid.get(answer.uid)
        if row is not None and not tasks()[row.task].free_text:
            by_task.setdefault(row.task, []).append(_scored(row, in_the_rows_form(row, answer.text, boxes)))
    scores: list[float] = []
    for task, scored in by_task.items():
        row_scores = load_part(task, "metrics").facts(scored).row_scores
        scores += [] if row_scores is None else row_scores[~np.isnan(row_scores)].tolist()
    return sum(scores) / len(scores) if scores else None


def _scored(row: Row, text: str) -> ScoredAnswer:
    reading: ReadingPart = load_part(row.task, "reading")
    answer = final_answer(text).text
    strict = reading.read_strict(row.expected, answer)
    lenient = strict if strict is not None else reading.read_lenient(row.expected, answer)
    outcome = "malformed" if strict is None else "valid"
    reference = reading.reference(row)
    return ScoredAnswer(
        row.uid,
        row.subset,
        row.case_id,
        outcome,
        strict,
        lenient,
        reference,
        answer,
        row.answer_raw,
        row.expected.percent,
    )


if __name__ == "__main__":
    run_step(select)
