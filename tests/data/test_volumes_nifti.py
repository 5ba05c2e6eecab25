"""NIfTI files as volumes: whatever way their axes go, a volume is what a DICOM series shows."""

import gzip
import itertools
import struct

import nibabel
import numpy as np
import pytest

from tests.data.phantom import phantom, write_nifti
from workflow_scripts.data.volumes.nifti import BadVolume, read_nifti
from workflow_scripts.data.volumes.sampling import sampled_places

VALUES = phantom(12, 14, 16)
ORIENTATIONS = [
    "".join(code) for axes in itertools.permutations(("RL", "AP", "SI")) for code in itertools.product(*axes)
]


def test_the_phantom_has_no_symmetry():
    assert not any(
        np.array_equal(VALUES, np.flip(VALUES, axes)) for n in (1, 2, 3) for axes in itertools.combinations(range(3), n)
    )
    assert len({plane.tobytes() for plane in VALUES}) == len(VALUES)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_order_and_direction_of_axes_gives_the_slices_of_the_series(tmp_path, orientation):
    volume = read_nifti(write_nifti(tmp_path / "v.nii", VALUES, orientation))
    assert np.array_equal(volume.values, VALUES)
    assert volume.count == 12


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "PSR"])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz", "V.NII.GZ"])
def test_sampled_slices_are_those_of_the_whole_volume(tmp_path, orientation, name):
    file = write_nifti(tmp_path / name, VALUES, orientation)
    assert np.array_equal(read_nifti(file, most=5).values, VALUES[sampled_places(12, 5)])


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_slope_and_intercept_are_applied(tmp_path, kind):
    values = (np.arange(12 * 14 * 16).reshape(VALUES.shape) % 250).astype(kind)
    file = write_nifti(tmp_path / "v.nii.gz", values * np.array(2, kind) % 250, slope=0.5, intercept=-1024.0)
    assert nibabel.load(file).dataobj.slope == 0.5
    stored = np.asarray(nibabel.load(file).dataobj.get_unscaled(), dtype=float).transpose(2, 1, 0)[::-1, ::-1, ::-1]
    assert np.array_equal(read_nifti(file).values, (stored * 0.5 - 1024).astype(np.float32))


def test_hounsfield_units_survive_a_stored_offset(tmp_path):
    shifted = write_nifti(tmp_path / "v.nii", VALUES, slope=1.0, intercept=-1024.0)
    assert np.array_equal(read_nifti(shifted).values, VALUES)
    assert nibabel.load(shifted).dataobj.get_unscaled().min() >= 0


def test_a_table_may_say_the_rescale_that_the_header_does_not(tmp_path):
    file = write_nifti(tmp_path / "v.nii", (VALUES + 1024).astype(np.int16))
    assert np.array_equal(read_nifti(file, slope=1, intercept=-1024).values, VALUES)


def test_the_other_byte_order_is_read(tmp_path):
    image = nibabel.load(write_nifti(tmp_path / "v.nii", VALUES))
    swapped = nibabel.Nifti1Image(image.dataobj.get_unscaled(), image.affine, image.header.as_byteswapped())
    nibabel.save(swapped, tmp_path / "swapped.nii")
    assert (tmp_path / "swapped.nii").read_bytes()[:4] != (tmp_path / "v.nii").read_bytes()[:4]
    assert np.array_equal(read_nifti(tmp_path / "swapped.nii").values, VALUES)


def test_nifti_2_is_read(tmp_path):
    image = nibabel.load(write_nifti(tmp_path / "v.nii", VALUES))
    nibabel.save(nibabel.Nifti2Image(np.asarray(image.dataobj), image.affine), tmp_path / "two.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "two.nii.gz").values, VALUES)


def test_a_slight_tilt_stays_as_it_is(tmp_path):
    angle = np.radians(20)
    file = tilted(tmp_path, angle)
    assert np.array_equal(read_nifti(file).values, VALUES)


def tilted(folder, angle):
    """The phantom with the head tilted forward, as by a gantry."""
    image = nibabel.load(write_nifti(folder / "v.nii", VALUES))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine), folder / "tilted.nii")
    return folder / "tilted.nii"


@pytest.fixture
def series(tmp_path):
    """One volume of several time points."""
    image = nibabel.load(write_nifti(tmp_path / "v.nii", VALUES))
    stack = np.stack([np.asarray(image.dataobj), np.asarray(image.dataobj)[::-1]], axis=-1)
    nibabel.save(nibabel.Nifti1Image(stack, image.affine), tmp_path / "series.nii.gz")
    return tmp_path / "series.nii.gz"


def test_of_several_volumes_the_named_one_is_read(series):
    assert np.array_equal(read_nifti(series, frame=0).values, VALUES)
    assert np.array_equal(read_nifti(series, frame=1).values, VALUES[:, :, ::-1])


def test_a_fourth_axis_of_one_is_none(tmp_path):
    image = nibabel.load(write_nifti(tmp_path / "v.nii", VALUES, "PSR"))
    nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj)[..., None], image.affine), tmp_path / "w.nii")
    assert np.array_equal(read_nifti(tmp_path / "w.nii").values, VALUES)


