"""Boxes anywhere in a text: lists, tuples, pairs of corners, named edges, keys that say a convention of their own."""

import re
from itertools import islice
from typing import NamedTuple

from workflow_scripts.core.answers import Corners
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.boxes.conventions import BoxConvention, to_corners
from workflow_scripts.tasks.boxes.formats import convention_of
from workflow_scripts.tasks.language.refusals import declined_spans, lies_in
from workflow_scripts.tasks.language.text import LARGEST

_DIGITS = r"-?[0-9]{1,9}(?:\.[0-9]{1,20})?"
_NUMBER = rf"\s*[\"']?({_DIGITS})\s?(%?)[\"']?\s*"
_OPEN, _SHUT = r"[\[(]", r"[\])]"
_FOUR = rf"{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}"
_QUAD = re.compile(rf"{_OPEN}[\"']?{_FOUR}(?:,\s*(?:0?\.[0-9]+|1\.0+)\s*)?[\"']?{_SHUT}", re.ASCII)
_PAIR = rf"{_OPEN}{_NUMBER},{_NUMBER}{_SHUT}"
_CORNER_PAIRS = re.compile(
    rf"{_PAIR}(?P<gap>[^\[\](){{}}0-9]{{1,50}}){_PAIR}(?!\s*,\s*{_PAIR})",  # three points or more are an outline
    re.ASCII,
)
_TO = re.compile(r"[\s,;]*|.*(?:\b|_)(?:to|and|right|max|end)\b.*", re.DOTALL | re.IGNORECASE)
_EDGE = re.compile(
    r"(?<![A-Za-z0-9])(?P<name>[xy][_ ]?(?:[012]|min|max|start|end|center|centre)?|(?:center|centre)[_ ]?[xy]|c[xy]"
    r"|left|top|right|bottom|"
    rf"w|h|width|height)[\"'*]{{0,3}}\s*[:=]\s*[\"']?(?P<value>{_DIGITS})\s?(?P<percent>%?)(?![0-9A-Za-z])",
    re.ASCII | re.IGNORECASE,
)
_BARE = re.compile(
    rf"(?<![0-9A-Za-z.,]){_NUMBER}[,\s]{_NUMBER}[,\s]{_NUMBER}[,\s]{_NUMBER}(?![0-9A-Za-z.,]*[0-9])", re.ASCII
)
_KEY = re.compile(r"[\"']?(box_2d|bbox_2d|xyxy|xywh)[\"']?\s*[:=]\s*\[?\s*$", re.IGNORECASE)
_FLAT = re.compile(r"\[([-0-9.,\s]{7,2000})\]", re.ASCII)
_EXAMPLE = re.compile(r"\b(?:not|example|e\.g\.|such as|format|instance)\b[^\]\n]{0,30}$", re.IGNORECASE)
_EDGES = {
    **dict.fromkeys(("x", "x0", "x1", "xmin", "xstart", "left"), "x1"),
    **dict.fromkeys(("y", "y0", "y1", "ymin", "ystart", "top"), "y1"),
    **dict.fromkeys(("x2", "xmax", "xend", "right"), "x2"),
    **dict.fromkeys(("y2", "ymax", "yend", "bottom"), "y2"),
    **dict.fromkeys(("xcenter", "xcentre", "centerx", "centrex", "cx"), "xc"),
    **dict.fromkeys(("ycenter", "ycentre", "centery", "centrey", "cy"), "yc"),
    **{"w": "w", "width": "w", "h": "h", "height": "h"},
}
_COMPLETE = (("x1", "y1", "x2", "y2"), ("x1", "y1", "w", "h"), ("xc", "yc", "w", "h"))
GRID = 1000.0
"""MedGemma's and Gemini's `box_2d` is `[y1, x1, y2, x2]` in thousandths of the image's height and width."""
MOST = 2000
"""Boxes of one kind that are looked at."""


class PlacedBox(NamedTuple):
    """A box that a text holds, and where it stands there."""

    start: int
    end: int
    corners: Corners


def placed_boxes(text: str, expected: ExpectedFormat) -> list[PlacedBox]:
    """Every complete box of a text in its order, as corners in pixels of the image.

    Boxes of a refusal, of an example and those that the text denies are none.
    """
    convention = convention_of(expected)
    boxes = [_quad(text, match, expected, convention) for match in islice(_QUAD.finditer(text), MOST)]
    boxes += [
        _placed(match.span(), match.groups()[:4:2] + match.groups()[5:9:2], match.groups()[1:4:2], "xyxy", expected)
        for match in islice(_CORNER_PAIRS.finditer(text), MOST)
        if _TO.fullmatch(match["gap"])
    ]
    boxes += _edged(text, expected)
    readable = (
        sorted(box for box in boxes if box is not None) or _flat(text, convention) or _bare(text, expected, convention)
    )
    declined = declined_spans(text)
    return [
        box
        for box in readable
        if not lies_in(declined, box.start) and not _EXAMPLE.search(text[max(0, box.start - 45) : box.start])
    ]


