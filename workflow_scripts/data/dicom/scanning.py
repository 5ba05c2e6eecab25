"""The headers of a folder's files, each de-identified as soon as it is read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydicom.dataset import Dataset, FileDataset

from workflow_scripts.cache.pseudonyms import Pseudonyms
from workflow_scripts.data.dicom.deidentify import RETAINED, Done, Profile, retained_value, text_of
from workflow_scripts.data.dicom.identifiers import Identifiers, identifiers_of
from workflow_scripts.data.dicom.reading import (
    FAULTS,
    BadDicom,
    check_image,
    frames_of,
    is_dicom,
    is_directory,
    read_header,
    silent,
)
from workflow_scripts.data.dicom.series import Frame, Instance

KEYS = {
    "patient": "PatientID",
    "accession": "AccessionNumber",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
"""The attribute that each kind of key stands for; a `file` is a path below the folder."""

CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""Secondary Capture Image Storage, and the beginning of its multi-frame kinds."""


class Options(NamedTuple):
    """How a folder is scanned."""

    key: str  # of the pseudonyms
    phi: str  # unknown: everything is de-identified; removed: it was before
    groups: tuple[tuple[str, str], ...]  # names, and keywords of `RETAINED`

    def profile(self) -> Profile:
        """The profile that retains the groups' attributes."""
        return Profile(Pseudonyms(self.key), tuple(keyword for _, keyword in self.groups))


@dataclass
class Scan:
    """What some files are."""

    instances: list[Instance] = field(default_factory=list)
    faults: list["Fault"] = field(default_factory=list)
    identifiers: list[tuple[str, Identifiers]] = field(default_factory=list)  # by patient
    counts: Counter[Done] = field(default_factory=Counter)
    others: int = 0  # files that are no DICOM

    def add(self, other: "Scan") -> None:
        """Put another scan's files to these."""
        self.instances += other.instances
        self.faults += other.faults
        self.identifiers += other.identifiers
        self.counts += other.counts
        self.others += other.others


class Fault(NamedTuple):
    """A file that cannot be used."""

    file: str  # pseudonym
    reason: str
    detail: str
    keys: tuple[tuple[str, str], ...] = ()  # pseudonyms by kind, as far as the header can be read
    modality: str = ""


def key_pseudonym(pseudonyms: Pseudonyms, kind: str, value: str) -> str:
    """The pseudonym of a value that a table names images by."""
    value = text_of(value)
    if kind == "file":
        return pseudonyms.of("file", value.replace("\\", "/").removeprefix("./"))
    return pseudonyms.uid(value) if kind in ("study", "series", "instance") else pseudonyms.of(KEYS[kind], value)


def scan(root: Path, names: Sequence[str], options: Options) -> Scan:
    """Read the headers of files; nothing is raised for any of them."""
    result, profile = Scan(), options.profile()
    for name in names:
        path = root / name
        if not is_dicom(path) or is_directory(path):
            result.others += 1
            continue
        file = profile.pseudonyms.of("file", name)
        try:
            with silent():
                _scan_one(path, file, options, profile, result)
        except BadDicom as error:
            result.faults.append(Fault(file, error.reason, str(error)))
        except Exception as error:  # noqa: BLE001 - its text may quote the file
            result.faults.append(Fault(file, "unreadable_dicom", f"the file cannot be read ({type(error).__name__})"))
    result.counts = profile.counts
    return result


def _scan_one(path: Path, file: str, options: Options, profile: Profile, result: Scan) -> None:
    dataset, header = read_header(path)
    identifiers = identifiers_of(dataset) if options.phi == "unknown" else Identifiers()
    named = {kind: text_of(dataset.get(keyword)) for kind, keyword in KEYS.items()}
    person = " ".join(filter(None, (text_of(dataset.get("PatientName")), text_of(dataset.get("PatientBirthDate")))))
    pseudonyms = profile.pseudonyms
    keys = {kind: key_pseudonym(pseudonyms, kind, value) if value else "" for kind, value in named.items()}
    keys["patient"] = keys["patient"] or (pseudonyms.of("person", person) if person else "")
    keys["file"] = file
    listed = tuple(sorted(keys.items()))
    result.identifiers.append((keys["patient"], identifiers))
    if options.phi == "unknown":
        try:
            profile.apply(dataset)
        except Exception as error:  # noqa: BLE001 - whatever it is: nothing of the file is used
            detail = f"the file cannot be de-identified ({type(error).__name__})"
            result.faults.append(Fault(file, "not_deidentified", detail, listed))
            return
    try:
        check_image(dataset, path.stat().st_size - header)
        result.instances.append(_instance(dataset, path, keys, options, header))
    except BadDicom as error:
        result.faults.append(Fault(file, error.reason, str(error), listed, modality_of(dataset)))


