"""Parses a judge's raw reply into a validated judgement: CRIMSON's JSON and GREEN's sections.

Form is repaired (fences, prose around the JSON, trailing commas, a missing bracket), content is not: a reply that
lacks a part, names an unknown id or counts absurdly is invalid, which is a status and not a score.
"""

import json
import re
from typing import Any

import json_repair

from workflow_scripts.judges.crimson import InvalidJudgement, JudgementJSON, faults_of
from workflow_scripts.judges.green import CATEGORIES, GreenCounts

LONGEST = 200_000
"""Characters of a reply; no judgement is longer."""
MOST = 100
"""Findings or errors of one kind in a report; more is a slip of the judge."""

_THOUGHT = re.compile(r"<think>.*?</think>|<unused94>.*?<unused95>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_HEADER = re.compile(
    r"^[\s*#]*\[?(explanation|clinically significant errors|clinically insignificant errors|matched findings)\]?"
    r"[\s*]*:?[\s*]*",
    re.IGNORECASE | re.MULTILINE,
)
_ERROR_LINE = re.compile(r"^[\s*-]*\(?([A-Fa-f1-6])\)[^:\n]*:\s*\**\s*([0-9]{1,9})\b(?![.,][0-9])", re.MULTILINE)
_ANY_LINE = re.compile(r"^[\s*-]*\(([A-Za-z0-9])\)", re.MULTILINE)
_NONE = re.compile(
    r"[\s*-]*(?:(?:no|none|n/a|no (?:\w+ ){0,2}(?:findings?|errors?))(?: (?:found|noted|present))?\W*)?(?:\n|$)",
    re.IGNORECASE,
)
_COUNT = re.compile(r"^[\s*]*([0-9]{1,9})\b(?![.,][0-9])")


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


def read_green(reply: str) -> GreenCounts:
    """The counts in a GREEN reply: significant errors and matched findings must be there.

    Raises:
        InvalidJudgement: a section or a count is missing, or a count is absurd.
    """
    parts = _sections(reply[:LONGEST])
    significant = _errors(parts, "clinically significant errors")
    # The score does not use the insignificant ones: without their section the reply still is a judgement.
    insignificant = _errors({"clinically insignificant errors": "none"} | parts, "clinically insignificant errors")
    body = parts.get("matched findings")
    if body is None:
        raise InvalidJudgement("the section of matched findings is missing")
    count = _COUNT.match(body)
    if count is None and not _NONE.match(body):
        raise InvalidJudgement("the matched findings have no count")
    matched = int(count.group(1)) if count else 0
    counts = GreenCounts(matched, significant, insignificant)
    if max(matched, *significant, *insignificant) > MOST:
        raise InvalidJudgement("a count is absurd")
    return counts


def _sections(reply: str) -> dict[str, str]:
    """The body of each section; of a section that is repeated, the last one: a prompt may be echoed first."""
    headers = list(_HEADER.finditer(reply))
    ends = [header.start() for header in headers[1:]] + [len(reply)]
    return {
        header.group(1).lower(): reply[header.end() : end].strip() for header, end in zip(headers, ends, strict=False)
    }


def _errors(parts: dict[str, str], title: str) -> tuple[int, ...]:
    """Counts of the six categories; a category that is not listed has none."""
    body = parts.get(title)
    if body is None:
        raise InvalidJudgement(f"the section of {title} is missing")
    lines = _ERROR_LINE.findall(body)
    if len(lines) != len(_ANY_LINE.findall(body)):
        raise InvalidJudgement(f"a line of the {title} has no count")
    if not lines and not _NONE.match(body):
        raise InvalidJudgement(f"the {title} have no counts")
    counts = [0] * len(CATEGORIES)
    seen = set()
    for label, count in lines:
        place = "abcdef".find(label.lower()) if label.isalpha() else int(label) - 1
        if place in seen:
            raise InvalidJudgement(f"the {title} name a category twice")
        seen.add(place)
        counts[place] = int(count)
    return tuple(counts)


def read_green_upstream(reply: str) -> GreenCounts:
    """What upstream GREEN reads, faults included: an unreadable section counts nothing.

    Facts of upstream's parser: headers exactly as asked, a section ends at the first blank line, a count stands
    between ": " and ".", of equal labels the line that sorts last counts, digits serve where no letter does.
    """
    significant = _upstream_errors(_upstream_section(reply, "Clinically Significant Errors"))
    insignificant = _upstream_errors(_upstream_section(reply, "Clinically Insignificant Errors"))
    body = _upstream_section(reply, "Matched Findings")
    count = re.match(r"(\d+)\b(?=\.)", body)
    return GreenCounts(int(count.group(1)) if count else 0, significant, insignificant)


def _upstream_section(reply: str, title: str) -> str:
    _, header, rest = reply.partition(f"[{title}]:")
    body = re.split(r"\n\s*\n", rest.lstrip(), maxsplit=1)[0] if header else ""
    return "" if body.startswith("No") else body


def _upstream_errors(body: str) -> tuple[int, ...]:
    labels, lines = "abcdef", re.findall(r"\([a-f]\) .*", body)
    if not lines:
        labels, lines = "123456", re.findall(r"\([1-6]\) .*", body)
    counts = [0] * len(CATEGORIES)
    for line in sorted(lines):
        count = re.search(r"(?<=: )\d+\b(?=\.)", line)
        if count:
            counts[labels.index(line[1])] = int(count.group())
    return tuple(counts)
