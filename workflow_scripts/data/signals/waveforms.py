"""DICOM waveforms: the channels of a file, de-identified before anything of it is looked at, in the unit it says.

No message names the file or quotes a value of it: either may be a patient's name.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset

from workflow_scripts.cache.pseudonyms import Pseudonyms
from workflow_scripts.data.dicom.deidentify import Profile, text_of
from workflow_scripts.data.dicom.identifiers import Known, identifiers_of
from workflow_scripts.data.dicom.reading import FAULTS, BadDicom, read_header, silent
from workflow_scripts.data.signals.files import Channel, chosen
from workflow_scripts.data.signals.plot import lead_of
from workflow_scripts.data.signals.series import BadSeries

ENDINGS = (".dcm", ".dicom")
"""Of the names of DICOM files that messages do not name."""


class Waveform(NamedTuple):
    """The channels of a file, and whose it is."""

    channels: tuple[Channel, ...]
    patient: str  # pseudonym; empty where the file names nobody
    known: Known  # what its patient is known by


def read_waveform(file: Path, channels: Sequence[str], key: str) -> Waveform:
    """The channels of a DICOM file's first original multiplex group, in physical units.

    Args:
        channels: to take, by name or by number from 0; empty: all.
        key: of the pseudonyms.

    Raises:
        BadSeries: it is damaged, could not be de-identified, or holds no waveform.
    """
    pseudonyms = Pseudonyms(key)
    try:
        with silent():
            dataset, _ = read_header(file)
            identifiers = identifiers_of(dataset)
            person = text_of(dataset.get("PatientID")) or text_of(dataset.get("PatientName"))
    except BadDicom as error:
        raise BadSeries(error.reason, str(error)) from None
    except FAULTS as error:
        raise BadSeries("unreadable_dicom", f"the file cannot be read ({type(error).__name__})") from None
    patient = pseudonyms.of("patient", person) if person else ""
    known = Known()
    known.add(patient, identifiers)
    try:
        with silent():
            Profile(pseudonyms).apply(dataset)
    except Exception as error:  # noqa: BLE001 - whatever it is: nothing of the file is used
        raise BadSeries("not_deidentified", f"the file cannot be de-identified ({type(error).__name__})") from None
    try:
        with silent():
            listed = _channels(dataset, known, patient)
    except FAULTS as error:
        raise BadSeries("unreadable_dicom", f"its waveform cannot be read ({type(error).__name__})") from None
    return Waveform(chosen(listed, channels, "the DICOM file"), patient, known)


def _channels(dataset: Dataset, known: Known, patient: str) -> list[Channel]:
    """The channels of the group of signals as they were recorded, before any of averages."""
    groups = dataset.get("WaveformSequence")
    if not groups:
        raise BadSeries("no_values", "the DICOM file holds no waveform")
    original = [number for number, group in enumerate(groups) if group.get("WaveformOriginality") == "ORIGINAL"]
    number = (original or [0])[0]
    group = groups[number]
    values = dataset.waveform_array(number)  # (samples, channels), sensitivity and baseline applied
    hz = float(group.SamplingFrequency)
    return [
        Channel(_name(definition, place, known, patient), _unit(definition), hz, values[:, place])
        for place, definition in enumerate(group.ChannelDefinitionSequence)
    ]


def _name(definition: Dataset, place: int, known: Known, patient: str) -> str:
    """The coded source of a channel: `II` of a standard lead, else its meaning if that names nobody."""
    source = (definition.get("ChannelSourceSequence") or [Dataset()])[0]
    meaning = re.sub(r"[^\w /().+-]", " ", text_of(source.get("CodeMeaning")))[:60].strip()
    if (lead := lead_of(meaning)) is not None:
        return f"ECG lead {lead}"
    return meaning if meaning and known.fault(meaning, {patient}) is None else f"channel {place}"


def _unit(definition: Dataset) -> str | None:
    """The unit of a channel's sensitivity, in UCUM (PS3.3 C.10.9.1.4.1)."""
    units = (definition.get("ChannelSensitivityUnitsSequence") or [Dataset()])[0]
    return text_of(units.get("CodeValue")) or None
