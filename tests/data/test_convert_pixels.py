"""Conversion reads images as they are shown: turned, of 16 bits, with a palette; what is none costs its rows."""

import io

import numpy as np
import PIL.Image

from tests.data.roots import converted, png, row, write_subset
from workflow_scripts.core.images import open_image


def _image(mode: str, values, form: str = "PNG", **save: object) -> bytes:
    stream = io.BytesIO()
    image = PIL.Image.fromarray(np.asarray(values))
    (image if image.mode == mode else image.convert(mode)).save(stream, form, **save)
    return stream.getvalue()


def test_exif_turns_16_bits_and_palettes_are_handled(tmp_path):
    exif = PIL.Image.Exif()
    exif[274] = 6  # turn a quarter to the right
    grey16 = np.arange(16 * 12, dtype=np.uint16).reshape(12, 16) * 20  # 12 bits in 16
    colours = np.zeros((12, 16, 3), dtype=np.uint8)
    colours[:, :8] = (255, 0, 0)
    images = {
        "imagesTr/0.jpg": _image("RGB", colours, "JPEG", exif=exif, quality=95),
        "imagesTr/1.png": _image("I;16", grey16),
        "imagesTr/2.png": _image("P", colours),
    }
    write_subset(tmp_path / "root", [row(name) for name in images], images)
    result = converted(tmp_path / "root", tmp_path)
    sizes = [(r.images[0].width, r.images[0].height) for r in result.rows]
    assert sizes == [(12, 16), (16, 12), (16, 12)]
    turned, grey, palette = (open_image(tmp_path / "root", r.images[0].path) for r in result.rows)
    assert turned.size == (12, 16)
    assert turned.getpixel((5, 1))[0] > 200 > 50 > turned.getpixel((5, 14))[0]
    assert (grey.getextrema(), grey.mode) == (((0, 255),) * 3, "RGB")
    assert palette.getpixel((0, 0)) == (255, 0, 0)


def test_an_image_that_is_none_is_quarantined(tmp_path):
    images = {"imagesTr/0.png": b"<html>404", "imagesTr/1.png": png(1)[:200]}
    write_subset(tmp_path / "root", [row(name) for name in images], images)
    assert set(converted(tmp_path / "root", tmp_path).reasons.values()) == {"unreadable_image"}
