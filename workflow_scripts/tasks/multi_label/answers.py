"""Label sets as a source writes them: a list, or text with a separator; the empty set is an answer."""

from collections import Counter
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.language.labels import label_key, split_labels
from workflow_scripts.tasks.options import answer_by, is_letter, misfit, options_of, source_text
from workflow_scripts.tasks.questions import choices_in, list_separator, separator_in


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """The separator: `;` if any question names it, any answer holds one or any listed label a comma, otherwise `,`.

    Letter or words: the more frequent of the two among labels of questions with options.
    """
    if not rows:
        return []
    semicolons = sum(_semicolon(row) for row in rows)
    separator = ";" if semicolons else ","
    learned = [Learned("separator", separator, semicolons or len(rows), len(rows))]
    lettered: Counter[bool] = Counter()
    for row in rows:
        if options_of(row.question):
            lettered.update(is_letter(label) for label in _raw_labels(row.raw, separator))
    if lettered:
        letter = lettered[True] >= lettered[False]
        by = "letter" if letter else "words"
        learned.append(Learned("answer_by", by, lettered[letter], lettered.total(), question="with options"))
    return learned


def _semicolon(row: SourceAnswer) -> bool:
    if isinstance(row.raw, list):
        return any(isinstance(item, str) and "," in item for item in row.raw)
    return (isinstance(row.raw, str) and ";" in row.raw) or separator_in(row.question) == ";"


def _raw_labels(raw: object, separator: str) -> list[str]:
    items = raw if isinstance(raw, list) else split_labels(raw, separator) if isinstance(raw, str) else []
    return [item for item in items if isinstance(item, str) and item.strip()]


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Labels that the question lists, letters or words of its options, or any."""
    options, choices = options_of(question), choices_in(question)
    separator = conventions.get("separator")
    named = separator_in(question) or (None if separator else list_separator(question))
    value = str(separator.value) if separator else named or ","
    source = "question" if named == value else separator.source if separator else "task default"
    sources = [FormatSource("separator", source)]
    by: str | None = None
    labels = choices or ()
    if choices:
        sources.append(FormatSource("labels", "question"))
    elif options:
        known = conventions.get("answer_by") or conventions.get("answer_by", answer_by(options))
        by = str(known.value) if known else "letter"
        labels = tuple(option.letter if by == "letter" else option.text for option in options)
        sources += [FormatSource("answer_by", known.source if known else "task default")]
        sources += [FormatSource("options", "question"), FormatSource("labels", "question")]
    return ExpectedFormat(answer_by=by, options=options, labels=labels, separator=value, sources=tuple(sources))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """Labels of a list or a text.

    Raises:
        BadAnswer: it is null or of another type.
    """
    separator = expected.separator or ","
    if raw is None:
        raise BadAnswer("no_answer", "the answer is null")
    known = expected.labels or tuple(option.text for option in expected.options)
    if isinstance(raw, list):
        items = [item.strip() if isinstance(item, str) else source_text(item) for item in raw]
        labels = [item for item in items if item]
        text = f"{separator} ".join(labels)
    else:
        text = source_text(raw)
        labels = split_labels(text, separator, known)
    if [label.lower() for label in labels] == ["none"] and "none" not in {label.lower() for label in known}:
        labels = []  # FLARE writes the legitimate empty set both ways
    if not labels:
        return Answer(text, labels=())
    listed = {label_key(label): label for label in known}
    unique: dict[str, str] = {}
    for label in labels:
        unique.setdefault(label_key(label), label)
    labels = [listed.get(key, label) for key, label in unique.items()]
    return Answer(f"{separator} ".join(labels), labels=tuple(labels))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """A label that the question does not list."""
    wrong = misfit(answer.labels or (), expected)
    return None if wrong is None else Fault("answer_not_an_option", f"{wrong!r} is none of the question's options")


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is repaired: which label was meant would be a guess."""
    return answer
