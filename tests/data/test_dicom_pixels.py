"""DICOM pixels: what is decoded equals what was encoded, and is shown as PS3.3 says, to the last grey level."""

from fractions import Fraction
from pathlib import Path

import data_store
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import JPEG2000Lossless

from tests.data.dicom_files import dataset_of, radiograph
from workflow_scripts.data.dicom.codecs import BadPixels, codestream_size, stored_frames
from workflow_scripts.data.dicom.reading import BadDicom, read_whole
from workflow_scripts.data.dicom.rendering import Window, colour_levels, grey_levels, modality_values, window_levels

OF_PYDICOM = Path(pydicom.__file__).parent / "data/test_files"
OF_THE_DATA = Path(data_store.__file__).parent / "data"


def frame(path, place=0):
    [(values, meaning)] = stored_frames(read_whole(path), [place])
    return values, meaning


# What a syntax's file decodes to is what another file of the same image holds uncompressed.
LOSSLESS = {
    "MR_small_RLE": "MR_small",
    "MR_small_jp2klossless": "MR_small",
    "MR_small_jpeg_ls_lossless": "MR_small",
    "MR_small_bigendian": "MR_small",
    "MR_small_implicit": "MR_small",
    "SC_rgb_rle": "SC_rgb",
    "SC_rgb_jpeg_gdcm": "SC_rgb",
    "SC_rgb_expb": "SC_rgb",
    "emri_small_jpeg_ls_lossless": "emri_small",
    "emri_small_RLE": "emri_small",
    "RG1_J2KR": "RG1_UNCR",
    "RG3_J2KR": "RG3_UNCR",
    "US1_J2KR": "US1_UNCR",
    "MR2_J2KR": "MR2_UNCR",
    "693_J2KR": "693_UNCR",
}


def file_of(name):
    return next(folder / f"{name}.dcm" for folder in (OF_PYDICOM, OF_THE_DATA) if (folder / f"{name}.dcm").exists())


@pytest.mark.parametrize(("encoded", "plain"), LOSSLESS.items())
def test_lossless_syntaxes_decode_to_the_uncompressed_values(encoded, plain):
    values, meaning = frame(file_of(encoded))
    expected, _ = frame(file_of(plain))
    assert np.array_equal(values, expected)
    assert meaning in ("RGB", "MONOCHROME1", "MONOCHROME2")


@pytest.mark.parametrize(
    ("encoded", "plain", "worst"),
    [
        ("SC_rgb_dcmtk_+eb+cy+np", "SC_rgb_dcmtk_ebcynp_dcmd", 1),  # YBR_FULL_422 by another decoder
        ("SC_ybr_full_422_uncompressed", "SC_rgb", 130),  # halved chroma at the edges of bars
        ("SC_ybr_full_uncompressed", "SC_rgb", 6),  # it was JPEG once
        ("JPEG2000", "JPEG2000_UNC", 0),
        ("RG3_J2KI", "RG3_UNCI", 0),
        ("US1_J2KI", "US1_UNCI", 1),
    ],
)
def test_lossy_and_ybr_images_become_the_rgb_or_grey_of_their_references(encoded, plain, worst):
    values, _ = frame(file_of(encoded))
    expected, _ = frame(file_of(plain))
    assert np.abs(values.astype(int) - expected.astype(int)).max() <= worst


def test_a_palette_is_looked_up_in_either_byte_order_and_in_segments():
    little, big = (read_whole(file_of(name)) for name in ("OBXXXX1A", "OBXXXX1A_expb"))
    [(one, _)], [(other, _)] = stored_frames(little, [0]), stored_frames(big, [0])
    levels = colour_levels(little, one)
    assert np.array_equal(levels, colour_levels(big, other)) and levels.shape == (600, 800, 3)
    # Descriptor of 16 bits: the upper eight are shown.
    words = np.frombuffer(little.RedPaletteColorLookupTableData, "<u2")
    assert np.array_equal(levels[..., 0], (words[one] >> 8).astype(np.uint8))
    segmented = read_whole(file_of("gdcm-US-ALOKA-16"))
    [(values, meaning)] = stored_frames(segmented, [0])
    assert meaning == "PALETTE COLOR" and len(np.unique(colour_levels(segmented, values).reshape(-1, 3), axis=0)) > 50


