"""The rule-based judge: compares the findings of two chest X-ray reports and writes CRIMSON's judgement JSON.

It abstains where it does not understand enough of either report, and outside chest X-ray. Severities of attribute
errors follow CRIMSON's published guidance.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from workflow_scripts.judges.crimson import JudgementJSON
from workflow_scripts.judges.green import CATEGORIES, GreenCounts
from workflow_scripts.judges.rule_based.finding import Finding, compatible
from workflow_scripts.judges.rule_based.findings import Reading, read_report
from workflow_scripts.judges.rule_based.lexicon import Lexicon, Related

KNOWN_SHARE = 0.75
"""Least share of known words in a report that is judged."""
CHEST = frozenset({"xray", "cxr", "chestxray"})
UNREAD_SHARE = 0.34
"""Least share of sentences with unknown words, and nothing that was read, in a report that is not judged."""
ORDER = ("benign_expected", "not_actionable_not_urgent", "actionable_not_urgent", "urgent")
NORMALS = {"benign_expected": 2, "not_actionable_not_urgent": 2, "actionable_not_urgent": 1, "urgent": 0}
"""Most agreements on absent findings that count as matched in GREEN's sense, by the gravest false finding."""
TUBE_MARGIN = 20.0
"""By how many mm the place of a misplaced tube may be off."""
BENIGN = 1
"""Most benign findings that count as matched in GREEN's sense, where the reference has graver ones."""

Severity = Literal["significant", "negligible"]


class Abstains(Exception):
    """The judge has no opinion on this pair; the message says why."""


class Match(NamedTuple):
    """Places of two findings that are the same, each in its report."""

    reference: int
    hypothesis: int


@dataclass(frozen=True)
class Difference:
    """An attribute error between two matched findings."""

    kind: str  # of CRIMSON's error types
    severity: Severity
    explanation: str
    category: str = "wrong severity"  # of GREEN's; it has none for certainty or wording


def judge_pair(reference: str, hypothesis: str, context: dict[str, Any], lexicon: Lexicon) -> JudgementJSON:
    """Judge a pair. An empty hypothesis is a report without findings.

    Raises:
        Abstains: one report is outside the vocabulary, the reference is empty, or the modality is not chest X-ray.
    """
    modality = str(context.get("modality", "")).replace("-", "").replace(" ", "").lower()
    if modality and modality not in CHEST:
        raise Abstains(f"modality {context['modality']!r} is not chest X-ray")
    readings = read_report(reference, lexicon), read_report(hypothesis, lexicon)
    for side, reading in zip(("reference", "hypothesis"), readings, strict=True):
        says_nothing = side == "hypothesis" and (reading.empty or (reading.unassessed and reading.unread == 0))
        if not understood(reading) and not says_nothing:
            raise Abstains(f"the {side} is outside the vocabulary")
    return compare(*readings, lexicon)


def green_counts(judgement: JudgementJSON) -> GreenCounts:
    """GREEN's counts in a judgement of this judge."""
    counts = judgement["green"]
    return GreenCounts(counts["matched"], tuple(counts["significant"]), tuple(counts["insignificant"]))


def understood(reading: Reading) -> bool:
    """Whether enough of a report is known to judge it."""
    read = bool(reading.findings or reading.denied)
    return read and reading.known >= KNOWN_SHARE and reading.unread < UNREAD_SHARE


