"""De-identification of a DICOM dataset in memory, before anything of it is looked at: PS3.15 E, Basic Profile.

The library `dicom-anonymizer` has the table of the standard (E.1-1, edition 2026c) and its actions; it looks at the top
of a DICOM dataset alone, so that each item of each sequence is given to it too. Here come besides: keyed pseudonyms for
unique identifiers, patients and places; attributes that a configuration retains, ages as bands; and no element whose
kind is unknown. What was done is counted by tag and action; no value is counted, logged or written.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dicomanonymizer import simpledicomanonymizer as library
from pydicom.datadict import keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from workflow_scripts.cache.pseudonyms import Pseudonyms
from workflow_scripts.data.dicom.reading import FAULTS, items_of

EDITION = "dicomfields_2026c"
"""The library's name of the edition of table E.1-1."""

BAND = 10
"""Years of a band of ages."""

OLDEST = 90
"""Years from which on ages are one band: there are few such patients."""

RETAINED = {
    "PatientSex": "as it is",
    "EthnicGroup": "as it is",
    "Modality": "as it is",
    "BodyPartExamined": "as it is",
    "Laterality": "as it is",
    "ImageLaterality": "as it is",
    "ViewPosition": "as it is",
    "Manufacturer": "as it is",
    "ManufacturerModelName": "as it is",
    "MagneticFieldStrength": "as it is",
    "KVP": "as it is",
    "ConvolutionKernel": "as it is",
    "SliceThickness": "as it is",
    "PatientAge": "band",
    "InstitutionName": "pseudonym",
    "InstitutionalDepartmentName": "pseudonym",
    "StationName": "pseudonym",
    "DeviceSerialNumber": "pseudonym",
}
"""What a configuration may retain, by keyword of PS3.6: as it is, as a band of ages, or as a pseudonym."""

ACTIONS = {
    "replace": "D: replaced by a dummy",
    "empty": "Z: emptied",
    "delete": "X: removed",
    "replace_UID": "U: replaced by a keyed pseudonym",
    "empty_or_replace": "Z/D: replaced by a dummy",
    "delete_or_empty": "X/Z: emptied",
    "delete_or_replace": "X/D: replaced by a dummy",
    "delete_or_empty_or_replace": "X/Z/D: replaced by a dummy",
    "delete_or_empty_or_replace_UID": "X/Z/U*: emptied",
}
"""Actions of table E.1-1 by the library's name for them, and what it does."""

ALWAYS = ("PatientName", "PatientID", "AccessionNumber")
"""Elements that become pseudonyms, so that examinations of one patient stay together."""

META_GROUP = 0x0002
"""Group of the elements before the dataset, which name file and sender."""

Element = tuple[int, int]
Rule = Callable[[Dataset, Element], None]


class Done(NamedTuple):
    """An action on an element; no value is part of it."""

    tag: str  # (gggg,eeee)
    name: str  # keyword of PS3.6
    action: str