def test_frames_of_one_file_are_decoded_one_by_one():
    dataset = read_whole(file_of("emri_small_RLE"))
    whole = pydicom.dcmread(file_of("emri_small")).pixel_array
    places = [0, 4, 9]
    assert all(
        np.array_equal(values, whole[n]) for n, (values, _) in zip(places, stored_frames(dataset, places), strict=True)
    )


def level(value, centre, width, function="LINEAR"):
    """The grey level of PS3.3 C.11.2.1.2 in exact arithmetic, halves to even."""
    x, c, w = Fraction(value), Fraction(centre), Fraction(width)
    if function == "LINEAR":
        if x <= c - Fraction(1, 2) - (w - 1) / 2:
            return 0
        if x > c - Fraction(1, 2) + (w - 1) / 2:
            return 255
        return round(((x - (c - Fraction(1, 2))) / (w - 1) + Fraction(1, 2)) * 255)
    if x <= c - w / 2:
        return 0
    return 255 if x > c + w / 2 else round(((x - c) / w + Fraction(1, 2)) * 255)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(-32768, 65535), min_size=1, max_size=30),
    st.integers(-4000, 70000).map(lambda n: n / 2),
    st.integers(1, 70000),
    st.sampled_from(["LINEAR", "LINEAR_EXACT"]),
)
def test_a_window_is_exact_to_the_last_grey_level(values, centre, width, function):
    levels = np.rint(window_levels(np.array(values, dtype=float), Window(centre, width, function)))
    assert levels.tolist() == [level(value, centre, width, function) for value in values]


def test_a_window_of_every_value_of_twelve_bits_is_exact():
    dataset = dataset_of(
        np.arange(4096, dtype=np.uint16).reshape(64, 64),
        "DX",
        WindowCenter=["2047.5", "40"],
        WindowWidth=["4095", "80"],
    )
    levels = grey_levels(dataset, np.arange(4096).reshape(64, 64), 0)
    assert levels.ravel().tolist() == [level(value, 2047.5, 4095) for value in range(4096)]
    dataset.PhotometricInterpretation = "MONOCHROME1"
    assert np.array_equal(grey_levels(dataset, np.arange(4096).reshape(64, 64), 0), 255 - levels)


def test_a_sigmoid_is_that_of_the_standard():
    values = np.linspace(-2000, 2000, 401)
    levels = window_levels(values, Window(40, 400, "SIGMOID"))
    assert levels == pytest.approx([255 / (1 + np.exp(-4 * (x - 40) / 400)) for x in values])


