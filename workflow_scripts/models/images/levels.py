"""Pixels as levels 0 to 255, before a family's preparation scales them: a quarter of the bytes, the same values.

What the preparation makes of each level is looked up in a table that the preparation itself wrote.
"""

from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_backends import PilBackend

EVERY_LEVEL = Image.fromarray(np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, 2))
"""An RGB image of one row that holds each level once."""


def levels_of(image_processor: Any, image: Image.Image, **options: Any) -> torch.Tensor:
    """An RGB image resized as the processor does it, to its one size: (1, height, width, channels), uint8.

    The library's processors on Pillow resize by way of arrays and back, which takes longer than the resizing itself.
    Here Pillow does it directly, to the same pixels; processors on torchvision are called.

    Args:
        options: of the processor's call.
    """
    size = image_processor.size
    if isinstance(image_processor, PilBackend) and image_processor.do_resize and size.height and size.width:
        resized = image.resize((size.width, size.height), image_processor.resample)
        return torch.from_numpy(np.array(resized)[None])
    given = image_processor([image], return_tensors="pt", do_rescale=False, do_normalize=False, **options)
    return given["pixel_values"].permute(0, 2, 3, 1).contiguous()


def values_of_levels(image_processor: Any, **options: Any) -> torch.Tensor:
    """What the processor makes of each level of each channel: (channels, 256), float32."""
    given = image_processor([EVERY_LEVEL], return_tensors="pt", do_resize=False, **options)
    return given["pixel_values"][0, :, 0]
