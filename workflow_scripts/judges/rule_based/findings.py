"""Reads a chest X-ray report: its findings with their attributes, what it denies, and how much of it is understood.

A sentence is labelled by the lexicon, cut into clauses, and each finding takes the attributes of its own stretch of
the clause. Rules are few and general; the words that they look for stand in the table.
"""

import re
from dataclasses import dataclass, replace

from workflow_scripts.judges.rule_based.lexicon import Item, Lexicon

FOREIGN_WEIGHT = 10
"""A word of another organ counts as so many unknown words."""

_SENTENCE = re.compile(r"(?<!\d)(?<=[.;:!?])\s+|(?<=\d[.])\s+(?=[A-Za-z])|\n+|(?<=[a-z]\.)(?=[A-Z])|;")
_WORD = re.compile(r"[a-z][a-z'’/-]*")
_SIZE = re.compile(
    r"(\d{1,3}(?:\.\d{1,2})?)\s*(?:x\s*(\d{1,3}(?:\.\d{1,2})?)\s*)?(?:x\s*\d{1,3}(?:\.\d{1,2})?\s*)?-?\s*"
    r"(mm|cm|millimeters?|centimeters?)\b"
)
_JOINT = re.compile(r",|/|\b(?:and|or|with|plus|as well as|along with|in addition to|greater than)\b")
_PLAIN_JOINT = re.compile(r"\s*(?:,|/|and|or|,\s*and|,\s*or|and/or|as well as)\s*")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|remains?|appears?|persists?|shows?|demonstrates?)\b")
_NEW_CLAUSE = re.compile(r",\s*(?:and\s+)?(?=(?:there|the|no|without|heart|lungs?|cardiac|mediastin\w+|an?)\s)")
_NOT = re.compile(r"\b(?:not|no|without|nor)\b")


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
    misplaced: bool = False  # of a tube or line
    reasons: frozenset[str] = frozenset()  # what the report takes it for: "opacity, likely atelectasis"


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
        for clause, inside in _clauses(sentence, items):
            present, absent = _read_clause(clause, inside, lexicon)
            findings += present
            denied |= absent
        count, understood = _known_words(sentence, items, lexicon)
        words += count
        known += understood
    merged = _merged(findings)
    return Reading(merged, frozenset(denied), known / words if words else 0.0, not text.strip())


def sentences(text: str) -> list[str]:
    """Sentences in lower case with single spaces; underscores of anonymised text are dropped."""
    parts = (" ".join(part.split()).strip(" .").casefold() for part in _SENTENCE.split(text.replace("_", " ")))
    return [part for part in parts if part]


def _known_words(sentence: str, items: list[Item], lexicon: Lexicon) -> tuple[int, int]:
    """Words of a sentence, and how many of them the lexicon knows."""
    words = known = 0
    place = 0
    for word in _WORD.finditer(sentence):
        while place < len(items) and items[place].end <= word.start():
            place += 1
        labelled = place < len(items) and items[place].start <= word.start()
        if not labelled and (word.group() in lexicon.foreign or word.group().removesuffix("s") in lexicon.foreign):
            words += FOREIGN_WEIGHT
        else:
            words += 1
            known += labelled or word.group() in lexicon.neutral
    return words, known


def _clauses(sentence: str, items: list[Item]) -> list[tuple[str, list[Item]]]:
    """Text and items of each clause: a sentence parts at "but", "except", … and at commas before a new subject."""
    cuts = [match.end() for match in _NEW_CLAUSE.finditer(sentence)]
    cuts += [item.end for item in items if item.kind == "negation" and item.name == "ends"]
    clauses = []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(sentence)], strict=True):
        mine = [
            replace(item, start=item.start - start, end=item.end - start)
            for item in items
            if start <= item.start < end and not (item.kind == "negation" and item.name == "ends")
        ]
        clauses.append((sentence[start:end], mine))
    return clauses


