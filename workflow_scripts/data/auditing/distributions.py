"""How image sizes, lengths and numbers of each subset are spread, by split folder."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workflow_scripts.core.manifest import SPLIT_FOLDERS
from workflow_scripts.core.rows import ImageFacts, Row
from workflow_scripts.data.auditing.leaks import ORDER

BINS = 24
LABELS = "labels a row"
SKEWED = 10
"""From this many times the median on, the greatest value calls for a logarithmic scale."""

ABSURD = 1e300
"""No number from here on is shown, and the inverse is 0: differences and ratios of the others can be computed."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One split folder's values of a quantity."""

    folder: str
    count: int
    least: float
    median: float
    greatest: float
    shares: tuple[float, ...]  # of the folder's values, by bin


@dataclass(frozen=True)
class Histogram:
    """A quantity in each split folder, over common bins."""

    quantity: str
    unit: str  # empty where the quantity has none, or the page states it for all
    edges: tuple[float, ...]  # one more than bins; those of log(1 + value) are equally spaced where it is logarithmic
    logarithmic: bool
    series: tuple[Series, ...]  # in the order of folders


@dataclass(frozen=True)
class Distributions:
    """The quantities of one subset."""

    subset: str
    images: tuple[Histogram, ...]
    tasks: tuple[tuple[str, tuple[Histogram, ...]], ...]


@dataclass(frozen=True)
class ImageGroup:
    """Images of one subset and split folder that are stored alike."""

    subset: str
    folder: str
    mode: str  # Pillow's, of the file
    depth: int  # bits of a channel in the file
    images: int
    several_frames: int  # images of more than one frame
    stretched: int  # images of grey of more than 8 bits
    low: float | None  # median of the values that became 0
    high: float | None  # median of the values that became 255
    smallest: tuple[int, int]  # width and height in pixels, of the image with the least area
    largest: tuple[int, int]


def place_of(path: str) -> tuple[str, str]:
    """Subset and split folder of an image, by its path below the root."""
    folder, _, subset, *_ = f"{path}///".split("/", 3)
    return subset, SPLIT_FOLDERS.get(folder, folder)


def histogram(quantity: str, unit: str, values: Mapping[str, Sequence[float] | Values]) -> Histogram | None:
    """The values of each split folder over common bins; None where there is none below `ABSURD`.

    Args:
        quantity: what is counted.
        unit: what it is counted in.
        values: by split folder.
    """
    arrays = {folder: np.asarray(listed, dtype=np.float64) for folder, listed in values.items()}
    arrays = {folder: array[np.abs(array) < ABSURD] for folder, array in arrays.items()}
    arrays = {folder: np.where(np.abs(array) < 1 / ABSURD, 0.0, array) for folder, array in arrays.items()}
    arrays = {folder: array for folder, array in sorted(arrays.items(), key=_by_folder) if array.size}
    if not arrays:
        return None
    edges, logarithmic = _edges(np.concatenate(list(arrays.values())))
    series = []
    for folder, array in arrays.items():
        counts = np.histogram(array, edges)[0]
        series.append(
            Series(
                folder,
                int(array.size),
                float(array.min()),
                float(np.median(array)),
                float(array.max()),
                tuple((counts / array.size).tolist()),
            )
        )
    return Histogram(quantity, unit, tuple(edges.tolist()), logarithmic, tuple(series))


def _by_folder(entry: tuple[str, object]) -> int:
    return ORDER.index(entry[0]) if entry[0] in ORDER else len(ORDER)


def _edges(values: Values) -> tuple[Values, bool]:
    """Edges of the bins, and whether they are logarithmic; whole numbers lie between the edges, not on them."""
    least, greatest, middle = float(values.min()), float(values.max()), float(np.median(values))
    whole = bool((values == np.rint(values)).all()) and max(abs(least), greatest) < 2**50  # halves can be written
    if least == greatest:
        margin = max(0.5, abs(least) * 1e-6)
        return np.array([least - margin, least + margin]), False
    if whole and greatest - least < BINS:
        return np.arange(least - 0.5, greatest + 1, dtype=np.float64), False
    if least >= 0 and greatest > SKEWED * max(middle, 1.0 if whole else 0.0) and greatest > SKEWED * least:
        edges: Values = np.expm1(np.linspace(math.log1p(least), math.log1p(greatest), BINS + 1))
        if whole:
            edges = np.unique(np.floor(edges)) - 0.5
            edges[-1] = greatest + 0.5
        edges[0] = min(edges[0], least)
        edges[-1] = max(edges[-1], greatest)
        return np.unique(edges), True
    if whole:
        width = math.ceil((greatest - least + 1) / BINS)
        return least - 0.5 + width * np.arange(math.ceil((greatest - least + 1) / width) + 1, dtype=np.float64), False
    return np.unique(np.linspace(least, greatest, BINS + 1)), False


