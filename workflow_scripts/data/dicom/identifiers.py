"""What a DICOM dataset says that a person is known by, and whether a text holds it. Nothing of it is ever written.

A table beside a folder may repeat in a question or a report what was removed from the files. Of a row's own patient any
name is looked for; of all others full names and identifiers, since a word such as Small or Gross is a name, too.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from pydicom.dataset import Dataset

from workflow_scripts.data.dicom.deidentify import text_of
from workflow_scripts.data.dicom.reading import FAULTS, items_of

NUMBERS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "MedicalRecordLocator")
"""Attributes whose whole value is looked for, of letters alone as well."""

OF_A_PERSON = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("PatientAddress", "PatientTelephoneNumbers", "InstitutionName", "InstitutionAddress"),
)
"""Attributes whose whole value is looked for where it holds a digit or several words: Hospital is a word."""

LEAST_WORD = 3
"""Letters of a part of a name that is looked for by itself; two of Chinese, Japanese or Korean."""

LEAST_NAME = 4
"""Letters of a whole name with shorter parts that is looked for."""

LEAST_TEXT = 4
"""Characters of an identifier that is looked for."""

UID = re.compile(r"(?<!\d)(?<!\d\.)[0-2](?:\.\d+){5,}")
"""A unique identifier of PS3.5 chapter 9."""

_CJK = r"\u1100-\u11ff\u3005\u3040-\u30fa\u30fc-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
CJK = re.compile(rf"[{_CJK}\U00020000-\U0003ffff]")
"""A character of Chinese, Japanese or Korean, which are written without blanks between words."""

WORD = re.compile(rf"{CJK.pattern}+|[^\W_{_CJK}\U00020000-\U0003ffff]+")

MONTHS = {
    **{"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6, "jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11},
    **{"dec": 12, "mai": 5, "okt": 10, "dez": 12},
}
"""The first three letters of months in English and in German, without accents."""

_MONTH = rf"(?P<name>{'|'.join(MONTHS)})[a-z]*\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?"
DATES = [
    re.compile(form)
    for form in (
        r"(?<!\d)(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)(?!\d)",
        r"(?<!\d)(?P<year>\d{4})\s?([-/.])\s?(?P<month>\d{1,2})\s?\2\s?(?P<day>\d{1,2})(?!\d)",
        r"(?<!\d)(?P<day>\d{1,2})\s?([-/.])\s?(?P<month>\d{1,2})\s?\2\s?(?P<year>\d{4})(?!\d)",
        r"(?<!\d)(?P<month>\d{1,2})\s?([-/.])\s?(?P<day>\d{1,2})\s?\2\s?(?P<year>\d{4})(?!\d)",
        rf"(?<![a-z]){_MONTH}[\s-]?{_DAY},?[\s-]?(?P<year>\d{{4}})(?!\d)",
        rf"(?<!\d){_DAY}[\s-]?{_MONTH},?[\s-]?(?P<year>\d{{4}})(?!\d)",
    )
]
"""The forms of a date that are seen, in lower case and with single blanks; years have four digits."""


class Identifiers(NamedTuple):
    """Of one DICOM dataset, in lower case and without accents."""

    words: frozenset[str] = frozenset()  # parts of names that are looked for by themselves
    names: frozenset[tuple[str, ...]] = frozenset()  # family and given name, as words
    texts: frozenset[str] = frozenset()
    dates: frozenset[date] = frozenset()


def identifiers_of(dataset: Dataset) -> Identifiers:
    """The names of all persons, and the identifiers, of a DICOM dataset that is not de-identified yet."""
    words: set[str] = set()
    names: set[tuple[str, ...]] = set()
    texts: set[str] = set()
    dates: set[date] = set()
    for part in (dataset, *items_of(dataset)):
        for tag in list(part.keys()):
            try:
                element = part[tag]
            except FAULTS:
                continue
            values = _values(element.value) if element.VR != "SQ" else []
            if element.VR == "PN":
                words |= {word for value in values for word in words_of(value)}
                names |= {name for value in values for name in names_of(value)}
            elif element.keyword in NUMBERS:
                texts |= {_inner(value) for value in values}
            elif element.keyword in OF_A_PERSON:
                texts |= {_inner(value) for value in values if re.search(r"[\d ]", value)}
            elif element.VR in ("DA", "DT"):
                dates |= {day for value in values if (day := date_of(value)) is not None}
    long_enough = (text for text in texts if len(text) >= LEAST_TEXT)
    return Identifiers(frozenset(words), frozenset(names), frozenset(long_enough), frozenset(dates))


def plain(text: str) -> str:
    """A text in lower case, without accents, with single blanks."""
    decomposed = unicodedata.normalize("NFKD", " ".join(text.split()).casefold())
    return unicodedata.normalize("NFC", "".join(sign for sign in decomposed if not unicodedata.combining(sign)))


def _inner(text: str) -> str:
    """A text from its first letter or digit to its last one."""
    return re.sub(r"^[\W_]+|[\W_]+$", "", plain(text))


def words_of(text: str) -> frozenset[str]:
    """The words of a name that are looked for by themselves; `Müller^Hans^^Dr` has two."""
    words = _words(plain(text))
    return frozenset(word for word in words if len(word) >= (2 if CJK.match(word) else LEAST_WORD))


def names_of(text: str) -> frozenset[tuple[str, ...]]:
    """Family and given name, once with all given names and once with the first, of each script of a name of PS3.5."""
    names = set()
    for script in plain(text).split("="):
        family, given, *_ = [*map(_words, script.split("^")), []]
        names |= {(*family, *given), (*family, *given[:1])}
    return frozenset(filter(None, names))


def _words(text: str) -> list[str]:
    """The words of a text of `plain`, but for numbers."""
    return [word for word in WORD.findall(text) if not word.isdigit()]


def date_of(value: str) -> date | None:
    """The day of a date or a time of PS3.5 (`19540203`); None where it is none."""
    try:
        return date(int(value[:4]), int(value[4:6]), int(value[6:8]))
    except ValueError:
        return None


def dates_in(text: str) -> Iterator[date]:
    """The days that a text of `plain` names in one of the forms of `DATES`."""
    for form in DATES:
        for match in form.finditer(text):
            parts = match.groupdict()
            try:
                yield date(int(parts["year"]), int(parts.get("month") or MONTHS[parts["name"]]), int(parts["day"]))
            except ValueError:
                continue


@dataclass
class Known:
    """All identifiers of a folder."""

    by_patient: dict[str, set[str]] = field(default_factory=dict)  # words of names, by the patient's pseudonym
    names: dict[str, set[frozenset[str]]] = field(default_factory=dict)  # words that may stand apart, by each of them
    phrases: dict[str, set[tuple[str, ...]]] = field(default_factory=dict)  # words in a row, by the first
    joined: set[str] = field(default_factory=set)  # names of Chinese, Japanese or Korean, without what separates them
    texts: dict[str, set[str]] = field(default_factory=dict)  # by the first word
    dates: set[date] = field(default_factory=set)

    def add(self, patient: str, identifiers: Identifiers) -> None:
        """Note what a DICOM dataset of a patient says."""
        self.by_patient.setdefault(patient, set()).update(identifiers.words)
        for name in identifiers.names:
            self._add_name(name)
        for text in identifiers.texts:
            if (first := WORD.search(text)) is not None:
                self.texts.setdefault(first[0], set()).add(text)
        self.dates |= identifiers.dates

    def _add_name(self, name: tuple[str, ...]) -> None:
        if any(map(CJK.match, name)):
            orders = {"".join(name), "".join(reversed(name))}
            self.joined |= {order for order in orders if len(order) >= (2 if len(name) > 1 else LEAST_WORD)}
        elif len(name) > 1 and all(len(word) >= LEAST_WORD for word in name):
            for word in name:
                self.names.setdefault(word, set()).add(frozenset(name))
        elif len(name) > 1 and sum(map(len, name)) >= LEAST_NAME:
            for turn in range(len(name)):  # the given name may go first
                phrase = (*name[turn:], *name[:turn])
                self.phrases.setdefault(phrase[0], set()).add(phrase)

    def fault(self, text: str, patients: Iterable[str]) -> str | None:
        """What of a person a text holds, as the end of a sentence that does not repeat it; None where nothing.

        Args:
            patients: pseudonyms of those whose images the text is about.
        """
        folded = plain(text)
        matches = list(WORD.finditer(folded))
        listed = [match[0] for match in matches]
        words = set(listed)
        joined = "".join(listed) if CJK.search(folded) else ""
        for patient in patients:
            own = self.by_patient.get(patient, set())
            if own & words or (joined and any(CJK.match(word) and word in joined for word in own)):
                return "a name of its own patient's files"
        if (
            any(name <= words for word in words for name in self.names.get(word, ()))
            or any(self._begins(listed, place) for place in range(len(listed)))
            or (joined and any(name in joined for name in self.joined))
        ):
            return "a full name of the folder's files"
        if UID.search(folded):
            return "a unique identifier"
        ends = {match.end() for match in matches}
        for match in matches:
            for known in self.texts.get(match[0], ()):
                if folded.startswith(known, match.start()) and match.start() + len(known) in ends:
                    return "an identifier of the folder's files"
        return "a date of the folder's files" if any(day in self.dates for day in dates_in(folded)) else None

    def _begins(self, words: list[str], place: int) -> bool:
        """Whether a name of short words begins at a place."""
        return any(tuple(words[place : place + len(name)]) == name for name in self.phrases.get(words[place], ()))


def _values(value: Any) -> list[str]:
    listed = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    return [text for item in listed if (text := text_of(item))]
