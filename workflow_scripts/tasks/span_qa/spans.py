"""Where an answer stands in the text of a question."""

from typing import NamedTuple

from workflow_scripts.tasks.entities.mentions import Span, places_of

UNANSWERABLE = "unanswerable"


class Words(NamedTuple):
    """Words of a text, and where they start, if the source says it."""

    words: str
    start: int | None = None


def answers_in(raw: object) -> list[Words] | None:
    """The right answers of a source's value, empty where there are none; None for a value of another form."""
    if isinstance(raw, str):
        return [Words(raw)]
    if isinstance(raw, dict):
        words, starts = raw.get("text"), raw.get("answer_start", raw.get("start"))
        words = [words] if isinstance(words, str) else words
        starts = [starts] if starts is None or isinstance(starts, int) else starts
        if not isinstance(words, list) or not isinstance(starts, list):
            return None
        starts = starts if len(starts) == len(words) else [None] * len(words) if starts == [None] else None
        read = [] if starts is None else list(zip(words, starts, strict=True))
        plain = starts is not None and all(
            isinstance(text, str) and text.strip() and (start is None or type(start) is int) for text, start in read
        )
        return [Words(text, start) for text, start in read] if plain else None
    if isinstance(raw, list):
        listed = [answers_in(value) if isinstance(value, str | dict) else None for value in raw]
        if any(value is None or not value for value in listed):
            return None
        answers = [answer for value in listed if value for answer in value]
        return answers if all(answer.words.strip() for answer in answers) else None
    return None


def place_of(answer: Words, text: str) -> Span | None:
    """Where an answer stands: at its start, or at its first place; None where it does not stand there."""
    if answer.start is not None:
        end = answer.start + len(answer.words)
        inside = 0 <= answer.start < end <= len(text)
        same = inside and text[answer.start : end].split() == answer.words.split()
        return (answer.start, end) if same else None
    return next(iter(places_of(answer.words, text)), None)
