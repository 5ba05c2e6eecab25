"""The asked format of a row as a grammar that bounds its answer: Lark text in llguidance's dialect.

A grammar knows what the question shows: options, label list, separator, the size of the pictures. It never looks at
the row's answer. Rows that are asked in the same way get the same text, so that a compiled grammar serves them all.

Numbers, boxes and instances end by themselves within the budget: their longest text has fewer bytes than the budget
has tokens. Label lists are bounded by their count, running text by llguidance's own count of tokens.
"""

import json
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate

BYTES_A_TOKEN = 3
"""Bytes of a listed label that a token covers at least, on average: behind the bytes that tell it from the other
labels llguidance allows the tokenizer's own tokens alone."""
COUNTED = 64
"""Labels of which a grammar can know which are used: one bit each."""

_LINE = r"[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*"
_TEXT = r"[^\s\x00-\x1f\x7f][^\x00-\x09\x0b-\x1f\x7f]*"
r"""No control characters of ASCII. Those behind it stay: real notes hold `\x92` for an apostrophe."""

_CLASS = """CLASS: KEY ": [" BOX (", " BOX)* "]"
KEY: /"[A-Za-z0-9]([A-Za-z0-9 _-]{0,14}[A-Za-z0-9])?"/
"""
"""A class and its boxes. No question lists the classes, so that any short name is one."""


def answered_in_words(rows: Iterable[dict]) -> frozenset[tuple[str, str]]:
    """The data sets and tasks whose questions are answered with an option's words and not its letter.

    No question says so; it is a custom of a data set, as a separator is, and its rows are taken together: the more
    frequent way counts, and letters where both are, or where no row has an answer.
    """
    lettered: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["task"] in ("classification", "multi_label") and row["answer"]:
            parts = [row["answer"]] if row["task"] == "classification" else row["labels"] or ()
            for part in parts:
                letter = len(part.strip()) == 1 and part.strip().isalpha()
                lettered[row["dataset"], row["task"]] += 1 if letter else -1
    return frozenset(key for key, votes in lettered.items() if votes < 0)


def grammar_of(row: dict, budget: int, in_words: bool = False) -> str:
    """The grammar of a row of a split.

    Args:
        row: its question's columns are read, the answer's never.
        budget: most new tokens of the answer, the one that ends it included.
        in_words: an option's words are asked for, see `answered_in_words`.
    """
    room = max(2, budget - 1)
    match row["task"]:
        case "classification":
            return _option(row, room, in_words)
        case "multi_label":
            return _labels(row, room, in_words)
        case "detection":
            return _bounded('"[" (BOX (", " BOX)*)? "]"', room) + _box(row)
        case "instance_detection":
            return _bounded('"{" (CLASS (", " CLASS)*)? "}"', room) + _CLASS + _box(row)
        case "counting":
            return f"start: COUNT\nCOUNT: /0|[1-9][0-9]{{0,{min(7, room) - 1}}}/\n"
        case "regression":
            return _bounded(r"/-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,20})?%?/", room)
        case "report":
            return _running(_TEXT, room)
    raise ValueError(f"no grammar for task {row['task']!r}")


def _bounded(form: str, room: int) -> str:
    """`form` in at most `room` bytes of ASCII: what could not be closed in time is not begun."""
    return f"start: ANSWER\nANSWER: FORM & /[ -~]{{0,{room}}}/\nFORM: {form}\n"


def _running(pattern: str, room: int) -> str:
    """Text of at most `room` tokens."""
    return f"start: text\ntext[max_tokens={room}]: /{pattern}/\n"


def _literal(text: str) -> str:
    return json.dumps(text)


def _distinct(texts: Iterable[str]) -> list[str]:
    """Texts that are not empty, in their order, each once whatever its case and spaces."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(" ".join(text.split()).casefold(), text.strip())
    return [text for key, text in found.items() if key]


def _option(row: dict, room: int, in_words: bool) -> str:
    options = row["options"] or []
    texts = _distinct(option["text" if in_words else "letter"] for option in options)
    if texts:
        return f"start: {' | '.join(map(_literal, texts))}\n"
    return _running(_LINE, room) if in_words else "start: /[A-Z]/\n"


def _labels(row: dict, room: int, in_words: bool) -> str:
    """Listed labels, each at most once, in any order; or none, as an empty answer or the word None."""
    options = row["options"] or []
    labels = _distinct(row["choices"] or [option["text" if in_words else "letter"] for option in options])
    separator = row["separator"] or ","
    if not labels:
        label = f"/[^\\s{separator}]([ -~--{separator}]{{0,98}}[^\\s{separator}])?/"
        return _bounded(f'(LABEL ("{separator} " LABEL)*)?', room) + f"LABEL: {label}\n"
    most = _most(labels, room)
    if len(labels) > COUNTED:
        listed = " | ".join(map(_literal, labels))
        return f'start: "" | "None" | label ("{separator} " label){{0,{most - 1}}}\nlabel: {listed}\n'
    rules = [f"{_literal(label)} more::set_bit({bit}) %if bit_clear({bit})" for bit, label in enumerate(labels)]
    return (
        'start: "" | "None" | label::0\n'
        f"label::_: {' | '.join(rules)}\n"
        f'more::_: "" | "{separator} " label::_ %if bit_count_lt(_, {most})\n'
    )


def _most(labels: list[str], room: int) -> int:
    """How many of `labels` fit into `room` tokens, however they are chosen; at least one."""
    costs = sorted((len(label.encode()) // BYTES_A_TOKEN + 2 for label in labels), reverse=True)
    return max(1, sum(spent <= room for spent in accumulate(costs)))


def _box(row: dict) -> str:
    """A box as JSON: numbers of as many digits as the largest picture has, and up to three decimals."""
    numbers = []
    for name, side in (("X", "width"), ("Y", "height")):
        digits = len(str(max((image[side] for image in row["images"]), default=9999)))
        numbers.append(f"{name}: /(0|[1-9][0-9]{{0,{digits - 1}}})(\\.[0-9]{{1,3}})?/\n")
    return 'BOX: "[" X ", " Y ", " X ", " Y "]"\n' + "".join(numbers)
