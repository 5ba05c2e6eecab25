"""The one splitter of label lists, for sources and for answers."""

import re
from collections.abc import Iterable
from functools import lru_cache

from workflow_scripts.tasks.language.text import squeezed


@lru_cache(maxsize=2048)
def label_key(label: str) -> str:
    """The form in which labels are compared: lower case, single spaces, none around commas and semicolons."""
    return re.sub(r"\s*([,;])\s*", r"\1", squeezed(label))


def split_labels(text: str, separator: str, known: Iterable[str] = ()) -> list[str]:
    """Labels of `text` between separators; a label of `known` may hold the separator itself. Empty parts are none."""
    parts = [part.strip() for part in text.split(separator) if part.strip()]
    keys = {label_key(label) for label in known}
    longest = max((key.count(separator) for key in keys), default=0) + 1
    labels = []
    start = 0
    while start < len(parts):
        for length in range(min(longest, len(parts) - start), 0, -1):
            joined = f"{separator} ".join(parts[start : start + length])
            if length == 1 or label_key(joined) in keys:
                labels.append(joined)
                start += length
                break
    return labels