def compare(reference: Reading, hypothesis: Reading, lexicon: Lexicon) -> JudgementJSON:
    """CRIMSON's judgement of two readings, with GREEN's counts under `green`."""
    matches = _matches(reference.findings, hypothesis.findings, lexicon)
    differences = [
        (match, difference)
        for match in matches
        for difference in attribute_differences(*_paired(match, matches, reference, hypothesis), lexicon)
    ]
    missing = set(range(len(reference.findings))) - {match.reference for match in matches}
    false = set(range(len(hypothesis.findings))) - {match.hypothesis for match in matches}
    judgement: JudgementJSON = {
        "reference_findings": [_entry(f"R{n + 1}", finding, lexicon) for n, finding in enumerate(reference.findings)],
        "predicted_findings": [_entry(f"P{n + 1}", finding, lexicon) for n, finding in enumerate(hypothesis.findings)],
        "matched_findings": [_ids(match) for match in matches],
        "errors": {
            "false_findings": [f"P{n + 1}" for n in sorted(false)],
            "missing_findings": [f"R{n + 1}" for n in sorted(missing)],
            "attribute_errors": [
                _ids(match)
                | {
                    "severity": difference.severity,
                    "error_types": [difference.kind],
                    "explanation": difference.explanation,
                }
                for match, difference in differences
            ],
        },
    }
    significant, insignificant = dict.fromkeys(CATEGORIES, 0), dict.fromkeys(CATEGORIES, 0)
    for category, reading, places in (
        ("false finding", hypothesis, false),
        ("missing finding", reference, missing),
    ):
        for place in places:
            weightless = significance_of(reading.findings[place], lexicon) == "benign_expected"
            (insignificant if weightless else significant)[category] += 1
    for _, difference in differences:
        (significant if difference.severity == "significant" else insignificant)[difference.category] += 1
    false_weights = [significance_of(hypothesis.findings[place], lexicon) for place in false]
    return judgement | {
        "green": {
            "matched": _green_matched(reference, hypothesis, matches, false_weights, lexicon),
            "significant": list(significant.values()),
            "insignificant": list(insignificant.values()),
        }
    }


def _paired(match: Match, matches: list[Match], reference: Reading, hypothesis: Reading) -> tuple[Finding, Finding]:
    """The two findings of a match, each with the sides of all that the other one is matched with."""
    one, two = reference.findings[match.reference], hypothesis.findings[match.hypothesis]
    ones = [reference.findings[r].sides for r, h in matches if h == match.hypothesis]
    twos = [hypothesis.findings[h].sides for r, h in matches if r == match.reference]
    return replace(one, sides=frozenset().union(*ones)), replace(two, sides=frozenset().union(*twos))


def _green_matched(
    reference: Reading, hypothesis: Reading, matches: list[Match], false_weights: list[str], lexicon: Lexicon
) -> int:
    """Matched findings in GREEN's sense: those that matter; in a normal reference also what both deny."""
    places = {
        match.reference for match in matches if not lexicon.findings[reference.findings[match.reference].name].trivial
    }
    weights = [significance_of(finding, lexicon) for finding in reference.findings]
    benign = {place for place in places if weights[place] == "benign_expected"}
    if any(weight != "benign_expected" for weight in weights):
        return len(places - benign) + min(BENIGN, len(benign))
    most = NORMALS[max(false_weights, key=ORDER.index, default="benign_expected")]
    agreed = len(reference.denied & hypothesis.denied)
    if not agreed and hypothesis.denied and all(weight == "benign_expected" for weight in false_weights):
        agreed = 1  # both are normal, each in other words
    return len(benign) + min(most, agreed) if most else 0


def _ids(match: Match) -> dict[str, Any]:
    return {"ref_id": f"R{match.reference + 1}", "pred_id": f"P{match.hypothesis + 1}"}


def _entry(identity: str, finding: Finding, lexicon: Lexicon) -> dict[str, str]:
    return {
        "id": identity,
        "finding": finding.text,
        "clinical_significance": significance_of(finding, lexicon),
        "class": finding.name,
    }


def significance_of(finding: Finding, lexicon: Lexicon) -> str:
    """CRIMSON's clinical significance of a finding: by the table, its severity, change and reasons."""
    group = lexicon.findings[finding.name].device
    if finding.misplaced and group:
        return lexicon.misplacement[group]
    if finding.reasons:
        return max((_by_table(name, finding, lexicon) for name in finding.reasons), key=ORDER.index)
    return _by_table(finding.name, finding, lexicon)


def _by_table(name: str, finding: Finding, lexicon: Lexicon) -> str:
    entry = lexicon.findings[name]
    by_change = entry.by_change.get(finding.change or "")
    return by_change or entry.by_severity.get(str(finding.severity), entry.significance)


