"""Step: give each row of a routed system the answer of one of its experts; nothing is generated again.

By rule, a column of the row decides (FLARE's question files state the task of each row, so that it is known when a
question is asked); by a classifier, what it reads off the question; by an oracle, the scores of the experts' answers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.systems import Route, TextEncoder
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Prediction, Row, RowFact
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.models.routing.classifier import (
    DESCRIPTION,
    ENCODER,
    MAJORITY,
    TFIDF,
    Head,
    MajorityClassifier,
    TfIdfClassifier,
    read_description,
    read_tensors,
)
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
    if route.by == "classifier":
        if router is None:
            raise Refused(f"{system} is routed by a classifier: give its folder with --router")
        chosen = by_classifier(rows, system, route, router, encoder, batch)
    elif route.by == "oracle":
        if facts is None:
            raise Refused(f"{system} is an oracle: give the facts of its experts' rows with --facts")
        chosen = by_oracle(rows, system, route, read_rows(facts, RowFact))
    else:
        chosen = by_rule(rows, system, route)
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


def by_rule(rows: Sequence[Row], system: str, route: Route) -> list[RoutedRow]:
    """The expert of each row's value of the column `on`.

    Raises:
        Refused: a value has none, and there is no default.
    """
    chosen = []
    for row in rows:
        value: str = getattr(row, route.on)
        expert = route.expert_of(value)
        if expert is None:
            raise Refused(
                f"{row.uid}: systems.{system}.route names no expert for {route.on} {value!r} and no default; name one"
            )
        chosen.append(RoutedRow(row.uid, system, "rule", True, value, None, None, expert))
    return chosen


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


def by_classifier(
    rows: Sequence[Row], system: str, route: Route, router: Path, encoder: Path | None, batch: int
) -> list[RoutedRow]:
    """What each classifier reads off every question; the configured one's choices are in use.

    Below the threshold, and where the class that was read has no expert, the default answers.
    """
    questions = list(dict.fromkeys(row.question for row in rows))
    chosen = []
    for name, (classes, probabilities) in _read(questions, route, router, encoder, batch).items():
        best = dict(zip(questions, zip(probabilities.argmax(1), probabilities.max(1), strict=True), strict=True))
        in_use = name == (ENCODER if isinstance(route.encoder, TextEncoder) else TFIDF)
        for row in rows:
            place, probability = best[row.question]
            expert = route.expert_of(classes[place] if probability >= route.threshold else None)
            assert expert is not None  # a classifier's route has a default
            label: str = getattr(row, route.on)
            chosen.append(RoutedRow(row.uid, system, name, in_use, label, classes[place], float(probability), expert))
    return chosen


def _read(
    questions: Sequence[str], route: Route, router: Path, encoder: Path | None, batch: int
) -> Mapping[str, tuple[tuple[str, ...], np.ndarray]]:
    """Classes and their probabilities for each question, by classifier."""
    read: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    if isinstance(route.encoder, TextEncoder):
        if encoder is None:
            raise Refused("the router has a text encoder: give its record with --encoder")
        from workflow_scripts.models.routing.encoder import (
            QuestionEncoder,
        )  # seconds that others need not pay

        classes = tuple(read_description(router / f"{ENCODER}.json")["classes"])
        tensors = read_tensors(router / f"{ENCODER}.safetensors")
        head = Head(classes, tensors["weight"], tensors["bias"])
        vectors = QuestionEncoder(encoder, route.encoder.gpus).embed(questions, batch)
        read[ENCODER] = (classes, head.probabilities(vectors))
    tfidf = TfIdfClassifier.load(router)
    read[TFIDF] = (tfidf.classes, tfidf.probabilities(questions))
    majority = MajorityClassifier(read_description(router / DESCRIPTION)["shares"])
    read[MAJORITY] = (majority.classes, majority.probabilities(questions))
    return read


if __name__ == "__main__":
    run_step(write_route)