def boxes_in_text(text: str, expected: ExpectedFormat) -> list[Corners]:
    """The boxes of a text, each once: a model that loops repeats its boxes."""
    unique = dict.fromkeys(tuple(box.corners) for box in placed_boxes(text, expected))
    return [list(box) for box in unique]


def _placed(
    span: tuple[int, int],
    digits: tuple[str, ...],
    percents: tuple[str, ...],
    convention: BoxConvention,
    expected: ExpectedFormat,
) -> PlacedBox | None:
    """A box of four numbers; as shares of the image where all are percentages, or fractions no larger than one."""
    numbers = [float(number) for number in digits]
    if all(percents):
        numbers = [number / 100 for number in numbers]
    if all(percents) or (all(0 <= number <= 1 for number in numbers) and any(number % 1 for number in numbers)):
        if not expected.width or not expected.height:
            return None
        numbers = [
            number * (expected.height if odd else expected.width)
            for number, odd in zip(numbers, (0, 1, 0, 1), strict=True)
        ]
    if not all(abs(number) < LARGEST for number in numbers):
        return None
    return PlacedBox(*span, [float(edge) for edge in to_corners(numbers, convention)])


def _quad(text: str, match: re.Match[str], expected: ExpectedFormat, convention: BoxConvention) -> PlacedBox | None:
    digits, percents = match.groups()[:8:2], match.groups()[1:8:2]
    key = _KEY.search(text[max(0, match.start() - 24) : match.start()])
    name = key.group(1).lower() if key else ""
    if name == "box_2d":
        if not expected.width or not expected.height:
            return None
        y1, x1, y2, x2 = (float(number) / GRID for number in digits)
        width, height = expected.width, expected.height
        return PlacedBox(*match.span(), [x1 * width, y1 * height, x2 * width, y2 * height])
    named: BoxConvention = "xyxy" if name in ("bbox_2d", "xyxy") else "xywh" if name == "xywh" else convention
    return _placed(match.span(), digits, percents, named, expected)


def _edged(text: str, expected: ExpectedFormat) -> list[PlacedBox | None]:
    """Boxes of named edges, in any order; a name that comes again begins the next box."""
    boxes: list[PlacedBox | None] = []
    edges: dict[str, re.Match[str]] = {}
    from_zero = False
    for match in islice(_EDGE.finditer(text), 4 * MOST):
        name = match["name"].lower().replace("_", "").replace(" ", "")
        from_zero = from_zero or name in ("x0", "y0")
        edge = {"x1": "x2", "y1": "y2"}.get(name, _EDGES[name]) if from_zero else _EDGES[name]
        if edge in ("w", "h") and "x1" not in edges and "xc" not in edges:
            continue  # the size of the image
        if edge in edges:
            edges = {}
        edges[edge] = match
        names = next((names for names in _COMPLETE if edges.keys() >= set(names)), None)
        if names is not None:
            boxes.append(_of_edges([edges[each] for each in names], names, expected))
            edges, from_zero = {}, False
    return boxes


def _of_edges(matches: list[re.Match[str]], names: tuple[str, ...], expected: ExpectedFormat) -> PlacedBox | None:
    span = min(match.start() for match in matches), max(match.end() for match in matches)
    digits, percents = tuple(match["value"] for match in matches), tuple(match["percent"] for match in matches)
    if names[0] == "xc":
        placed = _placed(span, digits, percents, "xyxy", expected)
        if placed is None:
            return None
        x, y, width, height = placed.corners
        return placed._replace(corners=[x - width / 2, y - height / 2, x + width / 2, y + height / 2])
    return _placed(span, digits, percents, "xywh" if names[2] == "w" else "xyxy", expected)


def _flat(text: str, convention: BoxConvention) -> list[PlacedBox]:
    """Boxes of one flat list of numbers."""
    match = _FLAT.search(text)
    numbers = re.findall(r"-?[0-9]+(?:\.[0-9]+)?", match.group(1)) if match else []
    if match is None or len(numbers) % 4 or any(len(number) > 30 for number in numbers):
        return []
    quads = [[float(number) for number in numbers[i : i + 4]] for i in range(0, len(numbers), 4)]
    return [
        PlacedBox(match.start(), match.end(), [float(edge) for edge in to_corners(quad, convention)])
        for quad in quads
        if all(abs(number) < LARGEST for number in quad)
    ]


def _bare(text: str, expected: ExpectedFormat, convention: BoxConvention) -> list[PlacedBox]:
    """The box of four numbers without brackets, where a text holds no others."""
    matches = list(islice(_BARE.finditer(text), 2))
    if len(matches) != 1:
        return []
    groups = matches[0].groups()
    box = _placed(matches[0].span(), groups[::2], groups[1::2], convention, expected)
    return [box] if box is not None else []
