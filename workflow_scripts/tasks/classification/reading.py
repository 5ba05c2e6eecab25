"""Classes as models write them: a letter or words, alone or in prose."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.options import is_letter
from workflow_scripts.tasks.text import LONGEST, REFUSAL, squeezed

_ALONE = r"(?<![A-Za-z0-9'’\\-])({letters})(?![A-Za-z0-9'’-])"
_SAYS = r"(?:answers?|options?|choices?|diagnosis|classification|class|category|conclusion|stage|grade|boxed)"
_LINK = r"(?:\s*(?:is|are|would be|be|should be|most likely|likely|the|=|:|\*|\(|\[|\{|\\text|\"|'|`|\$))*\s*"
_ANY_LETTER = tuple("ABCDEFGHIJK")
"""Letters that are looked for where the question lists no options: FLARE's questions have at most eleven."""


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A letter, or words, as the format asks; case and white space at the ends are free."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if expected.answer_by == "letter":
        letter = text.upper()
        letters = _letters(expected)
        known = letter in letters if letters else len(letter) == 1 and letter.isascii() and letter.isalpha()
        return letter if known else None
    wanted = squeezed(text)
    return next((word for word in _words(expected) if squeezed(word) == wanted), None)


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """A marked letter, else the words of one option, else a letter that stands alone."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST].strip()
    letters, words = _letters(expected), _words(expected)
    by_letter = dict(zip(letters, words, strict=False))
    if expected.answer_by != "letter":
        letter = _marked_letter(letters, text) if by_letter else None
        return (by_letter.get(letter) if letter else None) or _word(words, text)
    letters = letters or _ANY_LETTER
    backwards = {option: key for key, option in by_letter.items()}
    word = _word(words, text)
    return _marked_letter(letters, text) or (backwards.get(word) if word else None) or _lone_letter(letters, text)


def reference(row: Row) -> Value:
    """The letter in upper case, or the words."""
    answer = row.answer.strip()
    return answer.upper() if is_letter(answer) else answer


def _letters(expected: ExpectedFormat) -> tuple[str, ...]:
    return tuple(option.letter.upper() for option in expected.options)


def _words(expected: ExpectedFormat) -> tuple[str, ...]:
    return tuple(option.text for option in expected.options) or expected.labels


def _marked_letter(letters: tuple[str, ...], text: str) -> str | None:
    """The letter after "answer", "option", …: after the last one, for models that think aloud; else `B)`, `**B**`."""
    one = "|".join(letters)
    alone = _ALONE.format(letters=one)
    if re.fullmatch(rf"\W*(?:{one})\W*", text, re.IGNORECASE):
        return re.sub(r"\W", "", text).upper()
    said = [m.group(1) for m in re.finditer(rf"\b(?i:{_SAYS}){_LINK}{alone}(?!\s+[a-z])", text)]
    if said:
        return said[-1]
    listed = re.search(rf"(?:^|[\s*(\[\"'`]){alone}\s*(?:[):.]|\*\*|\])", text)
    own_line = re.search(rf"^[^\w\n]*({one})[^\w\n]*$", text, re.MULTILINE)
    match = listed or own_line
    return match.group(1) if match else None


def _lone_letter(letters: tuple[str, ...], text: str) -> str | None:
    """A capital letter that is a word of its own; not the article "A" and not "I"."""
    match = re.search(_ALONE.format(letters="|".join(letters)) + r"(?!\s+[A-Za-z])", text)
    return match.group(1) if match else None


def _word(words: tuple[str, ...], text: str) -> str | None:
    """The option whose words the text holds: the first one named after the last "answer", else the first one named.

    Options that are only listed after a refusal are no answer.
    """
    plain = squeezed(text)
    places = []
    for word in words:
        for match in re.finditer(rf"(?<![a-z0-9]){re.escape(squeezed(word))}(?![a-z0-9])", plain):
            places.append((match.start(), -len(word), word))
    if not places:
        return None
    places = [p for p in places if not any(q[0] <= p[0] and q[0] - q[1] >= p[0] - p[1] and q != p for q in places)]
    marker = max((m.end() for m in re.finditer(r"\banswer\b", plain)), default=None)
    after = [place for place in places if marker is not None and place[0] >= marker]
    refusal = REFUSAL.search(plain)
    if not after and refusal and refusal.start() < min(places)[0]:
        return None
    return min(after or places)[2]
