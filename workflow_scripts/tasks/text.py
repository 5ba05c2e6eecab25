"""Text as readers see it: how words are compared, how much is looked at, how models decline."""

import re

LONGEST = 32_768
"""Characters looked at; a longer answer is no answer in the expected format."""
LARGEST = 1e9
"""No count, share or pixel of these data reaches it: a number beyond is malformed, not large."""

REFUSAL = re.compile(
    r"\b(?:i(?: am|'m|’m)? (?:can ?not|can(?:'|’)t|unable|not able|sorry)|(?:it is|it's) (?:im|not )possible to|"
    r"(?:un|not )able to (?:answer|determine|provide|assess)|as an ai\b|can(?:no|')t be determined)",
    re.IGNORECASE,
)
"""How models decline; what follows it is no answer unless it says so."""

EMPTY_ANSWER = re.compile(
    r"^\W*(?:\[\s*\]|\{\s*\}|none|no (?:findings?|abnormalit\w+|lesions?|labels?)\b.{0,40})\W*$", re.IGNORECASE
)
"""An answer that says that there is nothing."""


def squeezed(text: str) -> str:
    """`text` in lower case with single spaces: the form in which words are compared."""
    return " ".join(text.split()).casefold()
