"""What conversion knows of each image: how it became 8 bits and one frame, what it looks like, where it is again."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import PIL.Image
import pytest

from tests.data.roots import converted, png, row, write_subset
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.images import BadImage, decode, decode_image, image_bytes, open_image, portable_image
from workflow_scripts.data.auditing.facts import audit_findings
from workflow_scripts.data.auditing.near_duplicates import NEAR, Look, near_duplicates
from workflow_scripts.data.case_groups import pixels_of
from workflow_scripts.data.conversion.probes import difference_hashes, grid_of, probe_images
from workflow_scripts.data.split import split_rows

TRAINING, EVALUATED = Split(dataset="d", folder="training"), Split(dataset="d", folder="validation-public")


def encoded(values, form="PNG", **save) -> bytes:
    stream = io.BytesIO()
    image = values if isinstance(values, PIL.Image.Image) else PIL.Image.fromarray(np.asarray(values))
    image.save(stream, form, **save)
    return stream.getvalue()


def ramp(bits: int = 12, hot: int = 0) -> np.ndarray:
    """A ramp of 12 bits in 16, and `hot` pixels of the greatest value."""
    values = np.linspace(100, 2**bits - 1, 64 * 64).reshape(64, 64).astype(np.uint16)
    values.flat[:hot] = 65535
    return values


def photograph(seed: int, side: int = 256) -> PIL.Image.Image:
    """Shapes of all sizes, as an image of its own for each seed."""
    rng, image = np.random.default_rng(seed), np.zeros((side, side, 3))
    for size in (4, 8, 16):
        coarse = PIL.Image.fromarray(rng.integers(0, 255, (size, size, 3), dtype=np.uint8))
        image += np.asarray(coarse.resize((side, side), PIL.Image.Resampling.BICUBIC)) / size
    return PIL.Image.fromarray((image / image.max() * 255).astype(np.uint8))


def probe(root, path, deep="percentile"):
    (probed,) = probe_images(root, [path], deep)
    return probed


@pytest.mark.parametrize(("together", "limit"), [(1, 2**20), (3, 2**20), (16, 1), (5, 5000)])
def test_images_that_are_read_together_give_what_each_gives_alone(tmp_path, monkeypatch, together, limit):
    images = [encoded(photograph(seed, 16 + 9 * seed)) for seed in range(8)]
    images += [encoded(ramp()), images[0][:200], b"", encoded(np.zeros((300, 5), np.uint8))]
    paths = [f"{place}.png" for place in range(len(images))] + ["missing.png"]
    for path, data in zip(paths, images, strict=False):
        (tmp_path / path).write_bytes(data)
    alone = [probe(tmp_path, path, "range") for path in paths]
    for name, value in (("TOGETHER", together), ("BYTES", limit), ("PIXELS", limit)):
        monkeypatch.setattr(f"workflow_scripts.data.conversion.probes.{name}", value)
    assert probe_images(tmp_path, paths, "range") == alone
    assert [probed.facts is None for probed in alone] == [9 <= place <= 10 or place == 12 for place in range(13)]


def findings_of(result):
    return audit_findings(result.rows, result.quarantine, result.images)


def two_folders(place, training, evaluated, **policies):
    """A dataset of one image in training and one in validation, converted."""
    write_subset(place / "root", [row("imagesTr/a.png")], {"imagesTr/a.png": training})
    write_subset(place / "root", [row("imagesVal/b.png")], {"imagesVal/b.png": evaluated}, folder="validation-public")
    return converted(place / "root", place, **policies)


# ---- more than 8 bits


@pytest.mark.parametrize("hot", [1, 5])
def test_hot_pixels_do_not_darken_a_deep_image(hot):
    plain, spoiled = (decode(encoded(ramp(hot=count)), "x") for count in (0, hot))
    assert len(np.unique(np.asarray(spoiled.image)[..., 0])) > 200  # 10 grey levels by the least and the greatest value
    assert np.abs(np.asarray(plain.image).astype(int) - np.asarray(spoiled.image))[1:].max() <= 2
    assert spoiled.high < 4096 and decode(encoded(ramp(hot=hot)), "x", "range").high == 65535


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 3), (8, 8)])
def test_small_deep_images_lose_nothing_but_their_outliers(shape):
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape) * 1000
    seen = np.asarray(decode_image(encoded(values), "x"))
    assert seen.shape == (*shape, 3) and (np.diff(seen[..., 0].ravel().astype(int)) >= 0).all()
    assert seen.max() == (255 if values.size > 1 else 0)


def test_few_bright_points_on_black_are_seen():
    values = np.zeros((100, 100), dtype=np.uint16)
    values.flat[:20] = 900  # fewer than the percentiles cut off
    assert np.asarray(decode_image(encoded(values), "x")).max() == 255


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_black(odd):
    values = np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)
    values[5, 5] = odd
    seen = np.asarray(decode_image(encoded(values, "TIFF"), "x"))
    assert seen[5, 5, 0] == 0 and seen[19, 19, 0] == 255
    values[:] = odd
    assert np.asarray(decode_image(encoded(values, "TIFF"), "x")).max() == 0


def test_a_stretched_image_is_a_finding_that_says_between_what(tmp_path):
    result = two_folders(tmp_path, encoded(ramp(hot=1)), png(1))
    (finding,) = findings_of(result)
    assert (finding.kind, finding.action, finding.source_row) == ("stretched_image", "kept", 0)
    assert finding.detail == "training/Xray/ds/imagesTr/a.png: of 16 bits, 121 to 4075 are stretched to 8 bits"
    deep = next(image for image in result.images if image.path.endswith("a.png"))
    assert (deep.mode, deep.depth, deep.frames) == ("I;16", 16, 1)


def test_an_image_is_reported_once_whatever_the_number_of_its_rows(tmp_path):
    records = [row("imagesTr/a.png", f"How many of kind {i}?", i, "Counting") for i in range(5)]
    write_subset(tmp_path / "root", records, {"imagesTr/a.png": encoded(ramp())})
    assert [f.kind for f in findings_of(converted(tmp_path / "root", tmp_path))] == ["stretched_image"]


def test_a_policy_keeps_the_whole_range(tmp_path):
    data = encoded(ramp(hot=1))
    result = two_folders(tmp_path, data, png(1), deep_images="range")
    (typed,) = [each for each in result.rows if each.folder == "training"]
    (image,) = typed.images
    assert image.path == "training/Xray/ds/imagesTr/a.png#range"
    seen = open_image(tmp_path / "root", image.path)
    assert np.array_equal(np.asarray(seen), np.asarray(decode(data, "x", "range").image))
    assert seen.size == (image.width, image.height) == (64, 64)
    # what is cached by an image's hash is cached apart, and the hash follows from the bytes that are read
    plain = probe(tmp_path / "root", image.path.removesuffix("#range"))
    read = image_bytes(tmp_path / "root", image.path)
    assert image.sha256 != plain.sha256 and probe(tmp_path / "root", image.path).sha256 == image.sha256
    assert read == image_bytes(tmp_path / "root", image.path) and read.startswith(b"P5\n64 64\n255\n")
    assert portable_image(tmp_path / "root", image.path).media_type == "image/png"
    assert [f.detail.split(": ")[1] for f in findings_of(result)] == [
        "of 16 bits, 100 to 65535 are stretched to 8 bits"
    ]


def test_a_policy_of_deep_images_changes_no_other(tmp_path):
    plain = two_folders(tmp_path, png(0), png(1))
    assert two_folders(tmp_path, png(0), png(1), deep_images="range").rows == plain.rows


def deep_colours() -> bytes:
    """A PNG of 16 bits a colour, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    line = b"\0" + np.arange(8 * 3, dtype=">u2").tobytes()
    header = struct.pack(">IIBBBBB", 8, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(line * 4)) + chunk(b"IEND", b"")


