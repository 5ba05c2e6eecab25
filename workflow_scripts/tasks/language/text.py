"""Text as readers see it: how words are compared, how much is looked at, what says that there is nothing."""

import re

LONGEST = 32_768
"""Characters looked at; a longer answer is no answer in the expected format."""
LARGEST = 1e9
"""No count, share or pixel of these data reaches it: a number beyond is malformed, not large."""

EMPTY_ANSWER = re.compile(
    r"^\W*(?:\[\s*\]|\{\s*\}|none(?: of (?:these|them|those|the)\b.{0,40})?|nothing(?: abnormal| seen| to report)?"
    r"|(?:there (?:is|are|were) )?no (?:findings?|abnormalit\w+|lesions?|labels?)\b.{0,40})\W*$",
    re.IGNORECASE,
)
"""An answer that says that there is nothing."""


def squeezed(text: str) -> str:
    """`text` in lower case with single spaces: the form in which words are compared."""
    return " ".join(text.split()).casefold()


def lowered(text: str) -> str:
    """`text` in lower case, of the same length: "İ" alone would become two characters."""
    return text.replace("İ", "I").lower()
