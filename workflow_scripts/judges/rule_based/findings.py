"""Reads a chest X-ray report: its findings with their attributes, what it denies, and how much of it is understood.

A sentence is labelled by the lexicon, cut into clauses, and each finding takes the attributes of its own stretch of
the clause. Rules are few and general; the words that they look for stand in the table.
"""

import re
from dataclasses import dataclass, replace

from workflow_scripts.judges.rule_based.finding import Finding, merge
from workflow_scripts.judges.rule_based.lexicon import Entry, Item, Lexicon
from workflow_scripts.judges.rule_based.measures import places_of, sizes_of
from workflow_scripts.judges.rule_based.text import sentences

FOREIGN_WEIGHT = 10
"""A word of another organ counts as so many unknown words."""

_WORD = re.compile(r"[a-z][a-z'’/-]*")
_JOINT = re.compile(r",|/|\b(?:and|or|with|plus|as well as|along with|in addition to|greater than)\b")
_PLAIN_JOINT = re.compile(
    r"\s*(?:,|/|and|or|,\s*and|,\s*or|and/or|as well as"
    r"|,?\s*(?:and|with)\s+(?:associated|adjacent|overlying|underlying))\s*"
)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|remains?|appears?|persists?|shows?|demonstrates?)\b")
_NEW_CLAUSE = re.compile(r",\s*(?:and\s+)?(?=(?:there|the|no|without|heart|lungs?|cardiac|mediastin\w+|an?)\s)")
_PRESENT = re.compile(r"^[^,]*\b(?:is|are)\s+(?:present|seen|noted|identified|evident|visible|demonstrated)\b")
_SIDES = {
    "left": frozenset({"left"}),
    "right": frozenset({"right"}),
    "both": frozenset({"left", "right"}),
    "bilateral": frozenset({"left", "right"}),
}
_ANOTHER = re.compile(r"\b(?:and|with|plus)\s+(?:an?\s+)?(?:possibl[ey]|probabl[ey]|likely|suspected|questionable)\b")
_ATTRIBUTES = frozenset({"severity", "zone", "change"})
_NOT = re.compile(r"\b(?:not|no|without|nor)\b")


@dataclass(frozen=True)
class Reading:
    """A report as understood."""

    findings: tuple[Finding, ...]
    denied: frozenset[str]  # names of findings said to be absent
    known: float  # share of its words that the lexicon knows
    unread: float  # share of its sentences that hold unknown words and nothing that was read
    unassessed: bool  # it says of something that it cannot be judged
    empty: bool


def read_report(text: str, lexicon: Lexicon) -> Reading:
    """Findings, denied findings, and how much of a report is known and read."""
    findings: list[Finding] = []
    denied: set[str] = set()
    words = known = unread = unassessed = 0
    parts = sentences(text, lexicon)
    for sentence in parts:
        items = lexicon.label(sentence)
        count, understood = _known_words(sentence, items, lexicon)
        words += count
        known += understood
        cues = {item.name for item in items if item.kind == "unassessed"}
        unassessed |= bool(cues - {"history"})
        nothing = not cues
        for clause, inside in _clauses(sentence, items):
            present, absent = _read_clause(clause, inside, lexicon)
            findings += present
            denied |= absent
            nothing &= not present and not absent
        unread += nothing and understood < count
    merged = merge(findings, lexicon)
    return Reading(
        findings=merged,
        denied=frozenset(denied - {finding.name for finding in merged}),
        known=known / words if words else 0.0,
        unread=unread / len(parts) if parts else 0.0,
        unassessed=bool(unassessed),
        empty=not text.strip(),
    )


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
    judged = [spot for spot in spots if not _is_unassessed(sentence, items, spot)]
    denied = {spot.name for spot in judged if _is_denied(sentence, items, spot)}
    present = [spot for spot in judged if not _is_denied(sentence, items, spot)]
    findings = [_described(sentence, items, spots, spot, lexicon) for spot in present]
    findings = _shared(sentence, present, findings)
    findings = _explained(sentence, items, present, findings, lexicon)
    denied |= _normal_anatomy(sentence, items, lexicon)
    by_part = [part for finding in findings for part in _by_part(finding, lexicon)]
    return by_part, denied - {finding.name for finding in findings}


def _is_unassessed(sentence: str, items: list[Item], spot: Item) -> bool:
    """Whether the clause says that it cannot tell: "limits evaluation for nodules", "nodules cannot be excluded"."""
    for cue in items:
        if cue.kind != "unassessed":
            continue
        # A history ends at a comma: "history of heart failure, now with effusions".
        if cue.name != "after" and cue.end <= spot.start:
            return cue.name != "history" or "," not in sentence[cue.end : spot.start]
        if cue.name in ("after", "whole") and cue.start >= spot.end:
            return cue.name == "whole" or not _VERB.search(sentence[spot.end : cue.start])
    return False


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
    if re.search(r"\b(?:or|nor)\b", sentence[last:]):
        return False
    if cue.start == 0 and sentence.startswith("without") and _PRESENT.match(sentence[spot.end :]):
        return True  # "without effusion or edema, cardiomegaly is present"
    opening = [item for item in items if last < item.start < spot.start]
    return any(item.kind in ("severity", "change", "uncertainty") for item in opening)


