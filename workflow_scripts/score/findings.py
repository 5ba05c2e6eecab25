"""What a chest X-ray report says: findings with their attributes, what it denies, and how much of it is understood."""

import re
from dataclasses import dataclass, replace

from workflow_scripts.score.lexicon import Item, Lexicon

_SENTENCE = re.compile(r"(?<=[.;:!?])\s+(?!\d+\.\s*$)|\n+|(?<=\.)(?=[A-Z])|;")
_WORD = re.compile(r"[a-z][a-z'’/-]*")
_MEASURE = re.compile(r"(\d{1,3}(?:\.\d{1,2})?)\s*(?:x\s*\d{1,3}(?:\.\d{1,2})?\s*){0,2}-?\s*(mm|cm|millimeters?|centimeters?)\b")
_JOIN = re.compile(r"\s*(?:,|and|or|/|,\s*and|,\s*or|as well as)\s*")


@dataclass(frozen=True)
class Finding:
    """One abnormal finding of a report."""

    name: str
    text: str
    sides: frozenset[str] = frozenset()  # left, right
    zones: frozenset[str] = frozenset()
    severity: int | None = None  # 1 trace to 4 large
    size: float | None = None  # mm
    certain: bool = True
    change: str | None = None  # new, worse, better, stable


@dataclass(frozen=True)
class Reading:
    """A report as understood."""

    findings: tuple[Finding, ...]
    denied: frozenset[str]  # names of findings said to be absent
    known: float  # share of its words that the lexicon knows
    empty: bool


def read_report(text: str, lexicon: Lexicon) -> Reading:
    """Findings, denied findings and the share of known words of a report."""
    findings: list[Finding] = []
    denied: set[str] = set()
    words = known = 0
    for sentence in sentences(text):
        items = lexicon.label(sentence)
        found, absent = _read_sentence(sentence, items, lexicon)
        findings += found
        denied |= absent
        covered = [False] * len(sentence)
        for item in items:
            covered[item.start : item.end] = [True] * (item.end - item.start)
        for word in _WORD.finditer(sentence):
            words += 1
            known += covered[word.start()] or word.group() in lexicon.neutral
    kept = tuple(dict.fromkeys(findings))
    return Reading(kept, frozenset(denied), known / words if words else 0.0, not words)


def sentences(text: str) -> list[str]:
    """Sentences in lower case with single spaces."""
    parts = (" ".join(part.split()).strip(" .").casefold() for part in _SENTENCE.split(text.replace("_", " ")))
    return [part for part in parts if part]


def _read_sentence(sentence: str, items: list[Item], lexicon: Lexicon) -> tuple[list[Finding], set[str]]:
    """The findings that a sentence affirms and the names that it denies."""
    spots = [place for place, item in enumerate(items) if item.kind == "finding"]
    denied: set[str] = set()
    affirmed: list[Finding] = []
    for place in spots:
        if _is_denied(sentence, items, place):
            denied.add(items[place].name)
        else:
            affirmed.append(_described(sentence, items, spots, place))
    denied |= _normal_anatomy(sentence, items, lexicon)
    return _carried(sentence, items, spots, affirmed), denied - {finding.name for finding in affirmed}


def _is_denied(sentence: str, items: list[Item], place: int) -> bool:
    """Whether a negation before or after the finding reaches it."""
    spot = items[place]
    for before in reversed(items[:place]):
        if before.kind == "negation" and before.name == "ends":
            break
        if before.kind == "negation" and before.name == "before":
            return not _list_ended(sentence, items, before, spot)
    for after in items[place + 1 :]:
        if after.kind == "negation" and after.name in ("ends", "before"):
            return False
        if after.kind == "negation" and after.name == "after":
            return True
    return False


