"""The offline judge: two chest X-ray reports to CRIMSON's judgement JSON, by the lexicon's findings.

It abstains where it does not understand enough of either report, and outside chest X-ray.
"""

from workflow_scripts.score.findings import Finding, Reading, read_report
from workflow_scripts.score.lexicon import Lexicon

KNOWN_SHARE = 0.6
"""Least share of known words in a report that is judged."""
CHEST = frozenset({"xray"})


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
    missing = [place for place in range(len(wanted.findings)) if place not in matched_ref]
    false = [place for place in range(len(said.findings)) if place not in matched_pred]
    attribute_errors = [
        {"ref_id": f"R{r + 1}", "pred_id": f"P{p + 1}", "severity": severity, "error_types": [kind], "explanation": why}
        for r, p in pairs
        for kind, severity, why in attribute_differences(wanted.findings[r], said.findings[p], lexicon)
    ]
    judgement = {
        "reference_findings": [_entry(f"R{n + 1}", finding, lexicon) for n, finding in enumerate(wanted.findings)],
        "predicted_findings": [_entry(f"P{n + 1}", finding, lexicon) for n, finding in enumerate(said.findings)],
        "matched_findings": [{"ref_id": f"R{r + 1}", "pred_id": f"P{p + 1}"} for r, p in pairs],
        "errors": {
            "false_findings": [f"P{place + 1}" for place in false],
            "missing_findings": [f"R{place + 1}" for place in missing],
            "attribute_errors": attribute_errors,
        },
    }
    return judgement | {"green": _green_counts(judgement, wanted, said)}


def significance_of(finding: Finding, lexicon: Lexicon) -> str:
    """CRIMSON's clinical significance of a finding, by the table."""
    entry = lexicon.findings[finding.name]
    return entry.get("by_severity", {}).get(str(finding.severity), entry["significance"])


def _entry(identity: str, finding: Finding, lexicon: Lexicon) -> dict:
    return {"id": identity, "finding": finding.text, "clinical_significance": significance_of(finding, lexicon)}


def _affinity(first: Finding, second: Finding, lexicon: Lexicon) -> float:
    """How well two findings pair: 0 never, more for the same name, side, zone and size."""
    if first.name == second.name:
        score = 4.0
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


def _pairs(wanted: tuple[Finding, ...], said: tuple[Finding, ...], lexicon: Lexicon) -> list[tuple[int, int]]:
    """Best pairs first, each finding once; then one finding that the other report splits by side."""
    scored = sorted(
        ((_affinity(r, p, lexicon), -i, -j) for i, r in enumerate(wanted) for j, p in enumerate(said)), reverse=True
    )
    pairs: list[tuple[int, int]] = []
    for score, i, j in scored:
        if score > 0 and all(r != -i and p != -j for r, p in pairs):
            pairs.append((-i, -j))
    for score, i, j in scored:
        r, p = -i, -j
        free_r, free_p = all(a != r for a, _ in pairs), all(b != p for _, b in pairs)
        if score > 0 and free_r != free_p and wanted[r].name == said[p].name:
            whole, part = (wanted[r], said[p]) if free_p else (said[p], wanted[r])
            if len(whole.sides) == 2 and len(part.sides) == 1:
                pairs.append((r, p))
    return sorted(pairs)


def attribute_differences(wanted: Finding, said: Finding, lexicon: Lexicon) -> list[tuple[str, str, str]]:
    """Attribute errors of a matched pair: type, severity, explanation. What the reference leaves open is free."""
    found = []
    if wanted.name != said.name:
        related = lexicon.related[frozenset((wanted.name, said.name))]
        kind = "descriptor" if not related.vague else "unspecific" if said.name == related.vague else "overinterpretation"
        found.append((kind, related.severity, f"{wanted.name} is called {said.name}"))
    if wanted.sides and said.sides and not wanted.sides & said.sides:
        found.append(("location", "significant", "other side"))
    elif wanted.zones and said.zones and not wanted.zones & said.zones:
        near = any(frozenset((a, b)) in lexicon.neighbours for a in wanted.zones for b in said.zones)
        found.append(("location", "negligible" if near else "significant", "other zone"))
    elif wanted.sides and wanted.sides != said.sides and len(said.sides) != 1:
        found.append(("location", "negligible", "side not given or extended"))
    if wanted.severity and said.severity and wanted.severity != said.severity:
        far = abs(wanted.severity - said.severity) > 1
        found.append(("severity", "significant" if far else "negligible", "other severity"))
    if wanted.size and said.size and wanted.size != said.size:
        found.append(("measurement", _size_severity(wanted.size, said.size), "other size"))
    if wanted.certain != said.certain:
        found.append(("certainty", "negligible", "other certainty"))
    if wanted.change != said.change and (wanted.change or said.change):
        weighty = {wanted.change, said.change} & {"new", "worse"} and {wanted.change, said.change} & {"better", "stable"}
        found.append(("temporal", "significant" if weighty else "negligible", "other change"))
    return found


def _size_severity(wanted: float, said: float) -> str:
    """CRIMSON's margins: 2 mm below 6 mm, 4 mm below 30 mm, a fifth from there on; never across 30 mm."""
    margin = 2.0 if wanted < 6 else 4.0 if wanted < 30 else 0.2 * wanted
    crosses = (wanted < 30) != (said < 30)
    return "significant" if crosses or abs(wanted - said) > margin else "negligible"


def _green_counts(judgement: dict, wanted: Reading, said: Reading) -> dict:
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
    columns = {"location": 2, "severity": 3, "measurement": 3}
    for error in errors["attribute_errors"]:
        column = columns.get(error["error_types"][0])
        if error["error_types"][0] == "temporal":
            column = 4 if "temporal" in error["explanation"] else 5
        if column is None:
            column = 3
        (significant if error["severity"] == "significant" else insignificant)[column] += 1
    matched = len({pair["ref_id"] for pair in judgement["matched_findings"]})
    if not wanted.findings:
        matched += max(1, len(wanted.denied & said.denied)) if not said.findings or wanted.denied & said.denied else 0
    return {"matched": matched, "significant": significant, "insignificant": insignificant}
