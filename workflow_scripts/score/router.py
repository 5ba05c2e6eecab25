"""How often a router's classifiers read the right class off a question, and what they take it for instead."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.models.routing.classifier import DESCRIPTION, read_description
from workflow_scripts.models.routing.rows import RoutedRow, RouterConfusion, RouterScore
from workflow_scripts.score.statistics import interval, resampled, seed_for, sums_by_cluster


def score_router(
    *,
    split: Path,
    routes: Path,
    router: Path,
    threshold: float,
    scoring: Scoring,
    out: Path,
    confusion: Path,
) -> None:
    """Write the accuracy of each classifier of a router, over all rows and by class, and its confusions.

    Whatever a classifier reads counts, below the threshold too; how many rows it was unsure of stands beside.

    Args:
        split: table of the split's rows.
        routes: which expert each classifier chooses for each row.
        router: folder that `train.router` published.
        threshold: probability below which the default answers.
        scoring: the configuration's `scoring` as JSON.
        out: table of accuracies to write.
        confusion: table to write of what is taken for what.
    """
    cases = {row.uid: row.case_id for row in read_rows(split, Row)}
    parameters = read_description(router / DESCRIPTION)["parameters"]
    by_classifier: dict[str, list[RoutedRow]] = {}
    for route in read_rows(routes, RoutedRow):
        by_classifier.setdefault(route.router, []).append(route)
    scores = [
        score
        for name, chosen in by_classifier.items()
        for score in scores_of(chosen, cases, threshold, parameters.get(name), scoring)
    ]
    write_rows(out, scores, RouterScore)
    write_rows(confusion, [row for chosen in by_classifier.values() for row in confusions_of(chosen)], RouterConfusion)


def scores_of(
    chosen: Sequence[RoutedRow],
    cases: Mapping[str, str],
    threshold: float,
    parameters: int | None,
    scoring: Scoring,
) -> list[RouterScore]:
    """The accuracy of one classifier over all rows, then over those of each class; intervals are clustered by case."""
    labels = sorted({str(row.label) for row in chosen})
    scores = []
    for label in (None, *labels):
        rows = [row for row in chosen if label is None or row.label == label]
        right = np.array([row.chosen == row.label for row in rows], dtype=float)
        names, codes = np.unique([cases[row.uid] for row in rows], return_inverse=True)
        sums = sums_by_cluster(np.column_stack([right, np.ones(len(rows))]), codes)
        draws = resampled(sums, scoring.resamples, seed_for(scoring.seed, "router", label or ""))
        accuracy = float(right.mean())
        low, high = (
            interval(accuracy, draws[:, 0] / draws[:, 1], scoring.confidence) if len(names) > 1 else (None, None)
        )
        scores.append(
            RouterScore(
                system=rows[0].system,
                router=rows[0].router,
                in_use=rows[0].in_use,
                label=label,
                rows=len(rows),
                clusters=len(names),
                right=int(right.sum()),
                accuracy=accuracy,
                low=low,
                high=high,
                unsure=sum(row.probability is not None and row.probability < threshold for row in rows),
                parameters=parameters,
            )
        )
    return scores


def confusions_of(chosen: Sequence[RoutedRow]) -> list[RouterConfusion]:
    """Rows by class and by what the classifier takes them for, where there are any."""
    counts = Counter((row.system, row.router, str(row.label), str(row.chosen)) for row in chosen)
    return [RouterConfusion(*key, rows) for key, rows in sorted(counts.items())]


if __name__ == "__main__":
    run_step(score_router)