def _read_clause(sentence: str, items: list[Item], lexicon: Lexicon) -> tuple[list[Finding], set[str]]:
    """The findings that a clause affirms and the names that it denies."""
    spots = [item for item in items if item.kind == "finding"]
    denied = {spot.name for spot in spots if _is_denied(sentence, items, spot)}
    present = [spot for spot in spots if not _is_denied(sentence, items, spot)]
    findings = [_described(sentence, items, spots, spot, lexicon) for spot in present]
    findings = _shared(sentence, present, findings)
    findings = _explained(sentence, items, present, findings, lexicon)
    denied |= _normal_anatomy(sentence, items, lexicon)
    return findings, denied - {finding.name for finding in findings}


def _is_denied(sentence: str, items: list[Item], spot: Item) -> bool:
    """Whether a negation reaches the finding: from before, from after, or from within the phrase."""
    if _NOT.search(sentence[spot.start : spot.end]):
        return True
    before = [item for item in items if item.kind == "negation" and item.end <= spot.start and item.name != "after"]
    for cue in reversed(before):
        leads = cue.name == "before" or not any(item.kind == "finding" and item.end <= cue.start for item in items)
        if leads:
            return not _list_ended(sentence, items, cue, spot)
    for cue in items:
        if cue.kind == "negation" and cue.name in ("after", "either") and cue.start >= spot.end:
            between = [item for item in items if item.kind == "finding" and spot.end <= item.start < cue.start]
            # "A is seen and B is absent": what is said of B does not reach back over a verb.
            return not between or not _VERB.search(sentence[spot.end : between[-1].start])
    return False


def _list_ended(sentence: str, items: list[Item], cue: Item, spot: Item) -> bool:
    """Whether a negated list stopped before `spot`: a comma, then a part that describes something present."""
    between = sentence[cue.end : spot.start]
    if "," not in between:
        return bool(re.search(r"\bwith\b", between)) and any(
            item.kind == "finding" and cue.end <= item.start < spot.start for item in items
        )
    last = cue.end + between.rindex(",")
    if re.match(r",\s*(?:or|nor)\b", sentence[last:]) or re.search(r"\bor\b", sentence[spot.end :]):
        return False
    opening = [item for item in items if last < item.start < spot.start]
    return any(item.kind in ("severity", "change", "uncertainty") for item in opening)


def _described(sentence: str, items: list[Item], spots: list[Item], spot: Item, lexicon: Lexicon) -> Finding:
    """The finding with the attributes of its stretch of the clause."""
    start, end = _stretch(sentence, items, spots, spot)
    mine = [item for item in items if start <= item.start < end]
    sides: set[str] = set()
    for item in mine:
        side = item.name if item.kind == "side" else lexicon.zone_sides.get(sentence[item.start : item.end])
        sides |= {"left", "right"} if side == "both" else {side} if side else set()
    for word in ("left", "right"):  # inside the phrase itself: "elevation of the right hemidiaphragm"
        if re.search(rf"\b{word}\b", sentence[spot.start : spot.end]):
            sides.add(word)
    if lexicon.findings[spot.name].midline:
        sides = set()
    levels = [int(item.name) for item in mine if item.kind == "severity"] or [
        int(item.name) for item in lexicon.label(sentence[spot.start : spot.end], {"severity"})
    ]
    changes = [item.name for item in mine if item.kind == "change"]
    return Finding(
        name=spot.name,
        text=sentence[start:end].strip(" ,"),
        sides=frozenset(sides),
        zones=frozenset(item.name for item in mine if item.kind == "zone"),
        severity=max(levels) if levels else None,
        size=_size(sentence[start:end]),
        certain=not any(item.kind == "uncertainty" for item in mine),
        change=next((change for change in changes if change != "stable"), changes[0] if changes else None),
        misplaced=any(item.kind == "misplaced" for item in mine),
    )


def _size(text: str) -> float | None:
    """The largest measure of a stretch in mm."""
    sizes = [
        max(float(number) for number in match.groups()[:2] if number) * (10 if match.group(3).startswith("c") else 1)
        for match in _SIZE.finditer(text)
    ]
    return max(sizes) if sizes else None


def _stretch(sentence: str, items: list[Item], spots: list[Item], spot: Item) -> tuple[int, int]:
    """Where the words that describe a finding begin and end."""
    place = spots.index(spot)
    start = _border(sentence, items, spots[place - 1].end, spot.start) if place else 0
    end = _border(sentence, items, spot.end, spots[place + 1].start) if place + 1 < len(spots) else len(sentence)
    return start, end


