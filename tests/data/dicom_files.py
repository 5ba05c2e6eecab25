"""A writer of DICOM files for tests: patients who do not exist, with everything that a person is known by."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

CLASSES = {
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
}
"""Image storage classes by modality; OT: secondary capture."""


@dataclass(frozen=True)
class Patient:
    """Somebody who does not exist."""

    family: str = "Quastenflosser"
    given: str = "Ottokar"
    id: str = "PID-4711-77"
    birth: str = "19540203"
    sex: str = "M"
    age: str = "067Y"

    @property
    def name(self) -> str:
        """As PN writes it."""
        return f"{self.family}^{self.given}"


SECRETS = {
    "InstitutionName": "Klinikum Wolkenkuckucksheim",
    "InstitutionAddress": "Nebelgasse 13, 99999 Nirgendwo",
    "ReferringPhysicianName": "Zwiebelfisch^Adelgunde",
    "PerformingPhysicianName": "Krautwickel^Balduin",
    "OperatorsName": "Schnurrbart^Kunigunde",
    "StationName": "STATION-XQ7",
    "DeviceSerialNumber": "SN-0815-XYZ",
    "PatientAddress": "Wolkenweg 7, 12345 Luftschloss",
    "PatientTelephoneNumbers": "0123-4567890",
    "OtherPatientIDs": "ALT-99-1234",
    "PatientComments": "Wohnt bei Tante Hildegunde",
    "StudyDescription": "Thorax von Quastenflosser",
    "SeriesDescription": "pa QUASTENFLOSSER",
    "AccessionNumber": "ACC-2019-5551",
    "StudyID": "STUDY-31337",
    "StudyDate": "20190307",
    "SeriesDate": "20190307",
    "AcquisitionDate": "20190307",
    "ContentDate": "20190307",
    "StudyTime": "134501.123",
    "ProtocolName": "PROTO-Quastenflosser",
    "ImageComments": "seen by Zwiebelfisch",
}
"""Values by keyword that nothing written may hold."""


def dataset_of(
    values: npt.NDArray[Any], modality: str = "CT", patient: Patient | None = None, **attributes: Any
) -> FileDataset:
    """An image with `values` (rows, columns), (frames, rows, columns) or, of uint8, (…, 3), and much about a patient.

    Args:
        attributes: by keyword, in the place of those set here; None leaves one out.
    """
    patient = patient or Patient()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = UID(CLASSES.get(modality, CLASSES["OT"]))
    meta.MediaStorageSOPInstanceUID = UID(str(attributes.get("SOPInstanceUID") or generate_uid()))
    dataset = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
    colour = values.ndim > 2 and values.shape[-1] == 3 and values.dtype == np.uint8
    frames = values.ndim - colour == 3
    rows, columns = values.shape[1:3] if frames else values.shape[:2]
    bits = values.dtype.itemsize * 8
    given = {
        "SOPClassUID": meta.MediaStorageSOPClassUID,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(),
        "Modality": modality,
        "PatientName": patient.name,
        "PatientID": patient.id,
        "PatientBirthDate": patient.birth,
        "PatientSex": patient.sex,
        "PatientAge": patient.age,
        "Manufacturer": "ACME",
        "ManufacturerModelName": "Ganzkörper 3000",
        **SECRETS,
        "InstanceNumber": 1,
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "Rows": rows,
        "Columns": columns,
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"),
        "NumberOfFrames": len(values) if frames else None,
        "PlanarConfiguration": 0 if colour else None,
        "SpecificCharacterSet": "ISO_IR 192",
    }
    for keyword, value in (given | attributes).items():
        if value is not None:
            setattr(dataset, keyword, value)
    private = dataset.private_block(0x0041, "ACME PRIVATE", create=True)
    private.add_new(0x01, "LO", patient.name)
    item = Dataset()
    item.PersonName = patient.name
    item.InstitutionName = SECRETS["InstitutionName"]
    item.private_block(0x0043, "ACME DEEP", create=True).add_new(0x02, "PN", patient.name)
    dataset.RequestAttributesSequence = Items([item])
    dataset.PixelData = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if len(dataset.PixelData) % 2:
        dataset.PixelData += b"\0"
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    return dataset


def write(path: Path, dataset: FileDataset) -> Path:
    """Write a file with its preamble."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    values: npt.NDArray[np.int16],
    spacing: Sequence[float] = (5.0, 1.5, 1.25),
    slope: float = 1.0,
    intercept: float = -1024.0,
    modality: str = "CT",
    **attributes: Any,
) -> list[Path]:
    """Write slices (slices from the head, rows from the front, columns from the right) as a series, a file each.

    Stored are whole numbers `(values − intercept) / slope`; the names of the files are out of order.
    """
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    files = []
    for place, slab in enumerate(values):
        stored = np.rint((slab.astype(float) - intercept) / slope).astype(np.int16)
        given = {
            "SeriesInstanceUID": series,
            "StudyInstanceUID": study,
            "InstanceNumber": place + 1,
            "FrameOfReferenceUID": frame,
            "ImagePositionPatient": [-30.0, -40.0, 300.0 - spacing[0] * place],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [spacing[1], spacing[2]],
            "RescaleSlope": slope,
            "RescaleIntercept": intercept,
            "RescaleType": "HU" if modality == "CT" else None,
        }
        dataset = dataset_of(stored, modality, **(given | attributes))
        files.append(write(folder / f"{(place * 7) % 1000:03d}-{place}-Quastenflosser.dcm", dataset))
    return files


def radiograph(size: int = 96, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Something like a chest: two dark fields on a brighter ground, 12 bits."""
    random = np.random.default_rng(seed)
    y, x = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    values = 2600 - 900 * np.exp(-((np.abs(x) - 0.45) ** 2 * 14 + (y - 0.1) ** 2 * 3))
    values += random.normal(0, 20, values.shape) + 200 * seed
    return np.clip(values, 0, 4095).astype(np.uint16)
