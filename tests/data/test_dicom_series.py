"""Series of DICOM files: their order, what of them is no whole volume, and slices that equal those of other formats."""

import io
from pathlib import Path

import data_store
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.dicom_files import dataset_of, write, write_series
from tests.data.phantom import phantom, write_nifti
from workflow_scripts.data.dicom.images import Showing, images_of
from workflow_scripts.data.dicom.reading import BadDicom
from workflow_scripts.data.dicom.scanning import Options, scan
from workflow_scripts.data.dicom.series import Frame, Instance, series_of
from workflow_scripts.data.volumes.nifti import read_nifti
from workflow_scripts.data.volumes.slices import slice_images

OPTIONS = Options("a key of the tests", "unknown", ())
SHOWING = Showing("medgemma-notebook", 85, "quarantine", "quarantine")


def pixels_of(images):
    return [np.asarray(PIL.Image.open(io.BytesIO(image.data))) for image in images]


def scanned(folder):
    result = scan(folder, sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.dcm")), OPTIONS)
    assert result.faults == []
    return result.instances


def instance(place, number=None, position=None, **changes):
    """A slice of a series as its header tells it."""
    frame = Frame(position, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), (1.0, 1.0))
    values = {
        "place": None,
        "file": f"file {place}",
        "patient": "p",
        "study": "s",
        "accession": "",
        "series": "x",
        "instance": f"i{place}",
        "modality": "CT",
        "rows": 8,
        "columns": 8,
        "colour": False,
        "number": number,
        "frames": (frame,),
    }
    return Instance(**(values | changes))


def stack(count, spacing=5.0, numbers="rising", direction=-1):
    """Slices from the head to the feet."""
    return [
        instance(
            place,
            {"rising": place + 1, "falling": count - place, "none": None, "one": 1}[numbers],
            (0.0, 0.0, direction * spacing * place),
        )
        for place in range(count)
    ]


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(9)), st.sampled_from(["rising", "falling", "none", "one"]), st.sampled_from([1, -1]))
def test_slices_are_in_the_order_of_their_numbers_or_from_the_head_however_files_lie(order, numbers, direction):
    slices = stack(9, numbers=numbers, direction=direction)
    series = series_of([slices[place] for place in order])
    shown = [item.instance.instance for item in series.slices]
    by_number = {"rising": list(range(9)), "falling": list(range(8, -1, -1))}
    from_the_head = list(range(9)) if direction == -1 else list(range(8, -1, -1))
    assert shown == [f"i{place}" for place in by_number.get(numbers, from_the_head)]
    assert series.volume


def test_numbers_that_jump_about_do_not_decide():
    slices = [instance(place, number, (0.0, 0.0, -5.0 * place)) for place, number in enumerate([3, 1, 4, 2, 5])]
    assert [item.instance.instance for item in series_of(slices).slices] == ["i0", "i1", "i2", "i3", "i4"]


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 60), st.data())
def test_any_missing_slice_inside_is_seen_and_counted(count, data):
    missing = data.draw(st.integers(1, count - 2))
    with pytest.raises(BadDicom, match=r"1 missing: between slices \d+ and \d+") as caught:
        series_of([item for place, item in enumerate(stack(count)) if place != missing])
    assert caught.value.reason == "missing_slice"


def changed(place, **changes):
    slices = stack(6)
    slices[place] = instance(place, place + 1, slices[place].frames[0].position, **changes)
    return slices


def oblique(count):
    tilted = Frame((0.0, 0.0, -5.0), (1.0, 0.0, 0.0, 0.0, 0.9, 0.436), (1.0, 1.0))
    return [*stack(count)[1:], instance(99, 1, frames=(tilted,))]


@pytest.mark.parametrize(
    ("instances", "reason"),
    [
        (changed(2, rows=9), "mixed_series"),
        (changed(2, frame_of_reference="other"), "mixed_series"),
        (changed(2, patient="q"), "mixed_series"),
        (changed(2, study="q"), "mixed_series"),
        (changed(2, modality="MR"), "mixed_series"),
        (changed(2, secondary=True), "mixed_series"),
        (changed(2, localizer=True), "mixed_series"),
        (oblique(6), "mixed_series"),
        ([*stack(6), *(instance(10 + n, n + 1, (0.0, 0.0, -5.0 * n)) for n in range(6))], "mixed_series"),
        (changed(2, frames=(Frame(),)), "bad_geometry"),
        (changed(2, frames=(Frame((0, 0, float("nan")), (1, 0, 0, 0, 1, 0), (1, 1)),)), "bad_geometry"),
        (
            [instance(n, n, frames=(Frame((0, 0, n), (1, 0, 0, 1, 0, 0), (1, 1)),)) for n in range(4)],
            "bad_geometry",
        ),
        ([instance(n, n, frames=(Frame((0, 0, n), (1, 0, 0, 0, 1, 0), (0, 1)),)) for n in range(4)], "bad_geometry"),
        (
            [instance(n, n, (0.0, 0.0, z)) for n, z in enumerate([0.0, 5.0, 10.0, 16.5, 21.5])],
            "uneven_slices",
        ),
        ([instance(n, n + 1, (0.0, 0.0, 5.0 * n), expected=5) for n in range(4)], "missing_slice"),
    ],
)
def test_what_is_no_whole_volume_is_refused_with_a_reason(instances, reason):
    with pytest.raises(BadDicom) as caught:
        series_of(instances)
    assert caught.value.reason == reason


