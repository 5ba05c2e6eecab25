"""Label sets as models write them: a list with a separator, or labels named in prose."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.language.labels import label_key, split_labels
from workflow_scripts.tasks.language.mentions import mentions_at, places_of
from workflow_scripts.tasks.language.refusals import REFUSAL, declined_spans, lies_in
from workflow_scripts.tasks.language.text import EMPTY_ANSWER, LONGEST, squeezed

_ANSWER = re.compile(r"\banswer\b(?=\W*(?:is\b|[:=\n]))", re.IGNORECASE)
_LONGEST_LABEL = 100
_LISTED_WORDS = 6


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """Labels between separators; an empty answer is the empty set, and so is the word None."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if squeezed(text) in ("", "none"):
        return []
    separator = expected.separator or ","
    labels = split_labels(text, separator, expected.labels)
    if expected.labels:
        names = {label_key(label): label for label in expected.labels}
        keys = [label_key(label) for label in labels]
        return list(dict.fromkeys(names[key] for key in keys)) if labels and set(keys) <= names.keys() else None
    if REFUSAL.search(text):
        return None
    return list(dict.fromkeys(labels)) if labels and all(len(label) <= _LONGEST_LABEL for label in labels) else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """Labels of the question's list that the text affirms; without a list, parts of a text that is a list.

    What follows "answer:" goes before what precedes it. A denied or merely possible label is not read; where all that
    are named are denied, the set is empty.
    """
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST].strip()
    places = places_of(expected.labels, text)
    if not places and EMPTY_ANSWER.match(text):
        return []
    if expected.labels:
        declined = declined_spans(text)
        mentions = [m for m in mentions_at(places, text) if not lies_in(declined, m.start)]
        marker = max((match.end() for match in _ANSWER.finditer(text)), default=0)
        mentions = [mention for mention in mentions if mention.start >= marker] or mentions
        affirmed = list(dict.fromkeys(mention.name for mention in mentions if mention.polarity == "affirmed"))
        return affirmed if affirmed or any(mention.polarity == "denied" for mention in mentions) else None
    if REFUSAL.search(text):
        return None
    separator = expected.separator or ","
    other = ";" if ";" in text else separator if separator in text else ","
    parts = [part.strip(" .\n*-") for part in split_labels(text.split("\n\n")[0], other)]
    parts = [part for part in parts if part]
    if not parts or any(len(part) > 60 or part.count(" ") > _LISTED_WORDS for part in parts):
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