def distributions(
    rows: Sequence[Row], images: Sequence[ImageFacts], count_tokens: Callable[[str], int]
) -> list[Distributions]:
    """The quantities of every subset, by name.

    Args:
        rows: of all split folders.
        images: what is known of each image.
        count_tokens: length of a text.
    """
    sides: dict[str, dict[str, list[tuple[int, int]]]] = {}
    for image in images:
        subset, folder = place_of(image.path)
        sides.setdefault(subset, {}).setdefault(folder, []).append((image.width, image.height))
    quantities: dict[str, dict[str, dict[tuple[str, str], dict[str, list[float]]]]] = {}
    for row in rows:
        by_quantity = quantities.setdefault(row.subset, {}).setdefault(row.task, {})
        for quantity, unit, value in _quantities(row, count_tokens):
            by_quantity.setdefault((quantity, unit), {}).setdefault(row.folder, []).append(value)
    return [
        Distributions(
            subset,
            _of_sizes({folder: np.array(listed, np.float64) for folder, listed in sides.get(subset, {}).items()}),
            tuple(
                (task, _informative(histogram(*name, values) for name, values in by_quantity.items()))
                for task, by_quantity in sorted(quantities.get(subset, {}).items())
            ),
        )
        for subset in sorted({*sides, *quantities})
    ]


def _quantities(row: Row, count_tokens: Callable[[str], int]) -> list[tuple[str, str, float]]:
    listed: list[tuple[str, str, float]] = [("question length", "", count_tokens(row.question))]
    if row.has_answer:
        listed.append(("answer length", "", count_tokens(row.answer)))
    if row.number is not None:
        listed.append(("number", "", row.number))
    if row.labels is not None:
        listed.append((LABELS, "", len(row.labels)))
    boxes = row.boxes if row.boxes is not None else row.instances
    if boxes is not None:
        listed.append(("boxes a row", "", len(boxes)))
    return listed


def _of_sizes(sides: Mapping[str, Values]) -> tuple[Histogram, ...]:
    longer = {folder: array.max(axis=1) for folder, array in sides.items()}
    ratio = {folder: np.round(array[:, 0] / array[:, 1], 3) for folder, array in sides.items()}
    return _informative([histogram("longer side", "pixels", longer), histogram("width / height", "", ratio)])


def _informative(histograms: Iterable[Histogram | None]) -> tuple[Histogram, ...]:
    """Those that there are; that each row has one label, as in a classification, tells nothing."""
    return tuple(
        each
        for each in histograms
        if each is not None and (each.quantity != LABELS or any((s.least, s.greatest) != (1, 1) for s in each.series))
    )


def image_groups(images: Sequence[ImageFacts]) -> list[ImageGroup]:
    """How the images of each subset and split folder are stored, by place, the most frequent form first."""
    groups: dict[tuple[str, str, str, int], list[ImageFacts]] = {}
    for image in images:
        groups.setdefault((*place_of(image.path), image.mode, image.depth), []).append(image)
    summaries = []
    for (subset, folder, mode, depth), group in groups.items():
        lows = [image.low for image in group if image.low is not None]
        highs = [image.high for image in group if image.high is not None]
        by_area = sorted((image.width * image.height, image.width, image.height) for image in group)
        summaries.append(
            ImageGroup(
                subset=subset,
                folder=folder,
                mode=mode,
                depth=depth,
                images=len(group),
                several_frames=sum(image.frames > 1 for image in group),
                stretched=len(lows),
                low=float(np.median(lows)) if lows else None,
                high=float(np.median(highs)) if highs else None,
                smallest=by_area[0][1:],
                largest=by_area[-1][1:],
            )
        )
    return sorted(summaries, key=lambda group: (group.subset, _by_folder((group.folder, None)), -group.images))
