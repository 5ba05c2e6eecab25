"""The rule-based judge: compares the findings of two chest X-ray reports and writes CRIMSON's judgement JSON.

It abstains where it does not understand enough of either report, and outside chest X-ray. Severities of attribute
errors follow CRIMSON's published guidance.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from workflow_scripts.judges.crimson import JudgementJSON
from workflow_scripts.judges.green import CATEGORIES, GreenCounts
from workflow_scripts.judges.rule_based.findings import Finding, Reading, read_report
from workflow_scripts.judges.rule_based.lexicon import Lexicon

KNOWN_SHARE = 0.75
"""Least share of known words in a report that is judged."""
CHEST = frozenset({"xray", "cxr", "chestxray"})
NORMALS = 2
"""Most agreements on absent findings that count as matched in GREEN's sense, where the reference is normal."""
ORDER = ("benign_expected", "not_actionable_not_urgent", "actionable_not_urgent", "urgent")

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
        if not understood(reading) and not (side == "hypothesis" and reading.empty):
            raise Abstains(f"the {side} is outside the vocabulary")
    return compare(*readings, lexicon)


def green_counts(judgement: JudgementJSON) -> GreenCounts:
    """GREEN's counts in a judgement of this judge."""
    counts = judgement["green"]
    return GreenCounts(counts["matched"], tuple(counts["significant"]), tuple(counts["insignificant"]))


def understood(reading: Reading) -> bool:
    """Whether enough of a report is known to judge it."""
    return reading.known >= KNOWN_SHARE and bool(reading.findings or reading.denied)


def compare(reference: Reading, hypothesis: Reading, lexicon: Lexicon) -> JudgementJSON:
    """CRIMSON's judgement of two readings, with GREEN's counts under `green`."""
    matches = _matches(reference.findings, hypothesis.findings, lexicon)
    differences = [
        (match, difference)
        for match in matches
        for difference in attribute_differences(
            reference.findings[match.reference], hypothesis.findings[match.hypothesis], lexicon
        )
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
    matched = len({match.reference for match in matches})
    if all(significance_of(finding, lexicon) == "benign_expected" for finding in reference.findings):
        # Agreement on absent findings counts where the reference is normal.
        matched += min(NORMALS, len(reference.denied & hypothesis.denied))
    return judgement | {
        "green": {
            "matched": matched,
            "significant": list(significant.values()),
            "insignificant": list(insignificant.values()),
        }
    }


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
    if finding.misplaced and lexicon.findings[finding.name].device:
        return "urgent"
    if finding.reasons:
        return max((_by_table(name, finding, lexicon) for name in finding.reasons), key=ORDER.index)
    return _by_table(finding.name, finding, lexicon)


def _by_table(name: str, finding: Finding, lexicon: Lexicon) -> str:
    entry = lexicon.findings[name]
    by_change = entry.by_change.get(finding.change or "")
    return by_change or entry.by_severity.get(str(finding.severity), entry.significance)


def _affinity(first: Finding, second: Finding, lexicon: Lexicon) -> float:
    """How well two findings match: 0 never, more for the same name, side, zone and size."""
    if first.name == second.name:
        score = 4.0
    elif second.name in first.reasons or first.name in second.reasons or first.reasons & second.reasons:
        score = 3.0
    elif frozenset((first.name, second.name)) in lexicon.related:
        score = 2.0
    else:
        return 0.0
    for one, two in ((first.sides, second.sides), (first.zones, second.zones)):
        if one and two:
            score += len(one & two) / len(one | two) - 0.5
    if first.severity and second.severity:
        score += 0.1 * (1 - abs(first.severity - second.severity) / 3)
    return score


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
            if splits or part.name in whole.reasons:
                matches.append(match)
    return sorted(matches)


def attribute_differences(reference: Finding, hypothesis: Finding, lexicon: Lexicon) -> list[Difference]:
    """Attribute errors between two matched findings. What the reference leaves open is free."""
    differences = []
    if reference.name != hypothesis.name:
        differences.append(_name_difference(reference, hypothesis, lexicon))
    differences += _place_differences(reference, hypothesis, lexicon)
    if reference.severity and hypothesis.severity and reference.severity != hypothesis.severity:
        far = abs(reference.severity - hypothesis.severity) > 1
        differences.append(Difference("severity", "significant" if far else "negligible", "another severity"))
    device = lexicon.findings[reference.name].device
    if reference.size and hypothesis.size and reference.size != hypothesis.size:
        severity = "negligible" if device else _size_severity(reference.size, hypothesis.size)
        why = f"{reference.size:g} mm is given as {hypothesis.size:g} mm"
        differences.append(Difference("measurement", severity, why))
    if device and reference.misplaced != hypothesis.misplaced:
        why = "the device is misplaced in one report only"
        differences.append(Difference("location", "significant", why, "wrong location"))
    if reference.certain != hypothesis.certain:
        differences.append(Difference("certainty", "negligible", "another certainty"))
    if reference.change != hypothesis.change:
        differences.append(_change_difference(reference.change, hypothesis.change))
    return differences


def _name_difference(reference: Finding, hypothesis: Finding, lexicon: Lexicon) -> Difference:
    why = f"{reference.name} is called {hypothesis.name}"
    related = lexicon.related.get(frozenset((reference.name, hypothesis.name)))
    if hypothesis.name in reference.reasons or reference.name in hypothesis.reasons or related is None:
        return Difference("certainty", "negligible", why)
    if not related.vague:
        return Difference("descriptor", related.severity, why)
    kind = "unspecific" if hypothesis.name == related.vague else "overinterpretation"
    return Difference(kind, related.severity, why)


def _place_differences(reference: Finding, hypothesis: Finding, lexicon: Lexicon) -> list[Difference]:
    def difference(severity: Severity, why: str) -> Difference:
        return Difference("location", severity, why, "wrong location")

    if reference.sides and hypothesis.sides and not reference.sides & hypothesis.sides:
        return [difference("significant", "another side")]
    differences = []
    if reference.zones and hypothesis.zones and not reference.zones & hypothesis.zones:
        near = any(frozenset((a, b)) in lexicon.neighbours for a in reference.zones for b in hypothesis.zones)
        differences.append(difference("negligible" if near else "significant", "another zone"))
    if len(reference.sides) == 1 and len(hypothesis.sides) == 2:
        differences.append(difference("significant", "one side is given as both"))
    elif reference.sides and not hypothesis.sides:
        differences.append(difference("negligible", "no side is given"))
    return differences


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