def test_colours_of_16_bits_are_a_finding(tmp_path):
    result = two_folders(tmp_path, deep_colours(), png(1))
    (finding,) = findings_of(result)
    assert finding.kind == "deep_colours" and finding.detail.endswith(
        "a.png: of 16 bits a colour, the upper 8 are used"
    )


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP", "PNG"])
def test_of_several_frames_the_first_is_used_and_that_is_a_finding(tmp_path, form):
    frames = [photograph(seed, 32) for seed in range(3)]
    data = encoded(
        frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {})
    )
    result = two_folders(tmp_path, data, png(1))
    (finding,) = findings_of(result)
    assert finding.kind == "first_frame" and finding.detail.endswith("a.png: the first of 3 frames is used")
    if form != "GIF":
        assert np.array_equal(
            np.asarray(open_image(tmp_path / "root", result.rows[0].images[0].path)), np.asarray(frames[0])
        )


def test_a_damaged_later_frame_costs_no_row(tmp_path):
    frames = [photograph(seed, 32) for seed in range(3)]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    result = two_folders(tmp_path, data[: len(data) * 2 // 3], png(1))
    assert len(result.rows) == 2 and [f.kind for f in findings_of(result)] == ["first_frame"]


# ---- one image twice


def with_text(data: bytes, text: bytes) -> bytes:
    """The same PNG with a text chunk after its header."""
    chunk = b"tEXtnote\0" + text
    return data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


@pytest.mark.parametrize("form", ["text", "bmp", "zip"])
def test_files_of_equal_pixels_are_one_image(tmp_path, form):
    other = encoded(PIL.Image.open(io.BytesIO(png(0))), "BMP") if form == "bmp" else with_text(png(0), b"scanner 2")
    root = tmp_path / "root"
    write_subset(
        root, [row("imagesTr/a.png"), row("imagesTr/c.png")], {"imagesTr/a.png": png(0), "imagesTr/c.png": png(5)}
    )
    write_subset(
        root, [row("imagesTr/b.png")], {"imagesTr/b.png": other}, folder="validation-public", zipped=form == "zip"
    )
    result = converted(root, tmp_path)
    training = [each for each in result.rows if each.folder == "training"]
    evaluated = [each for each in result.rows if each.folder != "training"]
    assert training[0].images[0].sha256 != evaluated[0].images[0].sha256
    rest, left_out = split_rows(result.rows, TRAINING, evaluated, pixels_of(result.images))
    assert [entry.reason for entry in left_out] == ["leaked_image"] and rest == training[1:]
    assert [(f.kind, f.uid) for f in findings_of(result)] == [("leaked_image", training[0].uid)]


def test_rows_on_equal_pixels_are_duplicates_and_contradictions(tmp_path):
    images = {f"imagesTr/{name}.png": with_text(png(0), name.encode()) for name in "abc"}
    images |= {f"imagesTr/{name}.png": with_text(png(1), name.encode()) for name in "de"}
    answers = {"a": "A", "b": "A", "c": "A", "d": "A", "e": "B"}
    write_subset(tmp_path / "root", [row(f"imagesTr/{name}.png", answer=a) for name, a in answers.items()], images)
    assert {place: reason for (_, place), reason in converted(tmp_path / "root", tmp_path).reasons.items()} == {
        1: "duplicate", 2: "duplicate", 3: "contradiction", 4: "contradiction",
    }  # fmt: skip


def test_deep_images_of_equal_values_are_one_under_any_policy(tmp_path):
    values = ramp()
    (tmp_path / "a.png").write_bytes(encoded(values))
    (tmp_path / "b.tif").write_bytes(encoded(values, "TIFF"))
    hashes = {
        probe(tmp_path, name, deep).facts.pixel_sha256
        for name in ("a.png", "b.tif")
        for deep in ("percentile", "range")
    }
    assert len(hashes) == 1


NEAR_ONES = {
    "jpeg": lambda image: PIL.Image.open(io.BytesIO(encoded(image, "JPEG", quality=60))),
    "half its size": lambda image: image.resize((128, 128)),
    "brighter": lambda image: image.point(lambda value: min(255, value * 1.1 + 5)),
    "cropped": lambda image: image.crop((4, 4, 252, 252)),
}


@pytest.mark.parametrize("change", NEAR_ONES)
def test_an_image_that_looks_the_same_in_an_evaluated_folder_is_a_finding(tmp_path, change):
    result = two_folders(tmp_path, encoded(NEAR_ONES[change](photograph(1))), encoded(photograph(1)))
    (finding,) = findings_of(result)
    assert (finding.kind, finding.action, finding.folder) == ("near_duplicate", "kept", "training")
    assert "imagesTr/a.png looks like" in finding.detail and "imagesVal/b.png of validation-public" in finding.detail
    rest, left_out = split_rows(result.rows, TRAINING, [], pixels_of(result.images))
    assert len(rest) == 1 and left_out == []


def test_different_images_are_no_finding(tmp_path):
    root = tmp_path / "root"
    for start, folder in ((0, "training"), (100, "validation-public")):
        images = {f"images/{i}.png": encoded(photograph(i, 64)) for i in range(start, start + 60)}
        write_subset(root, [row(name) for name in images], images, folder=folder)
    assert findings_of(converted(root, tmp_path)) == []


def test_flat_images_look_like_nothing(tmp_path):
    assert difference_hashes([grid_of(PIL.Image.new("RGB", (64, 64), "grey"))]) == [("", "")]
    assert difference_hashes([]) == []
    black, nearly = encoded(np.zeros((64, 64), np.uint8)), encoded(np.eye(64, dtype=np.uint8) * 3)
    assert findings_of(two_folders(tmp_path, black, nearly)) == []


def test_near_images_are_those_that_comparing_all_pairs_finds():
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (300, 320), dtype=np.uint8)
    for place in range(200, 260):  # later ones like earlier ones but for a few bits
        bits[place] = bits[place - 200]
        bits[place, rng.choice(320, rng.integers(0, 30), replace=False)] ^= 1
    orders = [0] * 150 + [1] * 50 + [2] * 100
    looks = [
        Look(np.packbits(line[:64]).tobytes().hex(), np.packbits(line[64:]).tobytes().hex(), order)
        for line, order in zip(bits, orders, strict=True)
    ]
    expected = {}
    for one, line in enumerate(bits):
        for other, against in enumerate(bits):
            coarse, fine = (int((line[part] ^ against[part]).sum()) for part in (slice(64), slice(64, None)))
            if orders[other] > orders[one] and coarse <= NEAR and fine <= 32:
                expected[one] = min(expected.get(one, (999, 0)), (fine, other))
    assert len(expected) > 30
    assert {pair.one: (pair.bits, pair.other) for pair in near_duplicates(looks)} == expected
    assert near_duplicates([]) == []


# ---- formats


EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
newpath 0 0 moveto 10 10 lineto stroke
showpage
%%EOF
"""
WATCHING = """
import sys
from pathlib import Path
started = []
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn")
sys.addaudithook(lambda event, args: started.append(event) if event in STARTS else None)
from workflow_scripts.data.conversion.probes import probe_images
print(probe_images(Path(sys.argv[1]), ["a.png"])[0].fault, started)
"""


@pytest.mark.parametrize(
    "data", [EPS, b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 30, len(EPS)) + bytes(18) + EPS], ids=["text", "binary"]
)
def test_an_eps_that_is_called_png_starts_no_process(tmp_path, data):
    (tmp_path / "a.png").write_bytes(data)
    done = subprocess.run([sys.executable, "-c", WATCHING, tmp_path], capture_output=True, text=True)
    assert done.stdout == "a.png is not a readable image: its format is not known []\n", done.stderr
    write_subset(tmp_path / "root", [row("imagesTr/a.png")], {"imagesTr/a.png": data})
    assert set(converted(tmp_path / "root", tmp_path).reasons.values()) == {"unreadable_image"}


@pytest.mark.parametrize("form", ["EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "DDS", "ICNS", "IM", "MSP", "XBM"])
def test_formats_that_are_not_named_are_not_opened(form):
    image = PIL.Image.new("1" if form in ("MSP", "XBM") else "RGB", (32, 32), 1)
    with pytest.raises(BadImage, match="its format is not known"):
        decode_image(encoded(image, form), "x")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "JPEG2000", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_named_formats_are_opened(form):
    assert decode_image(encoded(PIL.Image.new("RGB", (32, 32), "red"), form), "x").size == (32, 32)


def test_folders_that_another_decoder_read_are_converted_anew(monkeypatch):
    from tests.data.roots import Policies
    from workflow_scripts.data import convert as step

    before = step._key([], {}, [], Policies())
    monkeypatch.setattr(step, "DECODERS", step.DECODERS | {"pillow": "99"})
    assert step._key([], {}, [], Policies()) != before
