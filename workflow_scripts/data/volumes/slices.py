"""The slices of a volume as images of a question."""

import io

import numpy as np
import numpy.typing as npt
import PIL.Image

from workflow_scripts.core.files import sha256_of
from workflow_scripts.data.sources.record import SourceImage
from workflow_scripts.data.volumes.volume import Volume
from workflow_scripts.data.volumes.windows import PRESETS, grey_windows, windowed

GREY = "grey"
"""Name of the windows that follow from the volume's own values."""


def slice_images(volume: Volume, windows: str, name: str) -> tuple[SourceImage, ...]:
    """The slices as PNGs `NAME/001.png` …, with the roles `slice 1`, `slice 2`, … in their order.

    As in MedGemma's notebook a slice's number is its place among those that are shown. PNG is lossless; the notebook
    sends JPEG.

    Args:
        windows: a name of `PRESETS`, or `grey`.
        name: folder of the images, below the subset's folder.
    """
    chosen = grey_windows(volume.values) if windows == GREY else PRESETS[windows]
    images = []
    for number, values in enumerate(volume.values, 1):
        data = _png(windowed(values, chosen))
        images.append(
            SourceImage(f"{name}/{number:03d}.png", data=data, role=f"slice {number}", sha256=sha256_of(data))
        )
    return tuple(images)


def _png(colours: npt.NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(colours).save(stream, "PNG", compress_level=3)
    return stream.getvalue()
