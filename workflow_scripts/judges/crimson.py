"""CRIMSON: reads a judge's reply, and scores the judgement in it, as pure functions. `score(reply)` does both.

Formula: upstream rajpurkarlab/CRIMSON. Reference findings weigh by clinical significance; a matched one earns its
weight, less for significant attribute errors; false findings cost their weight. `upstream` mode repeats upstream's
results, faults included; `strict` mode first asks `faults_of` and scores only a judgement without any.
Form is repaired (fences, prose around the JSON, trailing commas, a missing bracket), content is not: a reply that
lacks a part or names an unknown id is invalid, which is a status and not a score.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal

import json_repair

from workflow_scripts.judges.replies import LONGEST, MOST, InvalidJudgement

WEIGHTS = {
    "urgent": 1.0,
    "actionable_not_urgent": 0.5,
    "not_actionable_not_urgent": 0.25,
    "benign_expected": 0.0,
}
ATTRIBUTE_WEIGHTS = {"significant": 0.5, "negligible": 0.0}
UNKNOWN = 0.25
"""Upstream's weight of a significance or severity that it does not know."""
ERROR_TYPES = (
    "location", "severity", "descriptor", "measurement", "certainty", "unspecific", "overinterpretation", "temporal",
)  # fmt: skip
LISTS = ("reference_findings", "predicted_findings", "matched_findings")
ERROR_LISTS = ("false_findings", "missing_findings", "attribute_errors")
Mode = Literal["strict", "upstream"]
_THOUGHT = re.compile(r"<think>.*?</think>|<unused94>.*?<unused95>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
JudgementJSON = dict[str, Any]
"""CRIMSON's judgement of a pair of reports as its prompt asks for it: findings, matches and errors by their ids."""


@dataclass(frozen=True)
class Crimson:
    """A score with its parts. Weights are in units of one urgent finding."""

    score: float  # in (-1, 1], rounded to 4 digits
    reference_weight: float  # N_G
    false_weight: float  # E
    credit: float  # C
    balance: float  # S
    error_counts: dict[str, int]
    weighted_error_counts: dict[str, float]

    @property
    def abnormal(self) -> bool:
        """Whether the reference holds a finding that weighs anything."""
        return self.reference_weight > 0


def crimson(judgement: JudgementJSON, mode: Mode = "strict", reference_weight: float | None = None) -> Crimson:
    """Score a judgement.

    A judge weighs the reference anew beside each hypothesis. With `reference_weight`, the weight of the reference by
    itself, the share that is credited here counts against that total, so that all systems share a denominator.

    Raises:
        InvalidJudgement: in strict mode, the judgement has a fault (see `faults_of`).
        KeyError, TypeError, AttributeError: in upstream mode, where upstream raises them.
    """
    if mode == "strict":
        faults = faults_of(judgement)
        if faults:
            raise InvalidJudgement(faults[0])
    return _score(judgement, reference_weight)


def _score(judgement: JudgementJSON, frozen: float | None) -> Crimson:
    errors = judgement.get("errors", {})
    reference = judgement.get("reference_findings", [])
    weights = {finding["id"]: _weight(finding) for finding in reference}
    predicted = {finding["id"]: _weight(finding) for finding in judgement.get("predicted_findings", [])}
    matches = judgement.get("matched_findings", [])
    false = errors.get("false_findings", [])
    missing = errors.get("missing_findings", [])
    attributes = errors.get("attribute_errors", [])

    false_weight = sum(predicted.get(identity, 0.0) for identity in false)
    missing_weight = sum(weights.get(identity, 0.0) for identity in missing)
    penalties: dict[object, list[float]] = {}
    for error in attributes:
        penalties.setdefault(error["ref_id"], []).append(_severity(error))
    credit = 0.0
    for identity in dict.fromkeys(match["ref_id"] for match in matches):
        weight = weights.get(identity, 0.0)
        penalty = sum(penalties.get(identity, []))
        if weight + penalty > 0:
            credit += weight * weight / (weight + penalty) if penalty else weight

    total = sum(_weight(finding) for finding in reference) if reference else len(matches) + missing_weight
    if frozen is not None:
        scale = frozen / total if total else 0.0
        credit, missing_weight, total = credit * scale, missing_weight * scale, frozen
    surplus = false_weight - credit
    if total == 0:
        perfect = false_weight == 0 and missing_weight == 0
        balance = 1.0 if perfect else -(false_weight + missing_weight + 1)
        score = 1.0 if perfect else -false_weight / (1 + false_weight)
    else:
        balance = (credit - false_weight) / total
        score = balance if balance >= 0 else -surplus / (1 + surplus)
    return Crimson(
        score=round(score, 4),
        reference_weight=total,
        false_weight=false_weight,
        credit=credit,
        balance=balance,
        error_counts={
            "false_findings": len(false),
            "missing_findings": len(missing),
            "attribute_errors": len(attributes),
        }
        | {f"{kind}_errors": sum(kind in error.get("error_types", []) for error in attributes) for kind in ERROR_TYPES},
        weighted_error_counts={
            "false_findings": false_weight,
            "missing_findings": missing_weight,
            "attribute_errors": sum(_severity(error) for error in attributes),
        },
    )


def _weight(finding: dict[str, Any]) -> float:
    return WEIGHTS.get(finding.get("clinical_significance", ""), UNKNOWN)


def _severity(error: dict[str, Any]) -> float:
    return ATTRIBUTE_WEIGHTS.get(error.get("severity", ""), UNKNOWN)


def faults_of(judgement: object) -> list[str]:
    """Why a reply is not a judgement: a missing list, an unknown word, an id that no finding bears, a contradiction.

    Every reference finding must be matched or missing and every predicted one matched or false, none both.
    """
    if not isinstance(judgement, dict):
        return ["the reply is not a JSON object"]
    errors = judgement.get("errors")
    if not isinstance(errors, dict):
        return ["`errors` is not an object"]
    lists: dict[str, Any] = {name: judgement.get(name) for name in LISTS} | {
        name: errors.get(name) for name in ERROR_LISTS
    }
    for name, entries in lists.items():
        if not isinstance(entries, list):
            return [f"`{name}` is not a list"]
    faults: list[str] = []
    reference = _ids("reference_findings", lists["reference_findings"], faults)
    predicted = _ids("predicted_findings", lists["predicted_findings"], faults)
    pairs = _pairs("matched_findings", lists["matched_findings"], faults)
    erroneous = _pairs("attribute_errors", lists["attribute_errors"], faults)
    for name, known in (("missing_findings", reference), ("false_findings", predicted)):
        ids = lists[name]
        if any(not isinstance(identity, str) for identity in ids):
            faults.append(f"`{name}` holds something other than ids")
        elif len(set(ids)) != len(ids):
            faults.append(f"`{name}` names an id twice")
        elif not set(ids) <= known:
            faults.append(f"`{name}` names an id that no finding bears")
    if faults:
        return faults
    if len(set(pairs)) != len(pairs):
        faults.append("`matched_findings` holds a pair twice")
    if not {ref for ref, _ in pairs} <= reference or not {pred for _, pred in pairs} <= predicted:
        faults.append("`matched_findings` names an id that no finding bears")
    if not set(erroneous) <= set(pairs):
        faults.append("`attribute_errors` names a pair that is not matched")
    faults += _words(lists["attribute_errors"])
    faults += _closed("reference", reference, {ref for ref, _ in pairs}, set(lists["missing_findings"]), "missing")
    faults += _closed("predicted", predicted, {pred for _, pred in pairs}, set(lists["false_findings"]), "false")
    return faults


def _ids(name: str, findings: list[Any], faults: list[str]) -> set[str]:
    ids: list[str] = []
    for finding in findings:
        if not isinstance(finding, dict) or not isinstance(finding.get("id"), str):
            faults.append(f"`{name}` holds a finding without an id")
            return set()
        if finding.get("clinical_significance") not in WEIGHTS:
            faults.append(f"`{name}` holds an unknown clinical significance")
        ids.append(finding["id"])
    if len(set(ids)) != len(ids):
        faults.append(f"`{name}` uses an id twice")
    return set(ids)


def _pairs(name: str, entries: list[Any], faults: list[str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for entry in entries:
        match entry:
            case {"ref_id": str(reference), "pred_id": str(predicted)}:
                pairs.append((reference, predicted))
            case _:
                faults.append(f"`{name}` holds an entry without ref_id and pred_id")
                return []
    return pairs


def _words(attribute_errors: list[dict[str, Any]]) -> list[str]:
    faults = []
    for error in attribute_errors:
        kinds = error.get("error_types")
        if error.get("severity") not in ATTRIBUTE_WEIGHTS:
            faults.append("`attribute_errors` holds an unknown severity")
        if not isinstance(kinds, list) or not kinds or not set(map(str, kinds)) <= set(ERROR_TYPES):
            faults.append("`attribute_errors` holds an unknown error type")
    return faults


def _closed(side: str, known: set[str], matched: set[str], unmatched: set[str], word: str) -> list[str]:
    faults = []
    if matched & unmatched:
        faults.append(f"a {side} finding is both matched and {word}")
    if known - matched - unmatched:
        faults.append(f"a {side} finding is neither matched nor {word}")
    return faults


def read_crimson(reply: str) -> JudgementJSON:
    """The judgement in a reply.

    Raises:
        InvalidJudgement: the reply holds none, it was cut, or it has a fault.
    """
    judgement: JudgementJSON = _json_in(reply)
    faults = faults_of(judgement)
    if faults:
        raise InvalidJudgement(faults[0])
    for name in ("reference_findings", "predicted_findings", "matched_findings"):
        if len(judgement[name]) > MOST:
            raise InvalidJudgement(f"`{name}` has {len(judgement[name])} entries")
    return judgement


def _json_in(reply: str) -> Any:
    """The one JSON object of a reply, repaired in form.

    Raises:
        InvalidJudgement: no object, two objects, or an object without an end.
    """
    text = _THOUGHT.sub("", reply[:LONGEST]).lstrip("\ufeff").strip()
    fence = _FENCE.search(text)
    text = fence.group(1) if fence else text
    start = text.find("{")
    if start < 0:
        raise InvalidJudgement("the reply holds no JSON object")
    try:
        judgement, end = json.JSONDecoder(strict=False).raw_decode(text, start)
    except (ValueError, RecursionError):
        return _repaired(text[start : text.rfind("}") + 1])
    if "{" in text[end:]:
        raise InvalidJudgement("the reply holds two JSON objects")
    return judgement


def _repaired(text: str) -> Any:
    """The value of JSON with slips of form.

    A cut reply is not closed: what was cut off would be lost without a trace.
    """
    if text.count("{") != text.count("}") or text.count("[") != text.count("]"):
        raise InvalidJudgement("the reply was cut, or its brackets do not match")
    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):
        raise InvalidJudgement("the reply is not valid JSON and cannot be repaired") from None


def score(reply: str, reference_weight: float | None = None) -> float:
    """CRIMSON of a judge's raw reply, in (-1, 1]; for instance as a reward.

    Args:
        reference_weight: see `crimson`.

    Raises:
        InvalidJudgement: the reply is not a judgement.
    """
    return crimson(read_crimson(reply), reference_weight=reference_weight).score