@dataclass
class Profile:
    """The Basic Profile with what a configuration retains, and a count of what was done."""

    pseudonyms: Pseudonyms
    retained: tuple[str, ...] = ()  # keywords of `RETAINED`
    counts: Counter[Done] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        standard: Mapping[Element, Rule] = library.initialize_actions(EDITION)
        self._rules = {tag: self._counted(rule, ACTIONS[rule.__name__]) for tag, rule in standard.items()}
        for tag in [tag for tag, rule in standard.items() if rule is library.replace_UID]:
            self._rules[tag] = self._counted(self._new_uid, ACTIONS["replace_UID"])
        for keyword in ALWAYS:
            self._rules[_element(keyword)] = self._counted(self._pseudonym, "replaced by a keyed pseudonym")
        own = {
            "as it is": (_keep, "retained"),
            "band": (_band, f"retained as a band of {BAND} years"),
            "pseudonym": (self._pseudonym, "replaced by a keyed pseudonym"),
        }
        for keyword in self.retained:
            self._rules[_element(keyword)] = self._counted(*own[RETAINED[keyword]])

    def apply(self, dataset: Dataset) -> None:
        """De-identify a DICOM dataset with all its items in place.

        Raises:
            Exception: the library could not; the DICOM dataset is then not to be used.
        """
        self._remove_unknown(dataset)
        _add_age(dataset)
        self._apply_one(dataset)
        for item in items_of(dataset):
            self._apply_one(item)

    def _apply_one(self, dataset: Dataset) -> None:
        private = [element.tag for element in dataset if element.tag.is_private]
        # The library looks for the element of each rule that it is given: those of elements that are there will do.
        rules = {
            tag: rule for tag, rule in self._rules.items() if len(tag) > 2 or tag[0] == META_GROUP or tag in dataset
        }
        library.anonymize_dataset(dataset, {}, True, base_rules_gen=lambda: rules)
        for tag in private:
            self.counts[Done(f"({tag.group:04x},xxxx)", "private", "removed")] += 1

    def _remove_unknown(self, dataset: Dataset) -> None:
        """Remove elements that cannot be read, and those whose kind is unknown: nobody can say what they hold."""
        for part in (dataset, *items_of(dataset)):
            for tag in list(part.keys()):
                try:
                    unknown = part[tag].VR == "UN" and not Tag(tag).is_private
                except FAULTS:
                    unknown = True
                if unknown:
                    del part[tag]
                    self.counts[_done(Tag(tag), "removed, of unknown kind")] += 1

    def _counted(self, rule: Rule, action: str) -> Rule:
        """A rule that counts what it does; an element that the library has no action for is removed."""

        def apply(dataset: Dataset, tag: Element) -> None:
            if tag in dataset:
                done = action
                try:
                    rule(dataset, tag)
                except FAULTS:
                    del dataset[tag]
                    done = "removed"
                self.counts[_done(Tag(tag), done)] += 1

        return apply

    def _new_uid(self, dataset: Dataset, tag: Element) -> None:
        element = dataset[tag]
        if element.VR != "UI":
            del dataset[tag]
        elif element.VM > 1:
            element.value = [self.pseudonyms.uid(str(value)) for value in element.value]
        elif element.value:
            element.value = self.pseudonyms.uid(str(element.value))

    def _pseudonym(self, dataset: Dataset, tag: Element) -> None:
        element = dataset[tag]
        if value := text_of(element.value):
            element.value = self.pseudonyms.of(keyword_for_tag(Tag(tag)), value)


def text_of(value: object) -> str:
    """A value as text, without the blanks that pad it."""
    return "" if value is None else " ".join(str(value).replace("\0", " ").split())


def age_band(age: object) -> str:
    """The band of an age of PS3.5 (`063Y`, `004M`): `60-69`, or `90+`; empty where it is none."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text_of(age))
    if match is None:
        return ""
    years = int(int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[match[2]])
    low = years // BAND * BAND
    return f"{OLDEST}+" if years >= OLDEST else f"{low}-{low + BAND - 1}"


def retained_value(dataset: Dataset, keyword: str) -> str:
    """What a de-identified DICOM dataset says of an attribute of `RETAINED`, as text; empty where nothing."""
    value = dataset.get(keyword)
    if RETAINED[keyword] == "band":
        return age_band(value)
    return text_of(value)[:64]


def _keep(dataset: Dataset, tag: Element) -> None:
    """Leave an element as it is."""


def _band(dataset: Dataset, tag: Element) -> None:
    """Put the least age of its band in the place of an age, which is then still an age of PS3.5."""
    low = age_band(dataset[tag].value).removesuffix("+").split("-")[0]
    dataset[tag].value = f"{int(low):03d}Y" if low else ""


def _add_age(dataset: Dataset) -> None:
    """Set an age that is missing from the dates of birth and study, before those are removed."""
    birth, study = (text_of(dataset.get(keyword)) for keyword in ("PatientBirthDate", "StudyDate"))
    dates = re.fullmatch(r"\d{8}", birth) and re.fullmatch(r"\d{8}", study)
    if not text_of(dataset.get("PatientAge")) and dates and study >= birth:
        years = int(study[:4]) - int(birth[:4]) - (study[4:] < birth[4:])
        if years < 150:
            dataset.PatientAge = f"{years:03d}Y"


def _element(keyword: str) -> Element:
    tag = Tag(tag_for_keyword(keyword) or 0)
    return tag.group, tag.element


def _done(tag: BaseTag, action: str) -> Done:
    return Done(f"({tag.group:04x},{tag.element:04x})", keyword_for_tag(tag) or "unknown", action)