@pytest.mark.parametrize(("frame", "said"), [(None, "it holds 2 volumes"), (2, "it has no volume 2")])
def test_several_volumes_without_a_choice_are_refused(series, frame, said):
    with pytest.raises(BadVolume, match=said) as refusal:
        read_nifti(series, frame=frame)
    assert refusal.value.reason == "unreadable_volume"


def edited(path, **fields):
    """A copy of a NIfTI file with other header fields, written byte by byte."""
    places = {"sform_code": (254, "h"), "qform_code": (252, "h"), "dim": (40, "8h"), "scl_inter": (116, "f")}
    places |= {"scl_slope": (112, "f"), "datatype": (70, "h"), "srow_x": (280, "4f"), "quatern_b": (256, "f")}
    places |= {"vox_offset": (108, "f"), "magic": (344, "4s"), "sizeof_hdr": (0, "i"), "bitpix": (72, "h")}
    data = bytearray(path.read_bytes())
    for field, value in fields.items():
        offset, form = places[field]
        packed = struct.pack(f"<{form}", *(value if isinstance(value, tuple) else (value,)))
        data[offset : offset + len(packed)] = packed
    target = path.with_name("edited.nii")
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("fields", "reason", "said"),
    [
        ({"sform_code": 0, "qform_code": 0}, "unknown_orientation", "does not say which way left is"),
        ({"qform_code": 1, "quatern_b": 1.0}, "unknown_orientation", "contradicts itself"),
        ({"srow_x": (0.0, 0.0, 0.0, 0.0), "qform_code": 0}, "unknown_orientation", "no three directions"),
        ({"srow_x": (float("nan"), 0.0, 0.0, 0.0), "qform_code": 0}, "unknown_orientation", "no three directions"),
        ({"dim": (3, 16, 14, 32_000, 1, 1, 1, 1)}, "unreadable_volume", "cannot be read"),
        ({"dim": (3, 32_000, 32_000, 32_000, 1, 1, 1, 1)}, "unreadable_volume", "bytes, of"),
        ({"dim": (3, 16, -14, 12, 1, 1, 1, 1)}, "unreadable_volume", None),
        ({"dim": (3, 16, 14, 0, 1, 1, 1, 1)}, "unreadable_volume", None),
        ({"dim": (2, 16, 14, 12, 1, 1, 1, 1)}, "unreadable_volume", "expected three axes"),
        ({"dim": (0, 0, 0, 0, 0, 0, 0, 0)}, "unreadable_volume", None),
        ({"datatype": 128, "bitpix": 24}, "unreadable_volume", "expected numbers"),
        ({"datatype": 32, "bitpix": 64}, "unreadable_volume", "expected numbers"),
        ({"datatype": 7777}, "unreadable_volume", "cannot be read"),
        ({"scl_slope": 1.0, "scl_inter": float("inf")}, "unreadable_volume", "intercept"),
        ({"vox_offset": 1e9}, "unreadable_volume", "cannot be read"),
        ({"magic": b"abcd", "sizeof_hdr": 7}, "unreadable_volume", "cannot be read"),
    ],
)
def test_a_wrong_header_is_refused_with_a_reason(tmp_path, fields, reason, said):
    file = edited(write_nifti(tmp_path / "v.nii", VALUES), **fields)
    with pytest.raises(BadVolume, match=said) as refusal:
        read_nifti(file)
    assert refusal.value.reason == reason
    assert str(tmp_path) not in str(refusal.value)


def test_a_steep_tilt_is_refused(tmp_path):
    with pytest.raises(BadVolume, match="40 degrees off"):
        read_nifti(tilted(tmp_path, np.radians(40)))


@pytest.mark.parametrize("orientation", ["RAS", "PSR"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_cut_anywhere_is_refused(tmp_path, orientation, packed):
    data = write_nifti(tmp_path / ("v.nii.gz" if packed else "v.nii"), VALUES, orientation).read_bytes()
    file = tmp_path / ("cut.nii.gz" if packed else "cut.nii")
    for length in (0, 1, 100, 347, 352, len(data) // 2, len(data) - 9):
        file.write_bytes(data[:length])
        with pytest.raises(BadVolume) as refusal:
            read_nifti(file)
        assert refusal.value.reason == "unreadable_volume"


@pytest.mark.parametrize(
    "data", [b"no volume", b"\x1f\x8b\x08", gzip.compress(b"no volume" * 100, mtime=0), b"\x00" * 400]
)
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_what_is_no_nifti_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadVolume) as refusal:
        read_nifti(tmp_path / name)
    assert refusal.value.reason == "unreadable_volume"


def test_damage_inside_a_packed_file_is_seen_by_its_checksum(tmp_path):
    data = bytearray(write_nifti(tmp_path / "v.nii.gz", VALUES).read_bytes())
    file = tmp_path / "d.nii.gz"
    for place in range(200, len(data), len(data) // 40):
        file.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(BadVolume):
            read_nifti(file)


def test_random_damage_is_refused_or_read_and_nothing_else(tmp_path):
    data = bytearray(write_nifti(tmp_path / "v.nii", VALUES).read_bytes())
    random = np.random.default_rng(0)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(200):
        damaged = bytearray(data)
        for place in random.integers(0, 352, 6):
            damaged[place] = random.integers(0, 256)
        (tmp_path / "d.nii").write_bytes(damaged)
        try:
            read_nifti(tmp_path / "d.nii", frame=0)
            outcomes["read"] += 1
        except BadVolume:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 5
