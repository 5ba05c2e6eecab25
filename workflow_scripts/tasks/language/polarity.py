"""What a text says of something it names: that it is there, that it is not, or that it may be.

Rules over one clause, in the manner of NegEx (Chapman et al. 2001, doi:10.1006/jbin.2001.1029): words before a mention
reach it until a new clause begins; words after it must follow closely. Linear in the text. Patterns are for lower case,
which is three times as fast as patterns that ignore case.
"""

import re
from typing import Literal

from workflow_scripts.tasks.language.text import lowered

Polarity = Literal["affirmed", "denied", "possible"]

_CLAUSE_END = re.compile(
    r"(?<![0-9])[.](?![0-9])|(?<=[0-9])[.](?=\s)"
    r"|[;!?\n}]|\]\s*,|,?\s+(?:but|however|although|though|whereas|while|yet|so|"
    r"therefore|instead|other than|except(?: for)?|apart from)\b|,\s+(?:and\s+)?(?=(?:there|it|this|that|the answer"
    r"|with|positive|present)\b)",
)
_DENIED_BEFORE = re.compile(
    r"\b(?:no(?!,)|not|n't|never|neither|nor|without|none of|absence of|lack of|lacks|free of|negative for"
    r"|rather than|instead of|"
    r"exclud(?:es?|ing)|rul(?:es?|ing) out|den(?:y|ies)|unable|unlikely to|non(?=-\Z))\b"
    r"|\b(?:is|are|was|were|does|do|did|can|could|would|should|has|have)n['’]t\b"
    r"|\b(?:absent|negative|excluded|ruled out|false|unlikely)(?:(?:\s+findings?)?[\"'\s*_]*[:=]|\s+\Z)"
    r"|(?:\bfalse|\bnull|[\"'](?:no|absent)[\"'])\s*,\s*[\"'](?:label|name|finding|class|disease)[\"']\s*:",
)
_NO_DENIAL = re.compile(r"\b(?:no doubt|not only|no (?:longer )?question|not exclude[ds]?|cannot exclude)\b")
_ITEM = r"[ \t]*(?:[-*•]|[0-9]{1,2}[.)])[^\n:]*"
_DENIED_LIST = re.compile(
    r"(?:\A|\n)[^\n:]{0,40}\b(?:absent|negative|no|not \w+|excluded|ruled out)\b[^\n:]{0,20}:[*_ ]*\n"
    rf"(?:{_ITEM}\n)*{_ITEM}\Z"
)
_TICKED = re.compile(r"(?:\[[x✓✔]\]|[☑✓✔✅])[\s*_`]*$")
_UNTICKED = re.compile(r"(?:(?:\[ ?\]|☐)|(?:^|[\n,|-])\s*[✗✘❌×])[\s*_`]*$")