def _described(sentence: str, items: list[Item], spots: list[Item], spot: Item, lexicon: Lexicon) -> Finding:
    """The finding with the attributes of its stretch of the clause."""
    start, end = _stretch(sentence, items, spots, spot)
    mine = [item for item in items if start <= item.start < end]
    entry = lexicon.findings[spot.name]
    stretch, phrase = sentence[start:end], sentence[spot.start : spot.end]
    sides: set[str] = set()
    for item in mine:
        side = item.name if item.kind == "side" else lexicon.zone_sides.get(sentence[item.start : item.end])
        sides |= _SIDES.get(side or "", frozenset())
    for word in re.findall(r"\b(?:left|right|bilateral)\b", phrase):
        sides |= _SIDES[word]  # inside the phrase itself: "elevation of the right hemidiaphragm"
    if not sides and any(item.kind == "side" and item.name == "diffuse" for item in mine):
        sides = {"left", "right"}
    inside = lexicon.label(phrase, _ATTRIBUTES) if " " in phrase and not entry.device else []
    levels = [int(item.name) for item in mine if item.kind == "severity"] or [
        int(item.name) for item in inside if item.kind == "severity"
    ]
    changes = [item.name for item in [*mine, *inside] if item.kind == "change"]
    zones = frozenset(item.name for item in [*mine, *inside] if item.kind == "zone")
    sizes = sizes_of(stretch)
    # Of a tube the first number is where it lies, later ones how far to move it; of a lesion the largest counts.
    size = (sizes[0] if entry.device else max(sizes)) if sizes else None
    return Finding(
        name=spot.name,
        text=stretch.strip(" ,"),
        sides=frozenset() if entry.midline else frozenset(sides),
        zones=zones if entry.device or not entry.midline else frozenset(),
        severity=max(levels) if levels and not entry.device else None,
        size=size,
        certain=not any(item.kind == "uncertainty" for item in mine),
        change=next((change for change in changes if change != "stable"), changes[0] if changes else None),
        misplaced=_is_misplaced(stretch, size, entry, lexicon),
        places=places_of(stretch, entry.numbering) if entry.numbering else frozenset(),
        number=_number(mine, phrase) if entry.numbering else None,
    )


def _is_misplaced(stretch: str, size: float | None, entry: Entry, lexicon: Lexicon) -> bool:
    """Whether a device is where it should not be: said in words, or its tip too near to its landmark or too far off."""
    if entry.device is None:
        return False
    if entry.distance and size and not entry.distance[0] <= size <= entry.distance[1]:
        return True
    groups = {group for item in lexicon.label(stretch, frozenset({"misplaced"})) for group in item.name.split()}
    return bool(groups & {"any", entry.device})


def _number(items: list[Item], noun: str) -> str | None:
    """Whether a phrase counts one or many; a bare plural leaves it open."""
    names = [item.name for item in items if item.kind == "number"]
    return names[0] if names else None if noun.endswith("s") else "one"


def _by_part(finding: Finding, lexicon: Lexicon) -> list[Finding]:
    """One finding for each part of the body that it is at: "fractures of the left clavicle and fourth rib"."""
    entry = lexicon.findings[finding.name]
    spots = sorted(
        (match.start(), name)
        for name, words in entry.parts.items()
        if (match := words.search(finding.text)) is not None
    )
    if not spots:
        return [finding]
    parts = []
    for start, name in spots:
        own = re.findall(r"\b(left|right|bilateral)\b", finding.text[:start])
        sides = finding.sides if len(spots) == 1 or not own else _SIDES[own[-1]]
        part = lexicon.findings[name]
        parts.append(
            replace(
                finding,
                name=name,
                sides=frozenset() if part.midline else sides,
                places=places_of(finding.text, part.numbering) if part.numbering else frozenset(),
            )
        )
    return parts


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
        text = sentence[spots[place - 1].end : spots[place].start]
        head = folded[-1]
        pair = frozenset((head.name, finding.name))
        doubt = (
            any(item.kind == "uncertainty" for item in between)
            and not _ANOTHER.search(text)
            and (pair in lexicon.related or pair in lexicon.same_disease)
        )
        joined = folding and (
            re.search(r"\b(?:or|versus|vs|and/or)\b|/", text) is not None
            or (pair in lexicon.same_disease and re.search(r"\band\b|,", text) is not None)
        )
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
    steady = any(item.kind == "change" and sentence[item.start : item.end] in lexicon.steady for item in items)
    normal = any(item.kind == "normal" for item in items) or (
        steady and not any(item.kind == "finding" for item in items)
    )
    general = any(item.kind == "general" and _is_denied(sentence, items, item) for item in items)
    if not normal and not general:
        return set()
    anatomy = [item for item in items if item.kind == "anatomy" and not _is_unassessed(sentence, items, item)]
    if general and not anatomy and not any(item.kind in ("finding", "unassessed") for item in items):
        return set(lexicon.denies["chest"])  # "no acute findings"
    return {name for item in anatomy for name in lexicon.denies[item.name]}
