"""Step: give the questions of a challenge to the experts of a routed system, a table for each of them."""

from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.systems.routed import Route
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.models.routing.choice import by_question


def write_experts(
    *,
    split: Path,
    system: str,
    route: Route,
    router: Path | None = None,
    encoder: Path | None = None,
    batch: int = 64,
    out: Path,
) -> str:
    """Write the rows of each expert as `EXPERT.parquet`; an expert that no question is for has an empty table.

    Args:
        split: Parquet of rows.
        system: name of the routed system.
        route: JSON of the system's `route`.
        router: by a classifier: folder that `train.router` published.
        encoder: record of the text encoder, where the classifier has one.
        batch: questions embedded at a time.
        out: folder to write to.

    Raises:
        Refused: a row's value has no expert and there is no default.
    """
    rows = read_rows(split, Row)
    chosen = by_question(rows, system, route, router, encoder, batch)
    experts = {choice.uid: choice.expert for choice in chosen if choice.in_use}
    counts = []
    for expert in route.systems:
        of_expert = [row for row in rows if experts[row.uid] == expert]
        write_rows(out / f"{expert}.parquet", of_expert, Row)
        counts.append(f"{len(of_expert)} for {expert}")
    return f"{system}: {', '.join(counts)}"


if __name__ == "__main__":
    run_step(write_experts)
