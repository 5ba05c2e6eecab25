"""The findings that judges name in each pair of reports: matched, missing or false, and with which errors."""

import json
from collections.abc import Iterable

from workflow_scripts.core.config.judges import RuleBasedJudge
from workflow_scripts.core.rows import JudgedFinding, JudgedPair
from workflow_scripts.judges.crimson import JudgementJSON, read_crimson

RULE_BASED = RuleBasedJudge().backend


def judgement_of(pair: JudgedPair) -> JudgementJSON:
    """CRIMSON's judgement in a valid reply."""
    if pair.backend == RULE_BASED:
        judgement: JudgementJSON = json.loads(pair.reply)
        return judgement
    return read_crimson(pair.reply)


def findings_of(pair: JudgedPair) -> list[JudgedFinding]:
    """The findings of a pair; none where there is no valid judgement of findings."""
    if pair.status != "valid" or "crimson" not in pair.metrics:
        return []
    judgement = judgement_of(pair)
    matches = [(match["ref_id"], match["pred_id"]) for match in judgement["matched_findings"]]
    errors: dict[str, list[str]] = {}
    for error in judgement["errors"]["attribute_errors"]:
        errors.setdefault(error["ref_id"], []).extend(f"{kind} ({error['severity']})" for kind in error["error_types"])
    rows = []
    for side, own, unmatched in (("reference", 0, "missing"), ("predicted", 1, "false")):
        for finding in judgement[f"{side}_findings"]:
            partners = tuple(match[1 - own] for match in matches if match[own] == finding["id"])
            rows.append(
                JudgedFinding(
                    pair=pair.pair,
                    judge=pair.judge,
                    side=side,
                    id=finding["id"],
                    finding=str(finding.get("finding", "")),
                    significance=finding["clinical_significance"],
                    fate="matched" if partners else unmatched,
                    partners=partners,
                    errors=tuple(errors.get(finding["id"], ())) if side == "reference" else (),
                )
            )
    return rows


def findings_of_pairs(pairs: Iterable[JudgedPair]) -> list[JudgedFinding]:
    """The findings of several judged pairs, by judge and pair."""
    ordered = sorted(pairs, key=lambda pair: (pair.judge, pair.pair))
    return [finding for pair in ordered for finding in findings_of(pair)]