def _affinity(first: Finding, second: Finding, lexicon: Lexicon) -> float:
    """How well two findings match: 0 never, more for the same name, side, zone and size."""
    if first.misplaced != second.misplaced:
        return 0.0  # a misplaced tube is another finding than one in place
    if first.name == second.name:
        score = 4.0
    elif not _near(first, second, lexicon):
        return 0.0
    elif second.name in first.reasons or first.name in second.reasons or first.reasons & second.reasons:
        score = 3.0
    elif _related(first, second, lexicon):
        score = 2.0
    else:
        return 0.0
    for one, two in ((first.sides, second.sides), (first.zones, second.zones), (first.places, second.places)):
        if one and two:
            score += len(one & two) / len(one | two) - 0.5
    if first.severity and second.severity:
        score += 0.1 * (1 - abs(first.severity - second.severity) / 3)
    return score


def _near(first: Finding, second: Finding, lexicon: Lexicon) -> bool:
    """Whether two findings of different names can be at one place."""
    sides = not first.sides or not second.sides or bool(first.sides & second.sides)
    zones = not first.zones or not second.zones or bool(first.zones & second.zones)
    return sides and (zones or _neighbours(first, second, lexicon))


def _neighbours(first: Finding, second: Finding, lexicon: Lexicon) -> bool:
    return any(frozenset((a, b)) in lexicon.neighbours for a in first.zones for b in second.zones)


def _related(first: Finding, second: Finding, lexicon: Lexicon) -> Related | None:
    """How two names are related, if they are for findings of these sides."""
    related = lexicon.related.get(frozenset((first.name, second.name)))
    if related is None or related.reason:
        return None
    one_sided = len(first.sides) == 1 or len(second.sides) == 1
    return None if related.diffuse and one_sided else related


def _matches(reference: tuple[Finding, ...], hypothesis: tuple[Finding, ...], lexicon: Lexicon) -> list[Match]:
    """Best matches first, each finding once; then what one report splits by side or names as a reason of another."""
    scored = sorted(
        ((_affinity(r, h, lexicon), -i, -j) for i, r in enumerate(reference) for j, h in enumerate(hypothesis)),
        reverse=True,
    )
    candidates = [Match(-i, -j) for score, i, j in scored if score > 0]
    matches: list[Match] = []
    for match in candidates:
        if all(match.reference != r and match.hypothesis != h for r, h in matches):
            matches.append(match)
    for match in candidates:
        free_reference = all(match.reference != r for r, _ in matches)
        free_hypothesis = all(match.hypothesis != h for _, h in matches)
        if free_reference != free_hypothesis:
            one, two = reference[match.reference], hypothesis[match.hypothesis]
            whole, part = (one, two) if free_hypothesis else (two, one)
            splits = whole.name == part.name and len(whole.sides) == 2 and len(part.sides) == 1
            related = _related(one, two, lexicon)
            same = related is not None and related.severity == "negligible" and compatible(one, two)
            if splits or part.name in whole.reasons or same:
                matches.append(match)
    return sorted(matches)


def attribute_differences(reference: Finding, hypothesis: Finding, lexicon: Lexicon) -> list[Difference]:
    """Attribute errors between two matched findings. What the reference leaves open is free."""
    differences = []
    if reference.name != hypothesis.name:
        differences.append(_name_difference(reference, hypothesis, lexicon))
    elif reference.reasons and hypothesis.reasons:
        differences += _reason_differences(reference, hypothesis, lexicon)
    differences += _place_differences(reference, hypothesis, lexicon)
    if reference.severity and hypothesis.severity and reference.severity != hypothesis.severity:
        far = abs(reference.severity - hypothesis.severity) > 1
        differences.append(Difference("severity", "significant" if far else "negligible", "another severity"))
    device = lexicon.findings[reference.name].device
    if reference.size and hypothesis.size and reference.size != hypothesis.size:
        severity = _size_severity(reference.size, hypothesis.size)
        if device and (not reference.misplaced or abs(reference.size - hypothesis.size) <= TUBE_MARGIN):
            severity = "negligible"
        why = f"{reference.size:g} mm is given as {hypothesis.size:g} mm"
        differences.append(Difference("measurement", severity, why))
    if reference.number and hypothesis.number and reference.number != hypothesis.number:
        differences.append(
            Difference("descriptor", "significant", f"{reference.number} is given as {hypothesis.number}")
        )
    if reference.certain != hypothesis.certain:
        differences.append(Difference("certainty", "negligible", "another certainty"))
    if reference.change != hypothesis.change:
        differences.append(_change_difference(reference.change, hypothesis.change))
    if all(significance_of(finding, lexicon) == "benign_expected" for finding in (reference, hypothesis)):
        return [replace(difference, severity="negligible") for difference in differences]
    return differences


