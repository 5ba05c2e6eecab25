"""FLARE 2025's rule-GREEN, for parity with that year's figures only: no model, GREEN's name, and not GREEN.

Known to be weak: "5 mm" equals "5 cm", and a sentence that is always normal scores .62. Facts of the 2025 scorer
(`rule_green.yaml`), written anew here; equal to its results on the reference vectors.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

WEIGHTS = {
    "entity_matching": 0.30,
    "location_accuracy": 0.20,
    "negation_handling": 0.15,
    "temporal_accuracy": 0.10,
    "measurement_accuracy": 0.10,
    "clinical_significance": 0.10,
    "structure_completeness": 0.05,
}
CONTEXT = 50
"""Characters around a mention in which its attributes are sought."""

_SIZE = re.compile(r"(\d+\.?\d*)\s*(?:cm|mm|millimeter|centimeter)")


@dataclass(frozen=True)
class Mention:
    """One keyword of a finding class in a report."""

    term: str
    severity: float
    uncertainty: float
    size: float | None  # the first number with a unit, whatever the unit
    negated: bool
    weight: float


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("rule_green.yaml").read_text(encoding="utf-8"))
    return table


@cache
def _word(term: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(term)}\b")


def rule_green(reference: str, hypothesis: str) -> dict[str, float]:
    """The seven components in [0, 1], their weighted sum `overall`, and `severity_correlation` (not in the sum)."""
    expected, predicted = _mentions(reference), _mentions(hypothesis)
    parts = {
        "entity_matching": _entity_score(expected, predicted),
        "location_accuracy": _location_score(_groups("locations", reference), _groups("locations", hypothesis)),
        "negation_handling": _negation_score(expected, predicted),
        "temporal_accuracy": _temporal_score(
            _groups("changes", reference), _groups("changes", hypothesis), bool(expected and predicted)
        ),
        "measurement_accuracy": _measurement_score(expected, predicted),
        "clinical_significance": _significance_score(expected, predicted),
        "structure_completeness": _structure_score(reference, hypothesis),
    }
    overall = sum(weight * parts[name] for name, weight in WEIGHTS.items())
    return {"overall": overall, **parts, "severity_correlation": _severity_correlation(expected, predicted)}


Mentions = dict[str, list[Mention]]


def _mentions(text: str) -> Mentions:
    """Mentions of each finding class, in the order of the table and of the text."""
    table, lower = _table(), text.lower()
    mentions: Mentions = {}
    for name, entry in table["findings"].items():
        for term in entry["terms"]:
            for match in _word(term).finditer(lower):
                context = lower[max(0, match.start() - CONTEXT) : match.end() + CONTEXT]
                before = lower[max(0, match.start() - CONTEXT) : match.start()]
                mentions.setdefault(name, []).append(
                    Mention(
                        term=term,
                        severity=entry["severity"] * _first(table["severity"], context, 1.0),
                        uncertainty=1.0 - _first(table["confidence"], context, 1.0),
                        size=_size(context),
                        negated=any(_word(cue).search(before) for cue in table["negation"]),
                        weight=entry["weight"],
                    )
                )
    return mentions


def _first(words: dict[str, float], context: str, default: float) -> float:
    """The value of the first word of a table that a context holds, be it inside another word."""
    return next((value for word, value in words.items() if word in context), default)


def _size(context: str) -> float | None:
    match = _SIZE.search(context)
    return float(match.group(1)) if match else None


def _groups(section: str, text: str) -> set[str]:
    lower = text.lower()
    return {name for name, terms in _table()[section].items() if any(_word(term).search(lower) for term in terms)}


def _size_score(one: float, two: float) -> float:
    largest = max(one, two)
    difference = abs(one - two) / largest if largest else 0.0
    return 1.0 if difference < 0.1 else 0.8 if difference < 0.2 else 0.5 if difference < 0.5 else 0.2


def _entity_score(expected: Mentions, predicted: Mentions) -> float:
    if not expected:
        return 0.0 if predicted else 1.0
    score = weight = 0.0
    for name, mentions in expected.items():
        for mention in mentions:
            score += mention.weight * max((_likeness(mention, other) for other in predicted.get(name, ())), default=0.0)
            weight += mention.weight
    return score / weight


def _likeness(one: Mention, two: Mention) -> float:
    score = 0.4 * (one.negated == two.negated)
    score += 0.3 * max(0.0, 1 - abs(one.severity - two.severity) / 4)
    score += 0.2 * max(0.0, 1 - abs(one.uncertainty - two.uncertainty))
    if one.size is not None and two.size is not None:
        return score + 0.1 * _size_score(one.size, two.size)
    return score + 0.1 * (one.size is None and two.size is None)


def _location_score(expected: set[str], predicted: set[str]) -> float:
    if not expected:
        return 0.0 if predicted else 1.0
    return len(expected & predicted) / len(expected | predicted)


def _negation_score(expected: Mentions, predicted: Mentions) -> float:
    scores = [
        max(
            0.6 * (mention.negated == other.negated)
            + 0.4 * max(0.0, 1 - 2 * abs(mention.uncertainty - other.uncertainty))
            for other in predicted[name]
        )
        for name in expected.keys() & predicted.keys()
        for mention in expected[name]
    ]
    return sum(scores) / len(scores) if scores else 1.0


def _temporal_score(expected: set[str], predicted: set[str], both_have_findings: bool) -> float:
    if not expected:
        return 0.5 if predicted else 1.0
    constant = 0.8 if predicted and both_have_findings else 0.5
    return 0.5 * len(expected & predicted) / len(expected) + 0.5 * constant


def _measurement_score(expected: Mentions, predicted: Mentions) -> float:
    scores = [
        max((_size_score(mention.size, other.size) for other in predicted[name] if other.size is not None), default=0.0)
        for name in expected.keys() & predicted.keys()
        for mention in expected[name]
        if mention.size is not None
    ]
    return sum(scores) / len(scores) if scores else 1.0


def _significance_score(expected: Mentions, predicted: Mentions) -> float:
    score = weight = 0.0
    for name, mentions in expected.items():
        terms = {other.term for other in predicted.get(name, ())}
        for mention in mentions:
            share = mention.weight * (1 + mention.severity / 4)
            score += share * (mention.term in terms)
            weight += share
    return score / weight if weight else 0.0


def _structure_score(reference: str, hypothesis: str) -> float:
    sections = [section for section in _table()["sections"] if section in reference.lower()]
    share = sum(section in hypothesis.lower() for section in sections) / len(sections) if sections else 1.0
    ratio = len(hypothesis) / len(reference) if reference else 0.0
    length = min(1.0, ratio) if ratio < 2 else max(0.0, 2 - ratio)
    return 0.7 * share + 0.3 * length


def _severity_correlation(expected: Mentions, predicted: Mentions) -> float:
    """Pearson correlation of the severities of equal terms, mapped to [0, 1]; .5 where it is undefined, 0 for none."""
    pairs = []
    for name in expected.keys() & predicted.keys():
        for mention in expected[name]:
            other = next((other for other in predicted[name] if other.term == mention.term), None)
            if other:
                pairs.append((mention.severity, other.severity))
    if not pairs:
        return 0.0
    one, two = np.array(pairs).T
    if len(pairs) < 2 or np.ptp(one) == 0 or np.ptp(two) == 0:
        return 0.5
    return float((np.corrcoef(one, two)[0, 1] + 1) / 2)