def test_a_phantom_gives_identical_slices_as_dicom_and_as_nifti(tmp_path):
    values = phantom(90, 20, 24)
    write_series(tmp_path / "dicom", values)
    series = series_of(scanned(tmp_path / "dicom"))
    dicom = images_of(series, OPTIONS, SHOWING)
    volume = read_nifti(write_nifti(tmp_path / "ct.nii.gz", values))
    nifti = slice_images(volume, "medgemma-notebook", "ct")
    assert [image.role for image in dicom] == [image.role for image in nifti] == [f"slice {n}" for n in range(1, 86)]
    assert all(np.array_equal(*pair) for pair in zip(pixels_of(dicom), pixels_of(nifti), strict=True))
    assert len({image.data for image in dicom}) == 85


@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (0.5, -1000)])
def test_slices_do_not_depend_on_how_values_are_stored(tmp_path, slope, intercept):
    values = (phantom(slices=5) // 2 * 2).astype(np.int16)
    write_series(tmp_path / "one", values)
    write_series(tmp_path / "other", values, slope=slope, intercept=intercept)
    one, other = (images_of(series_of(scanned(tmp_path / name)), OPTIONS, SHOWING) for name in ("one", "other"))
    assert all(np.array_equal(*pair) for pair in zip(pixels_of(one), pixels_of(other), strict=True))


def test_a_ct_whose_rescale_lies_or_is_missing_is_refused(tmp_path):
    values = phantom(slices=4)
    for name, attributes, reason in (
        ("lies", {"RescaleIntercept": 0}, "not_hounsfield"),
        ("missing", {"RescaleSlope": None, "RescaleIntercept": None}, "wrong_rescale"),
        ("zero", {"RescaleSlope": 0}, "wrong_rescale"),
    ):
        write_series(tmp_path / name, values, **attributes)
        with pytest.raises(BadDicom) as caught:
            images_of(series_of(scanned(tmp_path / name)), OPTIONS, SHOWING)
        assert caught.value.reason == reason
    unchanged = images_of(series_of(scanned(tmp_path / "lies")), OPTIONS, SHOWING._replace(implausible="keep"))
    assert len(unchanged) == 4


@pytest.mark.parametrize("phi", ["unknown", "removed"])
def test_a_volume_that_says_that_it_shows_text_is_set_aside(tmp_path, phi):
    write_series(tmp_path / "ct", phantom(slices=4), BurnedInAnnotation="YES")
    series = series_of(scanned(tmp_path / "ct"))
    options = OPTIONS._replace(phi=phi)
    for burned_in in ("quarantine", "mask"):
        with pytest.raises(BadDicom, match="BurnedInAnnotation says so") as caught:
            images_of(series, options, SHOWING._replace(burned_in=burned_in))
        assert caught.value.reason == "burned_in_text"
    assert len(images_of(series, options, SHOWING._replace(burned_in="keep"))) == 4


def test_mr_is_shown_in_grey_and_a_multi_frame_ultrasound_as_frames(tmp_path):
    write_series(tmp_path / "mr", phantom(slices=4), modality="MR", slope=1, intercept=0)
    grey = pixels_of(images_of(series_of(scanned(tmp_path / "mr")), OPTIONS, SHOWING))
    assert all(np.array_equal(image[..., 0], image[..., 2]) for image in grey)
    random = np.random.default_rng(0)
    cine = random.integers(0, 60, (100, 32, 40), dtype=np.uint8)
    write(tmp_path / "us/cine.dcm", dataset_of(cine, "US", BurnedInAnnotation="NO"))
    images = images_of(series_of(scanned(tmp_path / "us")), OPTIONS, SHOWING)
    assert [image.role for image in images] == [f"frame {n}" for n in range(1, 86)]
    assert np.array_equal(pixels_of(images)[-1], cine[99])


def test_frames_of_an_enhanced_ct_are_slices_by_their_functional_groups():
    folder = Path(data_store.__file__).parent / "data"
    series = series_of(scan(folder, ["eCT_Supplemental.dcm"], OPTIONS).instances)
    assert series.volume and len(series.slices) == 2
    assert [image.role for image in images_of(series, OPTIONS, SHOWING)] == ["slice 1", "slice 2"]
    with pytest.raises(BadDicom, match="ImagePositionPatient or ImageOrientationPatient is missing"):
        series_of(scan(folder, ["emri_small.dcm"], OPTIONS).instances)


def test_a_copy_is_left_out_and_a_differing_one_refused(tmp_path):
    files = write_series(tmp_path / "ct", phantom(slices=4))
    (tmp_path / "ct/copy.dcm").write_bytes(files[1].read_bytes())
    series = series_of(scanned(tmp_path / "ct"))
    assert len(series.slices) == 4 and len(series.copies) == 1
    (tmp_path / "ct/copy.dcm").write_bytes(files[1].read_bytes()[:-1] + b"\7")
    with pytest.raises(BadDicom, match="two files of one instance differ"):
        series_of(scanned(tmp_path / "ct"))