_SEEN = (
    r"(?:present|seen|visible|identified|detected|evident|required|needed|indicated|found|noted|observed|likely"
    r"|there|correct|right|"
    r"apparent|shown|demonstrated|suspected|appreciated|possible|supported|consistent|visuali[sz]ed)\b"
)
_YES = r"(?:(?:true|yes|present|positive|seen|detected|confirmed|x)\b|1(?![.\d])|[✓✔✅☑])"
_NO = (
    rf"(?:(?:false|none|null|absent|negative|unlikely|nil|n/a|denied|excluded|ruled out)\b|0(?![.\d])|[✗✘❌☐×]"
    rf"|not {_SEEN}|"
    r"no\b(?!\s+[a-z])|no (?:evidence|signs?)\b)"
)
_GIVEN = (
    r"^[\s\"'*_`)\]]*(?:(?:[:=|(–—→?]|->"
    r"|\s-\s)[\s\"'*_`(|]*(?:\{\s*[\"']\w+[\"']\s*:\s*[\"']?)?|,\s*[\"'](?:present|presence|value|status|detected|exists|found|"
    r"positive|visible)[\"']\s*:\s*[\"']?)"
)
_LAST = r"(?=\s*(?:[,.|]|$))"
_GIVEN_YES = re.compile(rf"{_GIVEN}{_YES}|^[\s,]+(?:yes|true|positive|1){_LAST}")
_GIVEN_NO = re.compile(rf"{_GIVEN}{_NO}|^\s*[✗✘❌]{_LAST}|^[\s,]+(?:no|false|none|negative|0){_LAST}")
_CUT = re.compile(r"^[\"']\s*:\s*[\"']?\w{0,5}$")
_ABSENT = (
    rf"(?:(?:absent|unlikely|wrong|incorrect|excluded|ruled out|denied|negative|false)\b"
    rf"|not(?: \w+ly)? (?:{_SEEN}|an?\b|the\b)|not\W*$|never\b|no\b)"
)
_DENIED_AFTER = re.compile(
    r"^[\s\"'*_)\]]*(?:(?:\([^)]*\)\s*)?(?:(?:[a-z]+ ){0,2}?(?:is|are|was|were|be|would be|seems?|appears?|looks?"
    r"|(?:has|have|had) been)\s+"
    rf"(?:\w+ )?{_ABSENT}|(?:[a-z]+ ){{0,2}}?(?:is|are|was|were)n['’]t (?:\w+ly )?{_SEEN})"
    rf"|(?:does|do|did)(?: not|n['’]t) (?:fit|apply|match|exist|appear|seem|correspond)\b"
    rf"|(?:can|could)(?: ?not|['’]t|n['’]t) (?:be )?{_SEEN}|can be (?:excluded|ruled out)|(?:absent|excluded"
    rf"|ruled out|not {_SEEN})\b)",
)
_POSSIBLE_BEFORE = re.compile(
    r"\b(?:possibl[ey]|possibility of|questionable|equivocal|suspected|may|might|could|perhaps|cannot exclude"
    r"|can ?not be sure|whether|either|"
    r"differential|versus|vs|many (?:\w+ )?(?:are|appear)|can (?:also )?(?:be|appear|represent|present as))\b"
    r"|\b(?:hard|difficult|impossible|not possible|unable)\s+to\b",
)
_POSSIBLE_AFTER = re.compile(
    r"^[\s\"'*)\]]*(?:(?:is|are|was|were)\s+(?:also\s+|both\s+)?possible|(?:can ?not|could not|can't)\s+be\s+"
    r"(?:excluded|ruled out)|(?:may|might|could)\s+be\b|[:=(]\s*[\"'*]*(?:possible|maybe|unsure|uncertain|unclear"
    r"|unknown)\b|possible\b|suspected\b|(?:vs|versus)\b|\?)",
)
_ANY_CUE = re.compile(
    r"\b(?:no|not|never|neither|nor|without|none|absen\w+|lacks?|lack of|free of|negative|rather|instead|exclud\w+|"
    r"rul(?:es?|ing|ed)|den(?:y|ies|ied)|unable|unlikely|wrong|incorrect|false|null|nil|n/a|non|possib\w+|maybe"
    r"|unsure|questionable|equivocal|suspected|may|might|could|"
    r"perhaps|many|can|can ?not|whether|either|differential|versus|vs|hard|difficult|impossible|uncertain|unclear"
    r"|unknown)\b"
    r"|n['’]t\b|[=:|(,\s]\s*[\"'*]*0\b|[?✗✘❌☐×]|\[ ?\]|:\s*[\"']?\w{0,5}$",
)

REACH, WINDOW = 80, 240
"""Characters after and before a mention in which words bear on it: a mention costs the same in every text."""


def cue_positions(text: str) -> list[int]:
    """Where words stand that could deny or weaken a mention; a mention without one near is affirmed."""
    return [match.start() for match in _ANY_CUE.finditer(lowered(text))]


def polarity(text: str, start: int, end: int, since: int = 0) -> Polarity:
    """What a text says of the mention at `start` to `end`, within its clause; words before `since` do not count."""
    after = said_after(text, end)
    return said_before(text, start, since) if after is None else after[0]


def said_after(text: str, end: int) -> tuple[Polarity, int] | None:
    """What the words after a mention say of it, and where they end; None where they say nothing."""
    after = lowered(text[end : end + REACH])
    closing = next((match for match in _CLAUSE_END.finditer(after) if match.group() != "?"), None)
    after = after[: closing.start()] if closing else after
    if _CUT.match(after) and end + len(after) >= len(text) and not _GIVEN_YES.match(after):
        return "possible", len(text)
    kinds: tuple[tuple[re.Pattern[str], Polarity], ...] = (
        (_GIVEN_YES, "affirmed"),
        (_GIVEN_NO, "denied"),
        (_POSSIBLE_AFTER, "possible"),
        (_DENIED_AFTER, "denied"),
    )
    for pattern, kind in kinds:
        if match := pattern.match(after):
            return kind, end + match.end()
    return None


def said_before(text: str, start: int, since: int = 0) -> Polarity:
    """What the words before a mention say of it."""
    before = lowered(text[max(0, since, start - WINDOW) : start])
    if _TICKED.search(before):
        return "affirmed"
    if _UNTICKED.search(before):
        return "denied"
    if _DENIED_LIST.search(before):
        return "denied"
    ends = [match.end() for match in _CLAUSE_END.finditer(before)]
    before = before[ends[-1] :] if ends else before
    cues = list(_DENIED_BEFORE.finditer(before))
    if cues and not _NO_DENIAL.search(before[max(0, cues[-1].start() - 4) :]):
        return "denied"
    return "possible" if _POSSIBLE_BEFORE.search(before) else "affirmed"
