"""What the metrics of boxes share: F1 over pooled matches, and the study's coordinate errors.

An answer that cannot be read proposes no box: every reference box of its row is missed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from workflow_scripts.core.answers import Corners
from workflow_scripts.core.metrics import Metric, Sums, ratio

COORDINATES = ("x", "y", "width", "height")
Pair = tuple[Corners, Corners]
"""A reference box and a predicted one."""


def f1_of(hits: str, reference: str, predicted: str) -> Callable[[Sums], np.ndarray]:
    """F1 from summed facts; the hits of several classes are added."""
    return lambda s: ratio(2 * _total(s[hits], s[predicted]), s[reference] + s[predicted], empty=1.0)


def share_of(hits: str, whole: str) -> Callable[[Sums], np.ndarray]:
    """Hits over all boxes of one side: recall of the reference's, precision of the predicted."""
    return lambda s: ratio(_total(s[hits], s[whole]), s[whole], empty=0.0)


def row_f1(hits: np.ndarray, reference: np.ndarray, predicted: np.ndarray, unread: np.ndarray) -> np.ndarray:
    """F1 of each row, [rows]; 1 where nothing is to be found and the answer says so, 0 where it cannot be read."""
    return np.where(unread > 0, 0.0, ratio(2 * hits, reference + predicted, empty=1.0))


def _total(hits: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return hits.sum(axis=-1) if np.ndim(hits) > np.ndim(whole) else hits


def coordinate_facts(pairs: Sequence[Sequence[Pair]]) -> dict[str, np.ndarray]:
    """Per row and coordinate: number of pairs, absolute and squared error, reference value and its square (pixels)."""
    rows = [row for row, of_row in enumerate(pairs) for _ in of_row]
    truth, guess = (
        np.array([_sized(pair[side]) for of_row in pairs for pair in of_row]).reshape(-1, 4) for side in (0, 1)
    )
    distance = np.abs(truth - guess)
    values = {"pairs": np.ones_like(truth), "distance": distance, "square": distance**2}
    values |= {"place": truth, "place_square": truth**2}
    facts = {name: np.zeros((len(pairs), 4)) for name in values}
    for name, of_pairs in values.items():
        np.add.at(facts[name], rows, of_pairs)
    return facts


def _sized(box: Corners) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _r2(square: np.ndarray, place: np.ndarray, place_square: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    spread = place_square - ratio(place**2, pairs, empty=0.0)
    return 1.0 - ratio(square, np.where(spread > 1e-9, spread, 0.0))


def pooled_r2() -> Metric:
    """R² over x, y, width and height of all paired boxes together, as the study pools them."""
    return Metric(
        "box_r2",
        lambda s: _r2(*(s[name].sum(axis=-1) for name in ("square", "place", "place_square", "pairs"))),
        direction="higher",
        definition="IIT Delhi",
        reading="lenient",
        unread="unread_lenient",
    )


def coordinate_metrics() -> list[Metric]:
    """The study's errors of each coordinate, over pairs of single boxes."""
    return [metric for place, name in enumerate(COORDINATES) for metric in _metrics_of_coordinate(place, name)]


def _metrics_of_coordinate(place: int, name: str) -> list[Metric]:
    def at(s: Sums, fact: str) -> np.ndarray:
        return s[fact][..., place]

    def rmse(s: Sums) -> np.ndarray:
        return np.asarray(np.sqrt(ratio(at(s, "square"), at(s, "pairs"))))

    def r2(s: Sums) -> np.ndarray:
        return _r2(at(s, "square"), at(s, "place"), at(s, "place_square"), at(s, "pairs"))

    errors = [
        Metric(
            "box_mae",
            lambda s: ratio(at(s, "distance"), at(s, "pairs")),
            direction="lower",
            definition="IIT Delhi",
        ),
        Metric(
            "box_mse",
            lambda s: ratio(at(s, "square"), at(s, "pairs")),
            direction="lower",
            definition="IIT Delhi",
        ),
        Metric("box_rmse", rmse, direction="lower", definition="IIT Delhi"),
        Metric("box_r2", r2, direction="higher", definition="IIT Delhi"),
    ]
    return [replace(metric, stratum=name, reading="lenient", unread="unread_lenient") for metric in errors]
