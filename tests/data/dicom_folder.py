"""A folder of DICOM files with a table that asks about them, read as the step reads it."""

import csv

import pydicom

from tests.data.dicom_files import dataset_of, radiograph, write, write_series
from tests.data.phantom import phantom
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.data.sources.dicom import records

GROUPS = {"sex": "PatientSex", "age": "PatientAge", "hospital": "InstitutionName", "scanner": "ManufacturerModelName"}


class Folder:
    """A folder and the rows of its table."""

    def __init__(self, root):
        self.root = root / "Quastenflosser, Ottokar"
        self.table = root / "questions.csv"
        self.rows = []
        self.expected = []  # reason of each row, None where it can be used

    def ask(self, key, reason=None, question="What is seen?", answer="lung", prior=""):
        self.rows.append([key, prior, question, answer, "training"])
        self.expected.append(reason)

    def still(self, name, reason=None, values=None, modality="DX", **attributes):
        """Write an image and ask about its series; the DICOM dataset may be changed before it is written."""
        dataset = dataset_of(radiograph() if values is None else values, modality, **attributes)
        self.ask(dataset.SeriesInstanceUID, reason)
        return write(self.root / name, dataset)

    def series(self, name, reason, **attributes):
        files = write_series(self.root / name, phantom(slices=6), **attributes)
        self.ask(pydicom.dcmread(files[0]).SeriesInstanceUID, reason)
        return files

    def read(self, **changes):
        with self.table.open("w", newline="") as stream:
            csv.writer(stream).writerows([["uid", "before", "question", "answer", "split"], *self.rows])
        given = {
            "path": str(self.root),
            "questions": {"path": str(self.table), "subset": "lab", "split": {"column": "split"}},
            "key": {"column": "uid"},
            "groups": GROUPS,
        }
        entry = DicomDataset(**(given | changes))
        as_the_step_reads_it = DicomDataset.model_validate_json(entry.model_dump_json())
        return list(records(as_the_step_reads_it, self.root, 1))


def of_rows(listed):
    numbered = [record for record in listed if record.place.startswith("row ")]
    return sorted(numbered, key=lambda record: int(record.place.split()[1]))