def test_a_voi_lut_goes_before_a_window_and_a_modality_lut_before_both():
    lut = Dataset()
    lut.LUTDescriptor = [256, 0, 12]
    lut.LUTData = (np.arange(256)[::-1] * 4095 // 255).astype("<u2").tobytes()
    lut["LUTData"].VR = "OW"
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    dataset = dataset_of(stored, "DX", WindowCenter=10, WindowWidth=2, VOILUTSequence=Items([lut]))
    assert np.array_equal(
        grey_levels(dataset, stored, 0).ravel(), np.rint(np.arange(256)[::-1] * 4095 // 255 / 4095 * 255)
    )
    vlut, mlut = (read_whole(file_of(name)) for name in ("vlut_04", "mlut_18"))
    [(one, _)], [(other, _)] = stored_frames(vlut, [0]), stored_frames(mlut, [0])
    # Two renditions of the same test pattern.
    assert np.abs(grey_levels(vlut, one, 0).astype(int) - grey_levels(mlut, other, 0).astype(int)).mean() < 2


@settings(max_examples=50, deadline=None)
@given(st.floats(-100, 100).filter(lambda x: abs(x) > 1e-3), st.floats(-5000, 5000), st.integers(0, 4095))
def test_a_rescale_is_a_product_and_a_sum(slope, intercept, stored):
    dataset = dataset_of(np.zeros((4, 4), np.int16), "CT")
    dataset.RescaleSlope, dataset.RescaleIntercept = f"{slope:.6g}", f"{intercept:.6g}"
    values = modality_values(dataset, np.full((2, 2), stored), 0)
    assert values == pytest.approx(stored * float(f"{slope:.6g}") + float(f"{intercept:.6g}"))


def test_depths_without_a_window_are_stretched_eight_bits_stay_and_padding_is_black():
    deep = radiograph().astype(np.uint16)
    levels = grey_levels(dataset_of(deep, "CR"), deep, 0)
    low, high = np.quantile(deep, [0.005, 0.995])
    assert np.array_equal(levels, np.rint(np.clip((deep - low) / (high - low) * 255, 0, 255)).astype(np.uint8))
    shallow = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(grey_levels(dataset_of(shallow, "US"), shallow, 0), shallow)
    padded = dataset_of(
        deep, "CR", PixelPaddingValue=0, PixelPaddingRangeLimit=100, PhotometricInterpretation="MONOCHROME1"
    )
    deep[:5] = 50
    assert (grey_levels(padded, deep, 0)[:5] == 0).all()


def test_the_chest_radiograph_is_inverted_and_keeps_its_depth():
    dataset = read_whole(OF_THE_DATA / "RG1_UNCR.dcm")
    [(stored, _)] = stored_frames(dataset, [0])
    levels = grey_levels(dataset, stored, 0)
    assert levels.shape == (1955, 1841) and len(np.unique(levels)) > 200
    assert np.corrcoef(levels.ravel()[::97].astype(float), stored.ravel()[::97].astype(float))[0, 1] < -0.9


def test_a_codestream_of_another_size_is_refused_before_it_is_decoded():
    dataset = read_whole(file_of("MR_small_jp2klossless"))
    stream = bytearray(pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1))
    assert codestream_size(bytes(stream)) == (64, 64)
    stream[8:16] = (60000).to_bytes(4, "big") * 2
    dataset.PixelData = encapsulate([bytes(stream)])
    assert dataset.file_meta.TransferSyntaxUID == JPEG2000Lossless
    with pytest.raises(BadPixels, match="60000 × 60000 pixels, the header of 64 × 64"):
        list(stored_frames(dataset, [0]))
    for name, size in (("SC_rgb_jpeg", (256, 256)), ("JPEG-LL", (1024, 256)), ("JPEGLSNearLossless_16", (50, 10))):
        encoded = read_whole(file_of(name))
        assert codestream_size(pydicom.encaps.get_frame(encoded.PixelData, 0, number_of_frames=1)) == size


@pytest.mark.parametrize(("slope", "intercept"), [("0", "0"), ("nan", "0"), ("1", "inf")])
def test_a_rescale_that_gives_no_values_is_refused(slope, intercept):
    dataset = dataset_of(np.zeros((4, 4), np.int16), "CT")
    dataset.add_new("RescaleIntercept", "FD", float(intercept))
    dataset.add_new("RescaleSlope", "FD", float(slope))
    with pytest.raises(BadDicom, match="give no values"):
        modality_values(dataset, np.zeros((4, 4)), 0)


@pytest.mark.parametrize(
    ("width", "function"), [(0, "LINEAR"), (float("nan"), "LINEAR"), (100, "CUBIC"), (0, "SIGMOID")]
)
def test_a_window_that_shows_nothing_is_refused(width, function):
    dataset = dataset_of(np.zeros((4, 4), np.uint16), "DX", VOILUTFunction=function)
    dataset.add_new("WindowCenter", "FD", 10.0)
    dataset.add_new("WindowWidth", "FD", float(width))
    with pytest.raises(BadDicom, match="window"):
        grey_levels(dataset, np.zeros((4, 4), np.uint16), 0)
