"""Text in the pixels: lines of characters are seen, markers and anatomy are not, and masks blacken what they should."""

import io
from pathlib import Path

import data_store
import numpy as np
import PIL.Image
import pydicom
import pytest
from PIL import ImageDraw, ImageFont
from pydicom.dataset import Dataset

from tests.data.dicom_files import dataset_of, radiograph, write
from workflow_scripts.data.dicom.burned_in import Region, declared, masked, regions_of, text_lines
from workflow_scripts.data.dicom.codecs import stored_frames
from workflow_scripts.data.dicom.images import Showing, images_of
from workflow_scripts.data.dicom.reading import BadDicom, read_whole
from workflow_scripts.data.dicom.rendering import colour_levels, grey_levels
from workflow_scripts.data.dicom.scanning import Options, scan
from workflow_scripts.data.dicom.series import series_of

OF_THE_DATA = Path(data_store.__file__).parent / "data"
OPTIONS = Options("a key of the tests", "unknown", ())
BODY = (radiograph(300) // 16).astype(np.uint8)
LETTERS = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-,."))


def written(texts, size=16, ground=BODY, fill=255):
    image = PIL.Image.fromarray(ground.copy())
    for x, y, text in texts:
        ImageDraw.Draw(image).text((x, y), text, fill=fill, font=ImageFont.load_default(size))
    return np.asarray(image)


def shown(name):
    dataset = read_whole(OF_THE_DATA / f"{name}.dcm")
    [(values, meaning)] = stored_frames(dataset, [0])
    colour = values.ndim == 3 or meaning == "PALETTE COLOR"
    return colour_levels(dataset, values) if colour else grey_levels(dataset, values, 0)


@pytest.mark.parametrize("size", [14, 20, 32])
def test_lines_of_characters_are_seen_where_they_stand(size):
    random, seen = np.random.default_rng(size), 0
    for _ in range(20):
        text = "".join(random.choice(LETTERS, random.integers(8, 12)))
        lines = text_lines(written([(12, 40, text)], size))
        seen += any(line.top <= 40 + size and line.bottom >= 40 and line.left < 12 + 3 * size for line in lines)
    assert seen >= 19


@pytest.mark.parametrize("text", ["L", "R", "AP", "PORT", "LAT"])
def test_markers_of_a_radiograph_are_not_text(text):
    assert text_lines(written([(20, 20, text), (220, 250, text)], 24)) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("US1_UNCR", True), ("OBXXXX1A", True), ("gdcm-US-ALOKA-16", True), ("color3d_jpeg_baseline", True)),
        *(("RG1_UNCR", False), ("RG3_UNCR", False), ("MR2_UNCR", False), ("693_UNCR", False), ("JPEG-LL", False)),
    ],
)
def test_real_ultrasound_has_text_and_real_radiographs_slices_and_scans_have_none(name, text):
    assert bool(text_lines(shown(name))) == text


def test_noise_and_bars_are_not_text():
    random = np.random.default_rng(0)
    assert text_lines(random.integers(0, 256, (300, 300), dtype=np.uint8)) == []
    assert text_lines((np.indices((300, 300)).sum(0) // 20 % 2 * 255).astype(np.uint8)) == []
    assert text_lines(np.zeros((4, 4), np.uint8)) == []


@pytest.mark.parametrize(
    ("said", "modality", "capture", "expected"),
    [
        ("YES", "DX", False, "says so"),
        ("NO", "US", True, None),
        ("", "US", False, "ultrasound"),
        ("", "OT", True, "capture"),
        ("", "DX", False, None),
    ],
)
def test_a_header_lets_text_be_expected(said, modality, capture, expected):
    dataset = Dataset()
    dataset.BurnedInAnnotation = said
    reason = declared(dataset, modality, capture)
    assert (reason is None) == (expected is None) and (expected or "") in (reason or "")


def test_a_mask_leaves_the_regions_and_blackens_lines():
    pixels = written([(10, 5, "QUASTENFLOSSER")], 16)
    lines = text_lines(pixels)
    alone = masked(pixels, [], lines)
    assert text_lines(alone) == [] and np.array_equal(alone[60:], pixels[60:])
    both = masked(pixels, [Region(50, 100, 250, 280)], lines)
    assert (both[:100] == 0).all() and (both[:, :50] == 0).all() and (both[281:] == 0).all()
    assert np.array_equal(both[100:281, 50:251], pixels[100:281, 50:251])


def ultrasound(folder, regions=True, **attributes):
    item = Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 40, 60
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 260, 280
    given = {"SequenceOfUltrasoundRegions": [item]} if regions else {}
    pixels = written([(10, 5, "QUASTENFLOSSER")], 16)
    write(folder / "us.dcm", dataset_of(pixels, "US", **(given | attributes)))
    return series_of(scan(folder, ["us.dcm"], OPTIONS).instances)


def pixels_of(images):
    return np.asarray(PIL.Image.open(io.BytesIO(images[0].data)))


def test_a_policy_decides_what_becomes_of_an_ultrasound_image(tmp_path):
    series = ultrasound(tmp_path)
    with pytest.raises(BadDicom, match="lines of what looks like text, the first of 14 characters at") as caught:
        images_of(series, OPTIONS, Showing("grey", 85, "quarantine", "keep"))
    assert caught.value.reason == "burned_in_text"
    mask = pixels_of(images_of(series, OPTIONS, Showing("grey", 85, "mask", "keep")))
    assert (mask[:60] == 0).all() and mask[60:281, 40:261].any() and text_lines(mask) == []
    unchanged = pixels_of(images_of(series, OPTIONS, Showing("grey", 85, "keep", "keep")))
    assert np.array_equal(unchanged, written([(10, 5, "QUASTENFLOSSER")], 16))
    assert len(regions_of(pydicom.dcmread(tmp_path / "us.dcm"))) == 1


def test_nothing_is_masked_at_a_guess(tmp_path):
    write(tmp_path / "us.dcm", dataset_of(BODY, "US"))
    series = series_of(scan(tmp_path, ["us.dcm"], OPTIONS).instances)
    with pytest.raises(BadDicom, match="neither regions nor lines of text"):
        images_of(series, OPTIONS, Showing("grey", 85, "mask", "keep"))
    assert images_of(series, OPTIONS._replace(phi="removed"), Showing("grey", 85, "quarantine", "keep"))
