"""A folder of DICOM files."""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.config.sources.table import TableDataset

Attribute = Literal[
    "PatientSex",
    "PatientAge",
    "EthnicGroup",
    "InstitutionName",
    "InstitutionalDepartmentName",
    "StationName",
    "DeviceSerialNumber",
    "Manufacturer",
    "ManufacturerModelName",
    "Modality",
    "BodyPartExamined",
    "Laterality",
    "ImageLaterality",
    "ViewPosition",
    "MagneticFieldStrength",
    "KVP",
    "ConvolutionKernel",
    "SliceThickness",
]
"""Attributes that may be retained, by keyword of PS3.6."""


class DicomKey(Section):
    """A column of the questions that names images."""

    column: str = Field(description="The column.")
    names: Literal["series", "study", "instance", "accession", "patient", "file"] = Field(
        "series",
        description="What its values are: unique identifiers of series, studies or instances; accession numbers; "
        "patients; or paths of files below the folder.",
    )


class DicomDataset(DatasetEntry):
    """A folder of DICOM files with a table of questions or labels beside it. Both are only read."""

    source: Literal["dicom"] = "dicom"
    path: str = Field(description="The folder; files are looked for at any depth.")
    questions: TableDataset = Field(
        description="The table of questions or labels: `path` and the keys of a `table` source but those of its images."
    )
    key: DicomKey = Field(description="Which column of the questions names the images of a row.")
    prior: DicomKey | None = Field(None, description="Which column names the images of an earlier examination.")
    phi: Literal["unknown", "removed"] = Field(
        "unknown",
        description="unknown: files are de-identified by PS3.15's Basic Profile before anything of them is looked at. "
        "removed: you state that files and table hold nothing that identifies a person.",
    )
    groups: dict[Name, Attribute] = Field(
        {},
        description="Attributes to retain as groups: sex, age (in bands of ten years), scanner; those of an "
        "institution or a device as pseudonyms.",
    )
    burned_in: Literal["quarantine", "mask", "keep"] = Field(
        "quarantine",
        description="Images that may show text of a patient. mask: blacken what lies outside the regions of an "
        "ultrasound image, and lines of text that are seen elsewhere; volumes are never masked.",
    )
    implausible: Literal["quarantine", "keep"] = Field(
        "quarantine", description="CT whose values cannot be Hounsfield units."
    )
    windows: Literal["medgemma-notebook", "medgemma-report", "grey"] = Field(
        "medgemma-notebook", description="Windows of the three colour channels of CT; other volumes are shown in grey."
    )
    most_slices: int = Field(85, ge=1, description="Slices of a volume, or frames of a file, that are shown at most.")
    modalities: tuple[str, ...] = Field(
        (), description="Modalities to take (CR, CT, …), as where a study holds others; empty means all."
    )

    @model_validator(mode="before")
    @classmethod
    def _table(cls, given: Any) -> Any:
        """The questions' `source` need not be said."""
        questions = given.get("questions") if isinstance(given, dict) else None
        if isinstance(questions, dict):
            return given | {"questions": {"source": "table", "images": []} | questions}
        return given

    @field_validator("questions")
    @classmethod
    def _without_images(cls, questions: TableDataset) -> TableDataset:
        if questions.path is None:
            raise ValueError("give the `path` of the table of questions")
        if questions.images or questions.study is not None or questions.case is not None:
            raise ValueError("`images`, `study` and `case` follow from the DICOM files; leave them out")
        if questions.mark_shared_images:
            raise ValueError("`mark_shared_images` compares files that the table names; leave it out")
        return questions