def _name_difference(reference: Finding, hypothesis: Finding, lexicon: Lexicon) -> Difference:
    why = f"{reference.name} is called {hypothesis.name}"
    related = _related(reference, hypothesis, lexicon)
    if hypothesis.name in reference.reasons or reference.name in hypothesis.reasons or related is None:
        return Difference("certainty", "negligible", why)
    if not related.vague:
        return Difference("descriptor", related.severity, why)
    kind = "unspecific" if hypothesis.name == related.vague else "overinterpretation"
    return Difference(kind, related.severity, why)


def _reason_differences(reference: Finding, hypothesis: Finding, lexicon: Lexicon) -> list[Difference]:
    """What two reports take the same finding for."""
    pairs = [frozenset((one, two)) for one in reference.reasons for two in hypothesis.reasons]
    if any(len(pair) == 1 or pair in lexicon.same_disease for pair in pairs):
        return []
    why = f"{', '.join(sorted(reference.reasons))} is given as {', '.join(sorted(hypothesis.reasons))}"
    return [Difference("descriptor", "significant", why)]


def _place_differences(reference: Finding, hypothesis: Finding, lexicon: Lexicon) -> list[Difference]:
    def difference(severity: Severity, why: str) -> Difference:
        return Difference("location", severity, why, "wrong location")

    if reference.sides and hypothesis.sides and not reference.sides & hypothesis.sides:
        return [difference("significant", "another side")]
    differences = []
    if reference.zones and hypothesis.zones and not reference.zones & hypothesis.zones:
        near = _neighbours(reference, hypothesis, lexicon)
        differences.append(difference("negligible" if near else "significant", "another zone"))
    if reference.places and hypothesis.places and reference.places != hypothesis.places:
        differences.append(difference(_places_severity(reference.places, hypothesis.places), "other ribs or vertebrae"))
    if reference.sides and hypothesis.sides and len(reference.sides) != len(hypothesis.sides):
        weight = ORDER.index(significance_of(reference, lexicon))
        why = "one side is given as both" if len(reference.sides) == 1 else "of both sides one is given"
        differences.append(
            difference("significant" if weight >= ORDER.index("actionable_not_urgent") else "negligible", why)
        )
    elif reference.sides and not hypothesis.sides:
        differences.append(difference("negligible", "no side is given"))
    return differences


def _places_severity(reference: frozenset[int], hypothesis: frozenset[int]) -> Severity:
    """Negligible where each is at most one rib or vertebra off and none is left out."""
    near = all(min(abs(place - other) for other in hypothesis) <= 1 for place in reference)
    return "negligible" if near and len(reference) == len(hypothesis) else "significant"


def _change_difference(reference: str | None, hypothesis: str | None) -> Difference:
    """Worsening missed, invented or reversed matters; a missing "stable" does not."""
    changes = {reference, hypothesis}
    weighty = bool(changes & {"new", "worse"}) and changes != {"new", "worse"}
    return Difference(
        "temporal",
        "significant" if weighty else "negligible",
        f"change {reference} is given as {hypothesis}",
        "missing comparison" if hypothesis is None else "false comparison",
    )


def _size_severity(reference: float, hypothesis: float) -> Severity:
    """CRIMSON's margins: 2 mm below 6 mm, 4 mm below 30 mm, a fifth from there on; never across 30 mm."""
    margin = 2.0 if reference < 6 else 4.0 if reference < 30 else 0.2 * reference
    crosses = (reference < 30) != (hypothesis < 30)
    return "significant" if crosses or abs(reference - hypothesis) > margin else "negligible"
