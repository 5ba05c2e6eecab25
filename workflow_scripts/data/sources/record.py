"""What a source yields: questions with their images, and what of the source cannot be used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image of a record: a file that is linked to, or bytes that are written; neither where it is missing."""

    name: str  # below the subset's folder; equal names are one image
    file: str | None = None
    data: bytes | None = None  # where there is no file
    role: str = ""  # current, prior, slice 12; see `core.rows.Image`
    sha256: str = ""  # of the bytes, where it is known
    sought: str = ""  # the file of a missing image, were it in the first of the folders of images


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One question of a source, or one thing of it that is none.

    A record with a fault goes to quarantine with that reason, so that what a source holds is rows or quarantined.
    """

    folder: str  # training, validation-public, …
    modality: str
    subset: str
    place: str  # where in the source: file and row, or series; without anything that identifies a person
    task: str  # a spelling of `core.tasks`
    question: str
    answer: Any  # as FLARE writes it
    images: tuple[SourceImage, ...] = ()
    case: str = ""  # patient or study; empty: read from the images' names
    groups: Mapping[str, str] = field(default_factory=dict)  # hospital, scanner, sex, age band
    rubric: Any = None  # what answers are graded by, see `core.rubrics.stated`; None: no rubric
    fault: tuple[str, str] | None = None  # reason of `data.conversion.reasons`, and what is wrong