def _list_ended(sentence: str, items: list[Item], cue: Item, spot: Item) -> bool:
    """Whether a negated list stopped before `spot`: a comma, then a part that describes something present."""
    between = sentence[cue.end : spot.start]
    if "," not in between:
        return False
    last = cue.end + between.rindex(",")
    if re.match(r",\s*(?:or|nor)\b", sentence[last:]) or " or " in sentence[spot.end :]:
        return False
    opening = [item for item in items if last < item.start < spot.start]
    return any(item.kind in ("severity", "change", "uncertainty") for item in opening) or bool(
        re.match(r",\s*(?:and\s+)?there (?:is|are)\b", sentence[last:])
    )


def _described(sentence: str, items: list[Item], spots: list[int], place: int) -> Finding:
    """The finding at `place` with the attributes that stand nearest to it."""
    spot = items[place]
    rank = spots.index(place)
    left = items[spots[rank - 1]].end if rank else 0
    right = items[spots[rank + 1]].start if rank + 1 < len(spots) else len(sentence)
    before, after = _own_stretch(sentence, left, spot.start, first=rank == 0), _tail(sentence, spot.end, right)
    mine = [item for item in items if before <= item.start < spot.start or spot.end <= item.start < after]
    sides: set[str] = set()
    for item in mine:
        if item.kind == "side":
            sides |= {"left", "right"} if item.name == "both" else {item.name}
        if sentence[item.start : item.end].startswith(("bibas", "bi-bas", "biapic")):
            sides |= {"left", "right"}
    levels = [int(item.name) for item in mine if item.kind == "severity"]
    changes = [item.name for item in mine if item.kind == "change"]
    measure = _MEASURE.search(sentence[before:after])
    size = float(measure.group(1)) * (10 if measure.group(2).startswith("c") else 1) if measure else None
    return Finding(
        name=spot.name,
        text=sentence[before:after].strip(" ,"),
        sides=frozenset(sides),
        zones=frozenset(item.name for item in mine if item.kind == "zone"),
        severity=max(levels) if levels else None,
        size=size,
        certain=not any(item.kind == "uncertainty" for item in mine),
        change=changes[0] if changes else None,
    )


def _own_stretch(sentence: str, left: int, start: int, *, first: bool) -> int:
    """Where the words before a finding begin to belong to it: after the last joint behind the previous finding."""
    if first:
        return left
    joints = list(re.finditer(r",|\band\b|\bor\b|\bwith\b|\bbut\b|\bas well as\b", sentence[left:start]))
    return left + joints[-1].end() if joints else start


def _tail(sentence: str, end: int, right: int) -> int:
    """Where the words after a finding cease to belong to it: at the last joint before the next finding."""
    if right == len(sentence):
        return right
    joints = list(re.finditer(r",|\band\b|\bor\b|\bwith\b|\bbut\b|\bas well as\b", sentence[end:right]))
    return end + joints[-1].start() if joints else right


def _carried(sentence: str, items: list[Item], spots: list[int], findings: list[Finding]) -> list[Finding]:
    """Findings joined by "and" share the side and zone of the other where they have none of their own."""
    shared = list(findings)
    for one, two in zip(range(len(shared)), range(1, len(shared)), strict=False):
        first, second = shared[one], shared[two]
        if not _joined(sentence, items, spots, first, second):
            continue
        if not second.sides and not second.zones:
            shared[two] = replace(second, sides=first.sides, zones=first.zones)
        elif not first.sides and not first.zones:
            shared[one] = replace(first, sides=second.sides, zones=second.zones)
    return shared


def _joined(sentence: str, items: list[Item], spots: list[int], first: Finding, second: Finding) -> bool:
    places = {items[spot].name: items[spot] for spot in reversed(spots)}
    between = sentence[places[first.name].end : places[second.name].start]
    return bool(_JOIN.fullmatch(between))


def _normal_anatomy(sentence: str, items: list[Item], lexicon: Lexicon) -> set[str]:
    """What a statement of normality denies: "lungs are clear", "no acute cardiopulmonary abnormality"."""
    normal = [item for item in items if item.kind == "normal"]
    general = [item for place, item in enumerate(items) if item.kind == "general" and _is_denied(sentence, items, place)]
    if not normal and not general:
        return set()
    return {name for item in items if item.kind == "anatomy" for name in lexicon.denies[item.name]}
