"""What judges found in each pair of reports, one row a finding: matched, missing or false, and with which errors."""

import json
from pathlib import Path

from workflow_scripts.core.tables import JUDGED_FINDINGS, JUDGEMENTS, read_table, write_table
from workflow_scripts.judges.replies import read_crimson


def finding_rows(judgement: dict) -> list[dict]:
    """JUDGED_FINDINGS rows of one row of JUDGEMENTS; none where there is no valid judgement of findings."""
    if judgement["status"] != "valid" or judgement["metric"] == "green":
        return []
    reply = json.loads(judgement["reply"]) if judgement["metric"] == "both" else read_crimson(judgement["reply"])
    pairs = [(match["ref_id"], match["pred_id"]) for match in reply["matched_findings"]]
    errors: dict[str, list[str]] = {}
    for error in reply["errors"]["attribute_errors"]:
        errors.setdefault(error["ref_id"], []).extend(f"{kind} ({error['severity']})" for kind in error["error_types"])
    rows = []
    for side, name, own, lost in (
        ("reference", "reference_findings", 0, "missing"),
        ("predicted", "predicted_findings", 1, "false"),
    ):
        for finding in reply[name]:
            partners = [pair[1 - own] for pair in pairs if pair[own] == finding["id"]]
            rows.append(
                {
                    "pair": judgement["pair"],
                    "judge": judgement["judge"],
                    "side": side,
                    "id": finding["id"],
                    "finding": str(finding.get("finding", "")),
                    "significance": finding["clinical_significance"],
                    "fate": "matched" if partners else lost,
                    "partners": partners,
                    "errors": errors.get(finding["id"], []) if side == "reference" else [],
                }
            )
    return rows


def write_findings(judgements: list[Path], out: Path) -> None:
    """Write the JUDGED_FINDINGS table of several judgement tables; a pair that two of them hold is listed once."""
    found = {
        (judgement["judge"], judgement["pair"]): judgement
        for path in judgements
        for judgement in read_table(path, JUDGEMENTS).to_pylist()
    }
    write_table(out, [row for key in sorted(found) for row in finding_rows(found[key])], JUDGED_FINDINGS)
