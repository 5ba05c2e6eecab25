"""A finding with its attributes, and the merging of those that are one."""

from dataclasses import dataclass, replace

from workflow_scripts.judges.rule_based.lexicon import Lexicon


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
    places: frozenset[int] = frozenset()  # numbers of its ribs or vertebrae
    number: str | None = None  # one or many, of what is counted


def merge(findings: list[Finding], lexicon: Lexicon) -> tuple[Finding, ...]:
    """One finding for what a report says twice: in findings and impression, or as "opacity" and as "pneumonia"."""
    merged: list[Finding] = []
    for finding in dict.fromkeys(findings):
        for place, other in enumerate(merged):
            if _are_one(finding, other, lexicon):
                merged[place] = _union(other, finding, lexicon)
                break
        else:
            merged.append(finding)
    # What was merged may now meet another one: "left", "right", and then "bilateral".
    return tuple(merged) if len(merged) == len(findings) else merge(merged, lexicon)


def _are_one(one: Finding, two: Finding, lexicon: Lexicon) -> bool:
    names = {one.name, two.name}
    same = len(names) == 1 or one.name in two.reasons or two.name in one.reasons
    return (same or frozenset(names) in lexicon.same_disease) and compatible(one, two)


def compatible(one: Finding, two: Finding) -> bool:
    """Whether nothing that two findings say of place and size contradicts."""
    sides = not one.sides or not two.sides or bool(one.sides & two.sides)
    zones = not one.zones or not two.zones or bool(one.zones & two.zones)
    sizes = one.size is None or two.size is None or one.size == two.size
    places = not one.places or not two.places or bool(one.places & two.places)
    return sides and zones and sizes and places


def _union(one: Finding, two: Finding, lexicon: Lexicon) -> Finding:
    """Both in one; of two names the vaguer one, with the other as its reason."""
    order = {name: place for place, name in enumerate(lexicon.explains)}
    head, tail = sorted((one, two), key=lambda finding: order.get(finding.name, len(order)))
    return replace(
        head,
        text=one.text,
        sides=one.sides | two.sides,
        zones=one.zones | two.zones,
        severity=max(filter(None, (one.severity, two.severity)), default=None),
        size=one.size or two.size,
        certain=one.certain or two.certain,
        change=one.change or two.change,
        misplaced=one.misplaced or two.misplaced,
        reasons=(one.reasons | two.reasons | {tail.name}) - {head.name},
        places=one.places | two.places,
        number=one.number or two.number,
    )
