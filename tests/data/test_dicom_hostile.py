"""A folder where everything is wrong that can be: each row and each bad file is a record, and nothing crashes."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import PIL.Image
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageDraw
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

from tests.data.dicom_files import SECRETS, dataset_of, radiograph, write, write_series
from tests.data.dicom_folder import GROUPS, Folder, of_rows
from tests.data.dying import times_ten
from tests.data.phantom import phantom
from workflow_scripts.data.conversion.reasons import REASONS
from workflow_scripts.data.dicom.deidentify import Profile
from workflow_scripts.data.dicom.images import Showing, show
from workflow_scripts.data.dicom.processes import each_apart
from workflow_scripts.data.dicom.reading import BadDicom
from workflow_scripts.data.dicom.scanning import Options, scan
from workflow_scripts.data.dicom.series import series_of

pytestmark = pytest.mark.usefixtures("pseudonym_key")

OF_PYDICOM = Path(pydicom.__file__).parent / "data/test_files"
SMALL = ("MR_small.dcm", "MR_small_RLE.dcm", "SC_rgb_rle_2frame.dcm", "liver_1frame.dcm", "CT_small.dcm")


def edited(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    write(path, dataset)


def with_syntax(path, syntax):
    """Put another transfer syntax of as many characters into a file's bytes; its pixels stay as they are."""
    data = path.read_bytes()
    old = b"1.2.840.10008.1.2.1\0"
    assert data.count(old) == 1 and len(syntax) <= len(old)
    path.write_bytes(data.replace(old, syntax.encode().ljust(len(old), b"\0")))


def bomb(dataset):
    """A JPEG 2000 image whose codestream says that it is of 60,000 × 60,000 pixels."""
    stream = bytearray(b"\xff\x4f\xff\x51\x00\x2f\x00\x00" + (60000).to_bytes(4, "big") * 2 + bytes(100))
    dataset.PixelData = encapsulate([bytes(stream)])
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless


def lettered():
    """A radiograph with a name written into its corner."""
    values = (radiograph(200) // 16).astype(np.uint8)
    image = PIL.Image.fromarray(values)
    ImageDraw.Draw(image).text((10, 10), "QUASTENFLOSSER, OTTOKAR", fill=255)
    return np.asarray(image)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """Everything that can be wrong, each asked about, beside what is right."""
    folder = Folder(tmp_path_factory.mktemp("hostile"))
    root = folder.root
    folder.still("good.dcm", BitsStored=12, HighBit=11, WindowCenter=2048, WindowWidth=4096)
    folder.series("good ct", None)
    for name, change, reason in (
        ("cut short", lambda data: data[: len(data) - 1000], "bad_pixel_data"),
        ("half a header", lambda data: data[:700], "unreadable_dicom"),
        ("without preamble", lambda data: data[132:], "unreadable_dicom"),
        ("noise", lambda data: data[:132] + bytes(range(256)) * 40, "unreadable_dicom"),
    ):
        path = folder.still(f"{name}.dcm", reason if name == "cut short" else "missing_image")
        path.write_bytes(change(path.read_bytes()))
    (root / "empty.dcm").write_bytes(b"")
    (root / "IM0001").write_bytes(b"")
    edited(folder.still("no pixels.dcm", "no_pixel_data"), lambda d: d.__delattr__("PixelData"))
    with_syntax(folder.still("wrong syntax.dcm", "unsupported_dicom"), "1.2.840.10008.1.9.9")
    with_syntax(folder.still("said to be run-length encoded.dcm", "bad_pixel_data"), "1.2.840.10008.1.2.5")
    edited(folder.still("bomb.dcm", "bad_pixel_data"), bomb)
    edited(
        folder.still("huge.dcm", "bad_pixel_data"), lambda d: (setattr(d, "Rows", 60000), setattr(d, "Columns", 60000))
    )
    edited(folder.still("many frames.dcm", "bad_pixel_data"), lambda d: setattr(d, "NumberOfFrames", "2000000000"))
    edited(folder.still("no rows.dcm", "bad_pixel_data"), lambda d: d.__delattr__("Rows"))
    edited(folder.still("odd bits.dcm", "bad_pixel_data"), lambda d: setattr(d, "BitsStored", 40))
    edited(
        folder.still("not jpeg.dcm", "bad_pixel_data"),
        lambda d: (bomb(d), setattr(d, "PixelData", encapsulate([b"\xff\xd8" + b"\0" * 99]))),
    )
    folder.still("report.dcm", "missing_image", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Modality="SR")
    write(root / "DICOMDIR", dataset_of(radiograph(), "DX"))
    folder.still("directory", "missing_image", SOPClassUID="1.2.840.10008.1.3.10")
    edited(root / "directory", lambda d: setattr(d.file_meta, "MediaStorageSOPClassUID", "1.2.840.10008.1.3.10"))
    (root / "notes.txt").write_text("Quastenflosser")
    folder.series("missing", "missing_slice")[2].unlink()
    lies = folder.series("lies", "not_hounsfield", RescaleIntercept=0)
    assert len(lies) == 6
    folder.series("zero slope", "wrong_rescale", RescaleSlope=0)
    mixed = folder.series("mixed", "mixed_series")
    edited(mixed[3], lambda d: setattr(d, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1]))
    sizes = folder.series("sizes", "mixed_series")
    write(sizes[1], changed_size(sizes[1]))
    twice = folder.series("twice", None)
    (root / "twice/copy.dcm").write_bytes(twice[0].read_bytes())
    differing = folder.series("differing", "duplicate_instance")
    (root / "differing/copy.dcm").write_bytes(differing[0].read_bytes()[:-2] + b"\7\7")
    damaged = folder.series("damaged", "bad_pixel_data")
    damaged[4].write_bytes(damaged[4].read_bytes()[:-2000])
    folder.still("text.dcm", "burned_in_text", lettered(), "CR")
    folder.still("us.dcm", "burned_in_text", (radiograph() // 32).astype(np.uint8), "US")
    folder.still("declared.dcm", "burned_in_text", BurnedInAnnotation="YES")
    folder.still("capture.dcm", "burned_in_text", (radiograph() // 32).astype(np.uint8), "OT")
    folder.ask("1.2.3.4", "missing_image")
    folder.ask("", "no_image_named")
    good = pydicom.dcmread(root / "good.dcm").SeriesInstanceUID
    folder.ask(good, "identifier_in_text", "Is Ottokar Quastenflosser's heart large?")
    folder.ask(good, "identifier_in_text", "What is seen?", "As Dr Zwiebelfisch wrote: nothing")
    folder.ask(good, None, "Another question?", "no", prior=good)
    return folder


def changed_size(path):
    dataset = pydicom.dcmread(path)
    small = dataset.pixel_array[:-1]
    dataset.Rows = len(small)
    dataset.PixelData = small.tobytes()
    return dataset


@pytest.fixture(scope="module")
def read(hostile):
    return hostile.read(prior={"column": "before"})


def test_every_row_is_a_record_with_the_reason_that_it_should_have(hostile, read):
    reasons = [record.fault and record.fault[0] for record in of_rows(read)]
    assert list(zip(hostile.rows, reasons, strict=True)) == list(zip(hostile.rows, hostile.expected, strict=True))
    assert {record.fault[0] for record in read if record.fault} <= set(REASONS)
    assert all(bool(record.images) == (record.fault is None) for record in read)


def test_every_file_and_series_that_cannot_be_used_is_a_record_too(read):
    rest = Counter((record.place.split()[0], record.fault[0]) for record in read if not record.place.startswith("row "))
    assert rest == {
        ("file", "unreadable_dicom"): 5,
        ("file", "unsupported_dicom"): 1,
        ("file", "no_pixel_data"): 1,
        ("file", "bad_pixel_data"): 6,
        ("file", "not_an_image"): 1,
        ("file", "duplicate_instance"): 1,
        ("series", "missing_slice"): 2,
        ("series", "mixed_series"): 2,
        ("series", "duplicate_instance"): 1,
    }
    assert len({record.place for record in read}) == len(read)


def test_no_record_tells_a_name_an_identifier_or_a_date(read):
    text = repr(
        [
            (
                r.folder,
                r.subset,
                r.place,
                r.question,
                r.answer,
                r.case,
                r.groups,
                r.fault,
                [(i.name, i.role) for i in r.images],
            )
            for r in read
        ]
    )
    for word in (
        *SECRETS.values(),
        "Quastenflosser",
        "Ottokar",
        "PID-4711",
        "19540203",
        ".dcm",
        "good",
        "1.2.840.10008.5",
    ):
        assert word.lower() not in text.lower()


def test_groups_are_retained_and_cases_are_patients(read):
    usable = [record for record in of_rows(read) if record.fault is None]
    assert {(r.groups["sex"], r.groups["age"], r.groups["scanner"]) for r in usable} == {
        ("M", "60-69", "Ganzkörper 3000")
    }
    assert len({record.case for record in usable}) == 1 and len(usable[0].case) == 16
    assert {record.subset: record.modality for record in usable} == {"lab X-ray": "X-ray", "lab CT": "CT"}


def test_images_of_an_earlier_examination_go_first(read):
    assert [image.role for image in of_rows(read)[-1].images] == ["prior", "current"]
    ct = next(record for record in of_rows(read) if record.modality == "CT" and record.fault is None)
    assert [image.role for image in ct.images] == [f"slice {n}" for n in range(1, 7)]


def test_written_images_are_pngs_without_a_word_beside_their_pixels(read):
    for image in (image for record in read for image in record.images):
        with PIL.Image.open(io.BytesIO(image.data)) as opened:
            assert opened.format == "PNG" and opened.info == {} and opened.size[0] >= 48


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_to_a_files_bytes_raises_anything(tmp_path, data):
    whole = bytearray((OF_PYDICOM / data.draw(st.sampled_from(SMALL))).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        start = data.draw(st.integers(128, len(whole) - 1))
        whole[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    (tmp_path / "damaged.dcm").write_bytes(whole[: data.draw(st.integers(140, len(whole)))])
    options = Options("a key of the tests", "unknown", tuple(GROUPS.items()))
    result = scan(tmp_path, ["damaged.dcm"], options)
    assert len(result.instances) + len(result.faults) + result.others == 1
    for instance in result.instances:
        try:
            series = series_of([instance])
        except BadDicom:
            continue
        [shown] = show([series], options, Showing("grey", 85, "quarantine", "quarantine"))
        assert (shown.fault is None) == bool(shown.images)


def test_a_file_that_cannot_be_de_identified_is_not_used_and_its_series_is_not_either(tmp_path, monkeypatch):
    files = write_series(tmp_path / "ct", phantom(slices=4))
    names = [path.relative_to(tmp_path).as_posix() for path in files]

    def fail(self, dataset):
        raise ZeroDivisionError("Quastenflosser")

    monkeypatch.setattr(Profile, "apply", fail)
    result = scan(tmp_path, names, Options("a key of the tests", "unknown", ()))
    assert result.instances == [] and {fault.reason for fault in result.faults} == {"not_deidentified"}
    assert all(dict(fault.keys)["series"].startswith("2.25.") for fault in result.faults)
    assert "Quasten" not in repr(result.faults)


def test_a_process_that_dies_takes_its_task_along_and_no_other():
    assert list(each_apart(times_ten, [(n,) for n in range(7)], 2)) == [0, 10, 20, None, 40, 50, 60]
