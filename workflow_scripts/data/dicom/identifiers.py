"""What a DICOM dataset says that a person is known by, and whether a text holds it. Nothing of it is ever written.

A table beside a folder may repeat in a question or a report what was removed from the files. Of a row's own patient any
name is looked for; of all others full names and identifiers, since a word such as Small or Gross is a name, too.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from pydicom.dataset import Dataset

from workflow_scripts.data.dicom.deidentify import text_of
from workflow_scripts.data.dicom.reading import FAULTS, items_of

OF_A_PERSON = (
    *("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
    *("PatientAddress", "PatientTelephoneNumbers", "MedicalRecordLocator", "InstitutionName", "InstitutionAddress"),
)
"""Attributes whose whole value is looked for, where it holds a digit or several words."""

LEAST_NAME = 3
"""Characters of a part of a name that is looked for."""

LEAST_TEXT = 4
"""Characters of an identifier that is looked for."""

UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){5,}(?![\d.])")
"""A unique identifier of PS3.5 chapter 9."""

WORD = re.compile(r"[^\W_]+")
TOKEN = re.compile(r"[^\s,;()\[\]\"'’]+")


class Identifiers(NamedTuple):
    """Of one DICOM dataset: each person's name as its words, and whole texts, in lower case."""

    names: frozenset[frozenset[str]] = frozenset()
    texts: frozenset[str] = frozenset()


def identifiers_of(dataset: Dataset) -> Identifiers:
    """The names of all persons, and the identifiers, of a DICOM dataset that is not de-identified yet."""
    names: set[frozenset[str]] = set()
    texts: set[str] = set()
    for part in (dataset, *items_of(dataset)):
        for tag in list(part.keys()):
            try:
                element = part[tag]
            except FAULTS:
                continue
            if element.VR == "PN":
                names |= {words_of(value) for value in _values(element.value)}
            elif element.keyword in OF_A_PERSON:
                texts |= {plain(value) for value in _values(element.value) if re.search(r"[\d ]", value)}
            elif element.VR == "DA":
                texts |= {form for value in _values(element.value) for form in dates_of(value)}
    return Identifiers(
        frozenset(name for name in names if name), frozenset(text for text in texts if len(text) >= LEAST_TEXT)
    )


def plain(text: str) -> str:
    """A text in lower case, without accents."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(sign))


def words_of(text: str) -> frozenset[str]:
    """The words of a name that are looked for, in lower case; `Müller^Hans^^Dr` has three of four."""
    words = WORD.findall(plain(text))
    return frozenset(word for word in words if len(word) >= LEAST_NAME and not word.isdigit())


def dates_of(value: str) -> list[str]:
    """The forms in which a date of PS3.5 (`19540203`) is written; none where it is no date."""
    try:
        day = date(int(value[:4]), int(value[4:6]), int(value[6:8]))
    except ValueError:
        return []
    return [value, *(day.strftime(form) for form in ("%Y-%m-%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y"))]


@dataclass
class Known:
    """All identifiers of a folder."""

    by_patient: dict[str, set[frozenset[str]]] = field(default_factory=dict)  # names, by the patient's pseudonym
    names: dict[str, set[frozenset[str]]] = field(default_factory=dict)  # of two words and more, by each word
    texts: set[str] = field(default_factory=set)
    phrases: set[str] = field(default_factory=set)  # texts of several words

    def add(self, patient: str, identifiers: Identifiers) -> None:
        """Note what a DICOM dataset of a patient says."""
        self.by_patient.setdefault(patient, set()).update(identifiers.names)
        for name in identifiers.names:
            for word in name if len(name) > 1 else ():
                self.names.setdefault(word, set()).add(name)
        for text in identifiers.texts:
            (self.phrases if TOKEN.fullmatch(text) is None else self.texts).add(text)

    def fault(self, text: str, patients: Iterable[str]) -> str | None:
        """What of a person a text holds, as the end of a sentence that does not repeat it; None where nothing.

        Args:
            patients: pseudonyms of those whose images the text is about.
        """
        folded = plain(text)
        words = set(WORD.findall(folded))
        if any(name & words for patient in patients for name in self.by_patient.get(patient, ())):
            return "a name of its own patient's files"
        if any(name <= words for word in words for name in self.names.get(word, ())):
            return "a full name of the folder's files"
        if UID.search(text):
            return "a unique identifier"
        tokens = {token for raw in TOKEN.findall(folded) for token in (raw, raw.strip(".:!?"))}
        if tokens & self.texts or any(phrase in folded for phrase in self.phrases):
            return "an identifier of the folder's files"
        return None


def _values(value: Any) -> list[str]:
    listed = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    return [text for item in listed if (text := text_of(item))]
