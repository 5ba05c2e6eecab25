"""Measures of faithfulness of a map, on windows of the image or on its pixels.

- `deletion_auc`, `insertion_auc` (Petsiuk et al., RISE, 2018): the area under the probability of the answer, the
  geometric mean over its tokens, while the windows of greatest value are filled first, or come back first into a filled
  image; over the share of windows, by the trapezoid rule. A faithful map has a low deletion and a high insertion.
- `pointing_game` (Zhang et al., 2018): whether the middle of the window of greatest value lies in a reference box; of
  equal windows, the share whose middle does. `pointing_chance` is what a window that is drawn at random gives.
- `mass_in_box`: the share of the map's positive values that lies in a reference box. `box_area` is what a flat map
  gives: the share of the image's pixels.
- `rank_correlation`: Spearman's, between the windows' values by the model and by the same network with redrawn
  weights: near 0 where a map depends on what was learned (Adebayo et al., 2018).
- `changed_box`, `changed_top`: whether the answer becomes another when the reference boxes, or the windows of greatest
  value, are filled; `…_random`: the share of draws in which a region of the same form elsewhere does that.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from workflow_scripts.core.saliency.grids import Numbers

Probabilities = Callable[[Sequence[npt.NDArray[np.int64]]], Numbers]
"""Of the answer, where each of some sets of windows is filled."""

CLOSE = 1e-9
"""Of the largest value: what differs less is the highest too."""


def windows_in_order(values: Numbers, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Windows from the greatest value to the least; equal ones in random order."""
    return np.lexsort((rng.permutation(len(values)), -values))


def curve_places(count: int, steps: int) -> list[int]:
    """Numbers of windows that are filled along a curve: from none to all, in at most `steps` steps."""
    return sorted({round(step * count / min(steps, count)) for step in range(min(steps, count) + 1)})


def deletion_and_insertion(
    values: Numbers, probabilities: Probabilities, steps: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Both areas of a map, see above.

    Args:
        values: of the windows.
        probabilities: of the answer under sets of filled windows.
        steps: of each curve.
    """
    order, places = windows_in_order(values, rng), curve_places(len(values), steps)
    deleted = [order[:count] for count in places]
    inserted = [order[count:] for count in places]
    curve = probabilities([*deleted, *inserted])
    shares = np.array(places) / len(values)
    return tuple(float(np.trapezoid(part, shares)) for part in (curve[: len(places)], curve[len(places) :]))  # type: ignore[return-value]


def middles_inside(labels: npt.NDArray[np.int64], region: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Of each window, whether its middle lies in the region; `labels` (height, width) has the window of each pixel."""
    flat, counts = labels.ravel(), np.bincount(labels.ravel())
    down, across = (np.bincount(flat, axis.ravel() + 0.5) / counts for axis in np.indices(labels.shape))
    return np.asarray(region[down.astype(int), across.astype(int)])


def pointing_game(values: Numbers, inside: npt.NDArray[np.bool_]) -> float:
    """The share of the windows of greatest value whose middle lies in the region: 0 or 1 where there is one."""
    at_top = values >= values.max() - CLOSE * np.abs(values).max()
    return float(inside[at_top].mean())


def mass_in_box(of_pixels: Numbers, region: npt.NDArray[np.bool_]) -> float | None:
    """The share of the positive values that lies in the region; None where nothing is positive."""
    positive = np.clip(of_pixels, 0, None)
    total = positive.sum()
    return float(positive[region].sum() / total) if total > 0 else None


def centred_map(width: int, height: int) -> Numbers:
    """A Gaussian in the middle of an image, with a quarter of each side as its standard deviation: (height, width)."""
    x, y = ((np.arange(side) + 0.5 - side / 2) / (side / 4) for side in (width, height))
    return np.asarray(np.exp(-(y[:, None] ** 2 + x[None] ** 2) / 2))


def rank_correlation(one: Numbers, other: Numbers) -> float | None:
    """Spearman's correlation; None where either map is flat."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(spearmanr(one, other).statistic)
