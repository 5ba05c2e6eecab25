"""Which expert a question is for: by a column of the row, or by what a classifier reads off the question."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.routed import Route, TextEncoder
from workflow_scripts.core.rows import Row
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
from workflow_scripts.models.routing.rows import RoutedRow


def by_question(
    rows: Sequence[Row], system: str, route: Route, router: Path | None, encoder: Path | None, batch: int
) -> list[RoutedRow]:
    """The expert of each row, by rule or by classifier: whatever is known when a question is asked.

    Args:
        rows: of a split.
        system: name of the routed system.
        route: its `route`.
        router: by a classifier: folder that `train.router` published.
        encoder: record of the text encoder, where the classifier has one.
        batch: questions embedded at a time.

    Raises:
        Refused: a row's value has no expert and there is no default, or an input that the route needs is missing.
    """
    if route.by == "rule":
        return by_rule(rows, system, route)
    if router is None:
        raise Refused(f"{system} is routed by a classifier: give its folder with --router")
    return by_classifier(rows, system, route, router, encoder, batch)


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
