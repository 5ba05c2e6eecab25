"""Closed answers of visual question answering as a source writes them: yes or no, or an alternative of the question."""

from collections import Counter
from collections.abc import Iterable, Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Known, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.options import answer_by, in_expected_form, is_letter, letter_before, misfit, options_of
from workflow_scripts.tasks.questions import choices_in
from workflow_scripts.tasks.vqa.alternatives import alternatives_in
from workflow_scripts.tasks.vqa.sources import short_answer
from workflow_scripts.tasks.vqa.yes_no import YES_NO, is_copular, is_polar

BY_FORM = "task default"
"""The source of labels that the question's form gives: yes and no, or alternatives that it names."""
_SPELLED = "yes or no"
"""The scope under which a subset's spelling of yes and no is learned."""
MOST_WORDS = 60
"""A question that has more distinct answers than this is no closed one: any words will do."""
WORDS_OF_TRAINING_ROWS_ALONE = True
"""Words of a question are never learned from the rows that are evaluated: `data.conversion.conventions` reads this."""


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """The words that each question is given, how yes and no are spelled, and letter or words for lettered options.

    One answer alone shows no alternatives; of a question that begins with a verb it joins yes and no.
    """
    words: dict[str, Counter[str]] = {}
    spelled: Counter[str] = Counter()
    lettered: Counter[bool] = Counter()
    for row in rows:
        try:
            answer = short_answer(row.raw)
        except BadAnswer:
            continue
        if options := options_of(row.question):
            lettered[is_letter(answer) or letter_before(answer, options) is not None] += 1
            continue
        if choices_in(row.question):  # it says itself what its words are
            continue
        words.setdefault(squeezed(row.question), Counter())[answer] += 1
        if squeezed(answer) in YES_NO:
            spelled[answer] += 1
    learned = []
    if lettered:
        letter = lettered[True] >= lettered[False]
        by = "letter" if letter else "words"
        learned.append(Learned("answer_by", by, lettered[letter], lettered.total(), question="with options"))
    if spelled:
        usual = [_usual(word, spelled) for word in YES_NO]
        votes = sum(count for word, count in spelled.items() if word in usual)
        learned.append(Learned("labels", usual, votes, spelled.total(), question=_SPELLED))
    for question, counted in sorted(words.items()):
        shows = is_polar(question) or len({squeezed(answer) for answer in counted}) > 1
        if shows and len(counted) <= MOST_WORDS and question != _SPELLED:
            learned.append(Learned("labels", sorted(counted), counted.total(), counted.total(), question=question))
    return learned


def _usual(word: str, spelled: Counter[str]) -> str:
    """The commonest spelling of yes or no; where it never occurs, in the letters that the other one has."""
    ranked = sorted(spelled, key=lambda text: (-spelled[text], text))
    own = next((text for text in ranked if squeezed(text) == word), None)
    if own is not None:
        return own
    return word.upper() if ranked[0].isupper() else word.capitalize() if ranked[0][0].isupper() else word


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """A letter or the words of an option that the question lists, else its alternatives, yes or no, and learned words.

    A question that begins with a verb is answered by yes or no; where it names alternatives ("Is the lesion left or
    right?"), by these too, and by these alone where the training rows answer it so. `sources` says of the labels what
    is known of them: the question's form, the training rows, or both.
    """
    options, choices = options_of(question), choices_in(question)
    if choices:
        listed = (FormatSource("answer_by", "question"), FormatSource("labels", "question"))
        return ExpectedFormat(answer_by="words", labels=choices, sources=listed)
    if options:
        known = conventions.get("answer_by") or conventions.get("answer_by", answer_by(options))
        by = FormatSource("answer_by", known.source if known else "task default")
        sources = (by, FormatSource("options", "question"))
        return ExpectedFormat(answer_by=str(known.value) if known else "letter", options=options, sources=sources)
    learned = conventions.get("labels", squeezed(question))
    labels = _labels(question, learned, conventions.get("labels", _SPELLED))
    marks = [FormatSource("answer_by", "task default")]
    if is_polar(question) or alternatives_in(question):
        marks.append(FormatSource("labels", BY_FORM))
    if learned:
        marks.append(FormatSource("labels", learned.source))
    return ExpectedFormat(answer_by="words", labels=labels, sources=tuple(marks))


def _labels(question: str, learned: Known | None, spelled: Known | None) -> tuple[str, ...]:
    """Admissible words; empty where nothing is known of them."""
    words: tuple[str, ...] = tuple(learned.value) if learned else ()  # type: ignore[arg-type]
    yes_no: tuple[str, ...] = tuple(spelled.value) if spelled else YES_NO  # type: ignore[arg-type]
    named = alternatives_in(question)
    if named and is_polar(question) and not is_copular(question):
        named = ()  # "Is there a mass or a nodule?"
    polar = any(squeezed(word) in YES_NO for word in (*words, *named))
    if polar or (is_polar(question) and not (named and len(_distinct(words)) > 1)):
        return _distinct((*yes_no, *named, *words))
    return _distinct((*words, *named))


def _distinct(words: Iterable[str]) -> tuple[str, ...]:
    first: dict[str, str] = {}
    for word in words:
        first.setdefault(squeezed(word), word)
    return tuple(first.values())


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A letter or words; an integer is text.

    Raises:
        BadAnswer: there is none, or it is no text.
    """
    text = short_answer(raw)
    if expected.options:
        text = in_expected_form(text, expected)
    return Answer(text, labels=(text,))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """An answer that is none of the options that the question lists."""
    if not expected.options and ("labels", "question") not in expected.sources:
        return None
    wrong = misfit(answer.labels or (), expected)
    return None if wrong is None else Fault("answer_not_an_option", f"{wrong!r} is none of the question's options")


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is repaired: which option was meant would be a guess."""
    return answer
