"""Label sets as models write them: a list with a separator, or labels named in prose."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.labels import label_key, split_labels
from workflow_scripts.tasks.text import EMPTY_ANSWER, LONGEST, squeezed


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """Labels between separators; an empty answer is the empty set, and so is the word None."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if squeezed(text) in ("", "none"):
        return []
    separator = expected.separator or ","
    names = {label_key(label): label for label in expected.labels}
    labels = split_labels(text, separator, expected.labels)
    if names:
        keys = [label_key(label) for label in labels]
        return list(dict.fromkeys(names[key] for key in keys)) if labels and set(keys) <= names.keys() else None
    return list(dict.fromkeys(labels)) if labels and all(len(label) <= 100 for label in labels) else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """Labels of the question's list that the text names; without a list, parts of a text that is a list."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST].strip()
    if EMPTY_ANSWER.match(text):
        return []
    if expected.labels:
        plain = squeezed(text)
        named = []
        for label in sorted(expected.labels, key=len, reverse=True):
            pattern = re.compile(rf"(?<![a-z0-9]){re.escape(squeezed(label))}(?![a-z0-9])")
            match = pattern.search(plain)
            if match:
                named.append((match.start(), label))
                plain = pattern.sub(lambda m: " " * len(m.group()), plain)
        return [label for _, label in sorted(named)] or None
    separator = expected.separator or ","
    other = ";" if ";" in text else separator if separator in text else ","
    parts = [part.strip(" .\n*-") for part in split_labels(text.split("\n\n")[0], other)]
    parts = [part for part in parts if part]
    if not parts or any(len(part) > 60 or part.count(" ") > 6 for part in parts):
        return None
    return list(dict.fromkeys(parts))


def reference(row: Row) -> Value:
    """The labels.

    Raises:
        BadFile: the row has none.
    """
    if row.labels is None:
        raise BadFile(f"row {row.uid}: a {row.task} row needs its 'labels'; convert the data again")
    return list(row.labels)
