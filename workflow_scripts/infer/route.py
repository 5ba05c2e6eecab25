"""Step: give each row of a routed system the answer of one of its experts; nothing is generated again.

By rule, a column of the row decides (FLARE's question files state the task of each row, so that it is known when a
question is asked); by a classifier, what it reads off the question; by an oracle, the scores of the experts' answers.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.systems.routed import Route
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Prediction, Row, RowFact
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.models.routing.choice import by_question
from workflow_scripts.models.routing.rows import BOUNDED_ERROR, RoutedRow


def write_route(
    *,
    split: Path,
    system: str,
    route: Route,
    predictions: list[Path],
    router: Path | None = None,
    encoder: Path | None = None,
    facts: Path | None = None,
    batch: int = 64,
    out: Path,
    routes: Path,
) -> str:
    """Write the predictions of a routed system, and which expert each row's is of.

    A row that its expert has no prediction of has none here either.

    Args:
        split: Parquet of rows.
        system: name of the routed system.
        route: JSON of the system's `route`.
        predictions: the experts' predictions, in the order of `Route.systems`.
        router: by a classifier: folder that `train.router` published.
        encoder: record of the text encoder, where the classifier has one.
        facts: by an oracle: what each row adds to the sums that metrics are made of, of every expert.
        batch: questions embedded at a time.
        out: Parquet of predictions to write.
        routes: Parquet to write of the chosen experts; of a classifier's, with the choices of those beside it.

    Raises:
        Refused: a row's value has no expert and there is no default, or an input that the route needs is missing.
    """
    rows = read_rows(split, Row)
    if route.by == "oracle":
        if facts is None:
            raise Refused(f"{system} is an oracle: give the facts of its experts' rows with --facts")
        chosen = by_oracle(rows, system, route, read_rows(facts, RowFact))
    else:
        chosen = by_question(rows, system, route, router, encoder, batch)
    answers = {
        name: {answer.uid: answer for answer in read_rows(path, Prediction)}
        for name, path in zip(route.systems, predictions, strict=True)
    }
    experts = {choice.uid: choice.expert for choice in chosen if choice.in_use}
    answered = [(row, answers[experts[row.uid]].get(row.uid)) for row in rows]
    write_rows(routes, chosen, RoutedRow)
    write_rows(out, [replace(answer, system=system) for _, answer in answered if answer is not None], Prediction)
    counts = Counter(experts.values())
    return f"{system}: {', '.join(f'{counts[name]} rows by {name}' for name in route.systems)}"


def by_oracle(rows: Sequence[Row], system: str, route: Route, facts: Iterable[RowFact]) -> list[RoutedRow]:
    """The expert whose answer scores best by the task's own metric; of equals, the first of `Route.systems`.

    Among equal scores the smaller error counts: a number within ±5 scores 1, and the metric is the mean error. An
    answer without a score is the worst.
    """
    values = {(fact.fact, fact.uid, fact.system): fact.value for fact in facts}

    def merit(uid: str, expert: str) -> tuple[float, float]:
        score = values.get((ROW_SCORE, uid, expert), -np.inf)
        return score, -values.get((BOUNDED_ERROR, uid, expert), np.inf)

    return [
        RoutedRow(
            row.uid, system, "oracle", True, None, None, None, max(route.systems, key=lambda name: merit(row.uid, name))
        )
        for row in rows
    ]


if __name__ == "__main__":
    run_step(write_route)
