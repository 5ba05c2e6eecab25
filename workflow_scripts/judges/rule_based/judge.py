"""The offline judge: two chest X-ray reports to CRIMSON's judgement JSON, by the lexicon's findings.

It abstains where it does not understand enough of either report, and outside chest X-ray. Severities of attribute
errors follow CRIMSON's published guidance.
"""

from workflow_scripts.judges.rule_based.findings import Finding, Reading, read_report
from workflow_scripts.judges.rule_based.lexicon import Lexicon

KNOWN_SHARE = 0.75
"""Least share of known words in a report that is judged."""
CHEST = frozenset({"xray", "cxr", "chestxray"})
NORMALS = 2
"""Most agreements on absent findings that count as matched in GREEN's sense, where the reference is normal."""
ORDER = ("benign_expected", "not_actionable_not_urgent", "actionable_not_urgent", "urgent")

Pairs = list[tuple[int, int]]


class Abstains(Exception):
    """The judge has no opinion on this pair; the message says why."""


def judge_pair(reference: str, hypothesis: str, context: dict, lexicon: Lexicon) -> dict:
    """Judge a pair. An empty hypothesis is a report without findings.

    Raises:
        Abstains: one report is outside the vocabulary, the reference is empty, or the modality is not chest X-ray.
    """
    modality = str(context.get("modality", "")).replace("-", "").replace(" ", "").lower()
    if modality and modality not in CHEST:
        raise Abstains(f"modality {context['modality']!r} is not chest X-ray")
    wanted, said = read_report(reference, lexicon), read_report(hypothesis, lexicon)
    for side, reading in (("reference", wanted), ("hypothesis", said)):
        if not understood(reading) and not (side == "hypothesis" and reading.empty):
            raise Abstains(f"the {side} is outside the vocabulary")
    return compare(wanted, said, lexicon)


def understood(reading: Reading) -> bool:
    """Whether enough of a report is known to judge it."""
    return reading.known >= KNOWN_SHARE and bool(reading.findings or reading.denied)


def compare(wanted: Reading, said: Reading, lexicon: Lexicon) -> dict:
    """CRIMSON's judgement of two readings, with GREEN's counts under `green`."""
    pairs = _pairs(wanted.findings, said.findings, lexicon)
    matched_ref, matched_pred = {r for r, _ in pairs}, {p for _, p in pairs}
    differences = [
        (r, p, *difference)
        for r, p in pairs
        for difference in attribute_differences(wanted.findings[r], said.findings[p], lexicon)
    ]
    judgement = {
        "reference_findings": [_entry(f"R{n + 1}", finding, lexicon) for n, finding in enumerate(wanted.findings)],
        "predicted_findings": [_entry(f"P{n + 1}", finding, lexicon) for n, finding in enumerate(said.findings)],
        "matched_findings": [{"ref_id": f"R{r + 1}", "pred_id": f"P{p + 1}"} for r, p in pairs],
        "errors": {
            "false_findings": [f"P{n + 1}" for n in range(len(said.findings)) if n not in matched_pred],
            "missing_findings": [f"R{n + 1}" for n in range(len(wanted.findings)) if n not in matched_ref],
            "attribute_errors": [
                {
                    "ref_id": f"R{r + 1}",
                    "pred_id": f"P{p + 1}",
                    "severity": severity,
                    "error_types": [kind],
                    "explanation": why,
                }
                for r, p, kind, severity, why in differences
            ],
        },
    }
    return judgement | {"green": _green_counts(judgement, wanted, said, lexicon)}


def significance_of(finding: Finding, lexicon: Lexicon) -> str:
    """CRIMSON's clinical significance of a finding: by the table, its severity, change and reasons."""
    if finding.misplaced and "device" in lexicon.findings[finding.name]:
        return "urgent"
    if finding.reasons:
        return max((_by_table(name, finding, lexicon) for name in finding.reasons), key=ORDER.index)
    return _by_table(finding.name, finding, lexicon)


def _by_table(name: str, finding: Finding, lexicon: Lexicon) -> str:
    entry = lexicon.findings[name]
    by_change = entry.get("by_change", {}).get(finding.change)
    return by_change or entry.get("by_severity", {}).get(str(finding.severity), entry["significance"])


def _entry(identity: str, finding: Finding, lexicon: Lexicon) -> dict:
    return {
        "id": identity,
        "finding": finding.text,
        "clinical_significance": significance_of(finding, lexicon),
        "class": finding.name,
    }


def _affinity(first: Finding, second: Finding, lexicon: Lexicon) -> float:
    """How well two findings pair: 0 never, more for the same name, side, zone and size."""
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


