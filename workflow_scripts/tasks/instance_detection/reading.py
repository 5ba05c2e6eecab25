"""Boxes by identity as models write them: a JSON object, objects with a class and boxes, or lines of a list."""

import re
from functools import lru_cache

from workflow_scripts.core.answers import Corners, Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.boxes.formats import convention_of
from workflow_scripts.tasks.boxes.parsing import corners_of, pairs_json, read_boxes
from workflow_scripts.tasks.boxes.text import PlacedBox, placed_boxes
from workflow_scripts.tasks.language.text import EMPTY_ANSWER, LONGEST

_NAME = r"#?[A-Za-z0-9][A-Za-z0-9_ #.-]{0,23}?"
_KEY = re.compile(
    rf"[\"'](?P<quoted>{_NAME})[\"']\s*:\s*(?=[\[{{(])"
    rf"|(?:^[ \t>|*-]*(?:[0-9]{{1,3}}[.)][ \t]+)?"
    rf"|[{{,;][ \t]*)[*_`]*(?P<bare>{_NAME})[*_`]*\s*(?:[:=|>-]+|is at|at)?[*\s]*(?=[\[{{(])",
    re.ASCII | re.MULTILINE,
)
_FIELD = re.compile(
    rf"[\"']?\b(?:(?P<own>chromosome(?:_(?:id|number|class|name))?|class(?:_(?:id|name))?|identity)|id|label|name"
    rf"|category(?:_id)?|type)"
    rf"[\"']?\s*[:=]\s*[\"']?(?P<value>{_NAME})[\"']?\s*(?=[,}}\n]|$)",
    re.ASCII | re.IGNORECASE,
)
_OBJECT = re.compile(r"\{[^{}]*\}")
_PREFIX = re.compile(
    r"^#?(?:chromosomes?|chrom|chr|class|identity|id|label|number|no)?[\s_#.-]*0*(?=[0-9a-z])", re.IGNORECASE
)
_STRUCTURAL = frozenset(
    (
        *("box", "boxes", "bbox", "bboxes", "bbox_2d", "box_2d", "bounding_box", "bounding_boxes", "coordinates"),
        *("instances", "chromosomes", "objects", "detections", "annotations", "results"),
    )
)
"""Keys that hold boxes and name no identity."""
_NUMBERED = re.compile(r"(?:chr\w*[ _-]?)?[0-9]{1,3}", re.IGNORECASE)
_SHORT = re.compile(r"[0-9]{1,3}|[a-z]")


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A JSON object of lists of boxes under admissible identities, each once."""
    if len(text) > LONGEST:
        return None
    pairs = pairs_json(text.strip())
    if pairs is None:
        return None
    identities = _identities(expected.labels)
    by_identity: dict[str, list[Corners]] = {}
    for key, listed in pairs:
        identity = key.strip().casefold()
        boxes = read_boxes(listed, convention_of(expected))
        if boxes is None or identity in by_identity or (identities and identity not in identities):
            return None
        by_identity[identity] = boxes
    return by_identity


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """Every box of a text under the identity that is written with it; inadmissible identities are dropped."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST].strip()
    if EMPTY_ANSWER.match(text):
        return {}
    boxes = placed_boxes(text, expected)
    if not boxes:
        return None
    keys = _keys(text, expected.labels)
    by_identity: dict[str, list[Corners]] = {}
    for box, identity in _assigned(boxes, keys):
        if identity is not None:
            known = by_identity.setdefault(identity, [])
            if box.corners not in known:
                known.append(box.corners)
    return by_identity if by_identity or keys else None


def _assigned(boxes: list[PlacedBox], keys: list[tuple[int, int, str | None]]) -> list[tuple[PlacedBox, str | None]]:
    """Each box with the identity whose range it lies in, else with the last one before it."""
    assigned = []
    place, current = 0, None
    for box in boxes:
        while place < len(keys) and keys[place][0] <= box.start:
            current = keys[place]
            place += 1
        assigned.append((box, current[2] if current is not None else None))
    return assigned


def _keys(text: str, labels: tuple[str, ...]) -> list[tuple[int, int, str | None]]:
    """Where identities begin to hold, as (start, end of the name, identity or None for one that is not admissible)."""
    keys: list[tuple[int, int, str | None]] = []
    for match in _KEY.finditer(text):
        name = match.group("quoted") or match.group("bare")
        if name.casefold() not in _STRUCTURAL:
            keys.append((match.start(), match.end(), _identity(name, labels)))
    spans = [match.span() for match in _OBJECT.finditer(text)]
    fields: dict[int, tuple[tuple[bool, bool], int, str | None]] = {}  # the best of each object, by where it begins
    position = 0
    for match in _FIELD.finditer(text):
        identity = _identity(match["value"], labels)
        if identity is None and not _NUMBERED.fullmatch(match["value"]):
            continue
        while position < len(spans) and spans[position][1] < match.start():
            position += 1
        inside = position < len(spans) and spans[position][0] <= match.start()
        start = spans[position][0] if inside else match.start()
        rank = (identity is not None, match["own"] is not None)
        if start not in fields or rank > fields[start][0]:
            fields[start] = (rank, match.end(), identity)
    keys += [(start, end, identity) for start, (_, end, identity) in fields.items()]
    return sorted(keys, key=lambda key: key[:2])


@lru_cache(maxsize=256)
def _identities(labels: tuple[str, ...]) -> frozenset[str]:
    return frozenset(label.strip().casefold() for label in labels)


def _identity(name: str, labels: tuple[str, ...]) -> str | None:
    """The identity that a name means: `chr1`, `chromosome_x`, `01`; None for one that is not admissible."""
    name = name.strip().casefold()
    identities = _identities(labels)
    short = _PREFIX.sub("", name)
    if identities:
        return name if name in identities else short if short in identities else None
    return short if _SHORT.fullmatch(short) else name


def reference(row: Row) -> Value:
    """The boxes as corners, by identity in lower case.

    Raises:
        BadFile: the row has none.
    """
    if row.instances is None:
        raise BadFile(f"row {row.uid}: a {row.task} row needs its 'instances'; convert the data again")
    by_identity: dict[str, list[Corners]] = {}
    for instance in row.instances:
        by_identity.setdefault(instance.identity.strip().casefold(), []).append(corners_of(instance.box))
    return by_identity
