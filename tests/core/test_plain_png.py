"""PNGs of 8-bit grey or RGB have a decoder of their own: nothing but the time tells that it was not Pillow."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo

from workflow_scripts.core import images
from workflow_scripts.core.images import BadImage, decode
from workflow_scripts.data.conversion.probes import pixel_hash

ORIENTATION = 0x0112
QUARTER_TURN = 6


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def written(pixels: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()


def with_chunk(data: bytes, added: bytes, before: bytes) -> bytes:
    """`data` with the chunk `added` in front of its first chunk `before`."""
    place = data.index(before) - 4
    return data[:place] + added + data[place:]


def outcome(data: bytes) -> tuple:
    """All that a step learns from the bytes."""
    try:
        decoded = decode(data, "image.png")
    except BadImage as error:
        return ("bad", str(error))
    return (
        decoded.image.mode,
        decoded.image.size,
        decoded.image.tobytes(),
        pixel_hash(decoded),
        decoded.mode,
        decoded.depth,
        decoded.frames,
    )


def pillows_outcome(data: bytes) -> tuple:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "_plain_png", lambda _: None)
        return outcome(data)


@pytest.fixture
def decoded_by_rust(monkeypatch):
    """Sizes that the decoder was asked for."""
    sizes: list[tuple[int, int]] = []
    original = images.decode_image_png_u8
    monkeypatch.setattr(images, "decode_image_png_u8", lambda *given: sizes.append(given[1]) or original(*given))
    return sizes


def image(height: int = 6, width: int = 9, seed: int = 0, colours: bool = True) -> np.ndarray:
    shape = (height, width, 3) if colours else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


arrays = st.builds(image, st.integers(1, 40), st.integers(1, 40), st.integers(0, 99), st.booleans())


@given(arrays, st.integers(0, 9), st.booleans(), st.booleans())
def test_pixels_and_facts_are_pillows(pixels, level, optimise, smooth):
    if smooth:  # other filters of rows are chosen
        pixels = pixels // 64 + np.arange(pixels.shape[1], dtype=np.uint8).reshape(1, -1, *[1] * (pixels.ndim - 2))
    data = written(pixels, compress_level=level, optimize=optimise)
    assert images._plain_png(data) is not None
    assert outcome(data) == pillows_outcome(data)


@given(arrays, st.data())
def test_damaged_bytes_have_pillows_verdict_in_pillows_words(pixels, draw):
    data = bytearray(written(pixels))
    for _ in range(draw.draw(st.integers(1, 3))):
        place = draw.draw(st.integers(0, len(data) - 1))
        match draw.draw(st.sampled_from(["cut", "change", "insert", "remove"])):
            case "cut":
                del data[max(place, 1) :]
            case "change":
                data[place] = draw.draw(st.integers(0, 255))
            case "insert":
                data[place:place] = draw.draw(st.binary(max_size=8))
            case "remove":
                del data[place : place + 3]
        data = data or bytearray(b"\x89")
    assert outcome(bytes(data)) == pillows_outcome(bytes(data))


@given(arrays, st.data())
def test_chunks_with_true_checksums_in_any_order_have_pillows_verdict(pixels, draw):
    data, parts, place = written(pixels), [], 8
    while place < len(data):
        length = struct.unpack_from(">I", data, place)[0]
        parts.append((data[place + 4 : place + 8], data[place + 8 : place + 8 + length]))
        place += 12 + length
    body = b"".join(body for kind, body in parts if kind == b"IDAT")
    cut = draw.draw(st.integers(0, len(body)))
    pieces = [(b"IHDR", parts[0][1]), (b"IDAT", body[:cut]), (b"IDAT", body[cut:]), (b"IEND", b"")]
    added = st.sampled_from([(b"tEXt", b"Software\0x"), (b"tEXt", b""), pieces[0], pieces[-1]])
    pieces.insert(draw.draw(st.integers(0, 4)), draw.draw(added))
    shuffled = draw.draw(st.booleans())
    order = draw.draw(st.permutations(pieces)) if shuffled else pieces
    joined = data[:8] + b"".join(chunk(kind, body) for kind, body in order)
    assert outcome(joined) == pillows_outcome(joined)


def test_data_after_the_last_row_cost_no_image():
    """Pillow refuses some such files, depending on how its buffer was filled."""
    data = written(image())
    assert outcome(with_chunk(data, chunk(b"IDAT", b"more than there is to read"), b"IEND")) == outcome(data)


@pytest.mark.parametrize(
    "header", [b"gAMA" + struct.pack(">I", 45455), b"pHYs" + struct.pack(">2IB", 2835, 2835, 1), b"tEXtSoftware\0x"]
)
def test_what_changes_no_pixel_keeps_the_decoder(decoded_by_rust, header):
    data = with_chunk(written(image()), chunk(header[:4], header[4:]), b"IDAT")
    assert outcome(data) == pillows_outcome(data)
    assert decoded_by_rust == [(6, 9)]


def turned() -> bytes:
    exif = PIL.Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    return exif.tobytes().removeprefix(b"Exif\0\0")


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a tiff:Orientation="6"/></x:xmpmeta>'
PROFILE = b"\nexif\n%8d\n" + (b"Exif\0\0" + turned()).hex().encode()


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    "added",
    [
        (b"eXIf", turned()),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        (b"tEXt", b"XML:com.adobe.xmp\0" + XMP),
        (b"tEXt", b"Raw profile type exif\0" + PROFILE % (len(turned()) + 6)),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(PROFILE % (len(turned()) + 6))),
    ],
    ids=["EXIF", "XMP", "XMP as plain text", "raw profile", "packed raw profile"],
)
def test_what_turns_an_image_is_heeded_wherever_it_stands(decoded_by_rust, added, before):
    data = with_chunk(written(image()), chunk(*added), before)
    assert outcome(data) == pillows_outcome(data)
    assert not decoded_by_rust
    if before == b"IDAT":
        assert decode(data, "image.png").image.size == (6, 9)  # (width, height): turned


@pytest.mark.parametrize("colours", [True, False])
@pytest.mark.parametrize("keyword", [b"exif", b"xmp", b"interlace", b"transparency"])
def test_text_that_pillow_takes_for_its_own_has_pillows_verdict(keyword, colours):
    data = with_chunk(written(image(colours=colours)), chunk(b"tEXt", keyword + b"\0x"), b"IDAT")
    assert outcome(data) == pillows_outcome(data)


def test_other_kinds_of_png_are_pillows(decoded_by_rust):
    colours = PIL.Image.fromarray(image())
    info = PngInfo()
    info.add_itxt("Comment", "x")
    for mode in ("RGBA", "LA", "P", "1"):
        stream = io.BytesIO()
        colours.convert(mode).save(stream, "PNG")
        assert outcome(stream.getvalue()) == pillows_outcome(stream.getvalue())
    for data in (
        written(image().astype(np.uint16)[:, :, 0] * 257),
        written(image(), transparency=(0, 0, 0)),
        written(image(), icc_profile=b"profile"),
        written(image(), pnginfo=info),
    ):
        assert outcome(data) == pillows_outcome(data)
    stream = io.BytesIO()
    colours.save(stream, "PNG", save_all=True, append_images=[PIL.Image.fromarray(image(seed=1))])
    assert outcome(stream.getvalue())[-1] == 2
    one = written(image(1, 1))  # of one pixel, both orders of rows are the same bytes
    woven = one[:8] + chunk(b"IHDR", one[16:28] + b"\x01") + one[33:]
    assert outcome(woven) == pillows_outcome(woven) == outcome(one)
    assert decoded_by_rust == [(1, 1)]  # of `one` alone


def test_a_bomb_is_refused_before_memory_is_asked_for(decoded_by_rust):
    small = written(image())
    header = struct.pack(">2I5B", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    assert outcome(small[:8] + chunk(b"IHDR", header) + small[33:])[0] == "bad"
    assert not decoded_by_rust