def _border(sentence: str, items: list[Item], end: int, start: int) -> int:
    """The border between two findings: before a word of doubt, else at the last joint, else before the second."""
    doubts = [item.start for item in items if item.kind == "uncertainty" and end <= item.start < start]
    if doubts:
        return doubts[0]
    joints = list(_JOINT.finditer(sentence, end, start))
    return joints[-1].end() if joints else start


def _shared(sentence: str, spots: list[Item], findings: list[Finding]) -> list[Finding]:
    """Findings joined by a plain "and" or comma share side and zone where one has none of its own."""
    shared = list(findings)
    for second in range(1, len(shared)):
        first = second - 1
        if not _PLAIN_JOINT.fullmatch(sentence[spots[first].end : spots[second].start]):
            continue
        one, two = shared[first], shared[second]
        if not two.sides and not two.zones:
            shared[second] = replace(two, sides=one.sides, zones=one.zones)
        elif not one.sides and not one.zones:
            shared[first] = replace(one, sides=two.sides, zones=two.zones)
    return shared


def _explained(
    sentence: str, items: list[Item], spots: list[Item], findings: list[Finding], lexicon: Lexicon
) -> list[Finding]:
    """Fold "opacity, likely atelectasis or pneumonia" into one finding with its reasons."""
    folded: list[Finding] = []
    folding = False
    for place, finding in enumerate(findings):
        if not place or not folded:
            folded.append(finding)
            continue
        between = [item for item in items if spots[place - 1].end <= item.start < spots[place].start]
        doubt = any(item.kind == "uncertainty" for item in between)
        joined = folding and bool(
            re.search(r"\b(?:or|and|versus|vs|and/or)\b|/|,", sentence[spots[place - 1].end : spots[place].start])
        )
        head = folded[-1]
        if (doubt or joined) and head.name in lexicon.explains and finding.name != head.name:
            folding = True
            folded[-1] = replace(
                head,
                reasons=head.reasons | {finding.name},
                sides=head.sides or finding.sides,
                zones=head.zones or finding.zones,
                text=f"{head.text} {finding.text}",
            )
        else:
            folding = False
            folded.append(finding)
    return folded


def _normal_anatomy(sentence: str, items: list[Item], lexicon: Lexicon) -> set[str]:
    """What a statement of normality denies: "lungs are clear", "no acute cardiopulmonary abnormality"."""
    # "Mediastinal contours are stable", with no finding beside it, says that nothing is wrong with them.
    steady = any(item.kind == "change" and item.name == "stable" for item in items)
    normal = any(item.kind == "normal" for item in items) or (
        steady and not any(item.kind == "finding" for item in items)
    )
    general = any(item.kind == "general" and _is_denied(sentence, items, item) for item in items)
    if not normal and not general:
        return set()
    return {name for item in items if item.kind == "anatomy" for name in lexicon.denies[item.name]}


def _merged(findings: list[Finding]) -> tuple[Finding, ...]:
    """One finding for what a report says twice: in findings and impression, or as "opacity, likely X" and as X."""
    merged: list[Finding] = []
    for finding in dict.fromkeys(findings):
        for place, other in enumerate(merged):
            same = finding.name == other.name or finding.name in other.reasons or other.name in finding.reasons
            if same and _compatible(finding, other):
                merged[place] = _union(other, finding)
                break
        else:
            merged.append(finding)
    # What was merged may now meet another one: "left", "right", and then "bilateral".
    return tuple(merged) if len(merged) == len(findings) else _merged(merged)


def _compatible(one: Finding, two: Finding) -> bool:
    sides = not one.sides or not two.sides or bool(one.sides & two.sides)
    zones = not one.zones or not two.zones or bool(one.zones & two.zones)
    sizes = one.size is None or two.size is None or one.size == two.size
    return sides and zones and sizes


def _union(one: Finding, two: Finding) -> Finding:
    return replace(
        one,
        sides=one.sides | two.sides,
        zones=one.zones | two.zones,
        severity=max(filter(None, (one.severity, two.severity)), default=None),
        size=one.size or two.size,
        certain=one.certain or two.certain,
        change=one.change or two.change,
        misplaced=one.misplaced or two.misplaced,
        reasons=one.reasons | two.reasons,
    )