def modality_of(dataset: Dataset) -> str:
    """The modality's two or three capital letters; OT where it is anything else."""
    value = text_of(dataset.get("Modality"))
    return value if value in MODALITIES else "OT"


MODALITIES = {
    **dict.fromkeys(("CR", "DX", "RG", "RF", "PX", "IO", "XA"), "X-ray"),
    "MG": "Mammography",
    "CT": "CT",
    "MR": "MRI",
    "PT": "PET",
    "NM": "Scintigraphy",
    **dict.fromkeys(("US", "IVUS"), "Ultrasound"),
    **dict.fromkeys(("OP", "OPT", "OCT"), "Retinography"),
    "ES": "Endoscopy",
    **dict.fromkeys(("SM", "GM"), "Microscopy"),
    **dict.fromkeys(("XC", "DMS"), "Dermatology"),
    "SC": "Capture",
    "OT": "Other",
}
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1), and the folder of their images."""


def _instance(dataset: FileDataset, path: Path, keys: dict[str, str], options: Options, header: int) -> Instance:
    try:
        image_type = [text_of(value) for value in dataset.get("ImageType") or []]
        sop_class = str(dataset.get("SOPClassUID", ""))
        return Instance(
            place=path,
            file=keys["file"],
            patient=keys["patient"],
            study=keys["study"],
            accession=keys["accession"],
            series=keys["series"] or keys["file"],
            instance=keys["instance"] or keys["file"],
            modality=modality_of(dataset),
            rows=int(dataset.Rows),
            columns=int(dataset.Columns),
            colour=int(dataset.get("SamplesPerPixel", 1)) > 1
            or dataset.get("PhotometricInterpretation") == "PALETTE COLOR",
            number=_whole(dataset.get("InstanceNumber")),
            frames=tuple(_frames(dataset)),
            frame_of_reference=text_of(dataset.get("FrameOfReferenceUID")),
            localizer="LOCALIZER" in image_type[2:3],
            secondary=sop_class.startswith(CAPTURES) or "SCREEN SAVE" in image_type,
            expected=_whole(dataset.get("NumberOfSeriesRelatedInstances")),
            header=header,
            groups=tuple(
                (name, value) for name, keyword in options.groups if (value := _group(dataset, keyword, options))
            ),
            series_number=_whole(dataset.get("SeriesNumber")),
        )
    except FAULTS as error:
        raise BadDicom("unreadable_dicom", f"the header cannot be read ({type(error).__name__})") from None


def _group(dataset: Dataset, keyword: str, options: Options) -> str:
    """What a header says of an attribute to retain; a place or a device is a pseudonym, however files came here."""
    value = retained_value(dataset, keyword)
    if value and options.phi == "removed" and RETAINED[keyword] == "pseudonym":
        return Pseudonyms(options.key).of(keyword, text_of(dataset.get(keyword)))
    return value


def _whole(value: object) -> int | None:
    try:
        return int(str(value))
    except ValueError:
        return None


def _frames(dataset: Dataset) -> list[Frame]:
    """Where each frame lies; of enhanced images by the functional groups (PS3.3 C.7.6.16)."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    by_frame = dataset.get("PerFrameFunctionalGroupsSequence") or []
    count = frames_of(dataset)
    if not by_frame:
        return [_frame(dataset, dataset, dataset)] if count == 1 else [Frame()] * count
    if len(by_frame) != count:
        raise BadDicom("bad_pixel_data", f"{len(by_frame)} frames are described of {count}")
    return [
        _frame(
            group_item("PlanePositionSequence", item, shared),
            group_item("PlaneOrientationSequence", item, shared),
            group_item("PixelMeasuresSequence", item, shared),
        )
        for item in by_frame
    ]


def group_item(keyword: str, item: Dataset, shared: Dataset) -> Dataset:
    """The item of a functional group: the frame's own, or the one that all share; empty where neither is there."""
    sequence = item.get(keyword) or shared.get(keyword) or [Dataset()]
    return sequence[0]


def _frame(position: Dataset, orientation: Dataset, measures: Dataset) -> Frame:
    where, cosines = position.get("ImagePositionPatient"), orientation.get("ImageOrientationPatient")
    spacing = measures.get("PixelSpacing")
    x, y, z = map(float, where) if where is not None and len(where) == 3 else (0.0, 0.0, 0.0)
    return Frame(
        (x, y, z) if where is not None and len(where) == 3 else None,
        tuple(map(float, cosines)) if cosines is not None and len(cosines) == 6 else None,
        (float(spacing[0]), float(spacing[1])) if spacing is not None and len(spacing) == 2 else None,
    )