def _pairs(wanted: tuple[Finding, ...], said: tuple[Finding, ...], lexicon: Lexicon) -> Pairs:
    """Best pairs first, each finding once; then what one report splits by side or names as a reason of another."""
    scored = sorted(
        ((_affinity(r, p, lexicon), -i, -j) for i, r in enumerate(wanted) for j, p in enumerate(said)), reverse=True
    )
    pairs: Pairs = []
    for score, i, j in scored:
        if score > 0 and all(r != -i and p != -j for r, p in pairs):
            pairs.append((-i, -j))
    for score, i, j in scored:
        r, p = -i, -j
        free_r, free_p = all(a != r for a, _ in pairs), all(b != p for _, b in pairs)
        if score > 0 and free_r != free_p:
            whole, part = (wanted[r], said[p]) if free_p else (said[p], wanted[r])
            splits = whole.name == part.name and len(whole.sides) == 2 and len(part.sides) == 1
            if splits or part.name in whole.reasons:
                pairs.append((r, p))
    return sorted(pairs)


def attribute_differences(wanted: Finding, said: Finding, lexicon: Lexicon) -> list[tuple[str, str, str]]:
    """Attribute errors of a matched pair: type, severity, explanation. What the reference leaves open is free."""
    found = []
    if wanted.name != said.name:
        found.append(_name_difference(wanted, said, lexicon))
    found += _place_differences(wanted, said, lexicon)
    if wanted.severity and said.severity and wanted.severity != said.severity:
        far = abs(wanted.severity - said.severity) > 1
        found.append(("severity", "significant" if far else "negligible", "another severity"))
    device = "device" in lexicon.findings[wanted.name]
    if wanted.size and said.size and wanted.size != said.size:
        severity = "negligible" if device else _size_severity(wanted.size, said.size)
        found.append(("measurement", severity, f"{wanted.size:g} mm is given as {said.size:g} mm"))
    if device and wanted.misplaced != said.misplaced:
        found.append(("location", "significant", "the device is misplaced in one report only"))
    if wanted.certain != said.certain:
        found.append(("certainty", "negligible", "another certainty"))
    if wanted.change != said.change:
        found.append(_change_difference(wanted.change, said.change))
    return found


def _name_difference(wanted: Finding, said: Finding, lexicon: Lexicon) -> tuple[str, str, str]:
    why = f"{wanted.name} is called {said.name}"
    related = lexicon.related.get(frozenset((wanted.name, said.name)))
    if said.name in wanted.reasons or wanted.name in said.reasons or related is None:
        return ("certainty", "negligible", why)
    if not related.vague:
        return ("descriptor", related.severity, why)
    return ("unspecific" if said.name == related.vague else "overinterpretation", related.severity, why)


def _place_differences(wanted: Finding, said: Finding, lexicon: Lexicon) -> list[tuple[str, str, str]]:
    if wanted.sides and said.sides and not wanted.sides & said.sides:
        return [("location", "significant", "another side")]
    found = []
    if wanted.zones and said.zones and not wanted.zones & said.zones:
        near = any(frozenset((a, b)) in lexicon.neighbours for a in wanted.zones for b in said.zones)
        found.append(("location", "negligible" if near else "significant", "another zone"))
    if len(wanted.sides) == 1 and len(said.sides) == 2:
        found.append(("location", "significant", "one side is given as both"))
    elif wanted.sides and not said.sides:
        found.append(("location", "negligible", "no side is given"))
    return found


def _change_difference(wanted: str | None, said: str | None) -> tuple[str, str, str]:
    """Worsening missed, invented or reversed matters; a missing "stable" does not."""
    weighty = bool({wanted, said} & {"new", "worse"}) and {wanted, said} != {"new", "worse"}
    return ("temporal", "significant" if weighty else "negligible", f"change {wanted} is given as {said}")


def _size_severity(wanted: float, said: float) -> str:
    """CRIMSON's margins: 2 mm below 6 mm, 4 mm below 30 mm, a fifth from there on; never across 30 mm."""
    margin = 2.0 if wanted < 6 else 4.0 if wanted < 30 else 0.2 * wanted
    crosses = (wanted < 30) != (said < 30)
    return "significant" if crosses or abs(wanted - said) > margin else "negligible"


_GREEN_COLUMN = {"location": 2, "severity": 3, "measurement": 3, "temporal": 4}
"""GREEN's category of an attribute error; all others are misassessments (3)."""


def _green_counts(judgement: dict, wanted: Reading, said: Reading, lexicon: Lexicon) -> dict:
    """GREEN's counts of a judgement. Agreement on absent findings counts where the reference is normal."""
    weightless = {
        entry["id"]
        for side in ("reference_findings", "predicted_findings")
        for entry in judgement[side]
        if entry["clinical_significance"] == "benign_expected"
    }
    errors = judgement["errors"]
    significant, insignificant = [0] * 6, [0] * 6
    for column, name in ((0, "false_findings"), (1, "missing_findings")):
        for identity in errors[name]:
            (insignificant if identity in weightless else significant)[column] += 1
    for error in errors["attribute_errors"]:
        column = _GREEN_COLUMN.get(error["error_types"][0], 3)
        if column == 4 and error["explanation"].endswith("None"):
            column = 5
        (significant if error["severity"] == "significant" else insignificant)[column] += 1
    matched = len({pair["ref_id"] for pair in judgement["matched_findings"]})
    if all(significance_of(finding, lexicon) == "benign_expected" for finding in wanted.findings):
        matched += min(NORMALS, len(wanted.denied & said.denied))
    return {"matched": matched, "significant": significant, "insignificant": insignificant}
