"""Pixels given as levels and looked up on the device are those of the library's preparation, bit for bit."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Gemma3ImageProcessorPil, SiglipImageProcessorPil

from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.images.size import with_squares


class Processor:
    """What families ask a processor for here."""

    def __init__(self, image_processor):
        self.image_processor = image_processor


def noise(width, height, seed=0):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def looked_up(family, processor, image):
    """Values of an image's levels, (1, channels, height, width)."""
    levels, values = family.levels(processor, image), family.values_of_levels(processor)
    assert levels.dtype == torch.uint8 and levels.is_contiguous()
    return torch.stack([values[channel][levels[..., channel].long()] for channel in range(3)], 1)


SIZES = [(112, 96), (300, 200), (56, 640), (1, 1), (897, 31), (1024, 1024)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mean", [0.5, (0.48, 0.45, 0.4)])
def test_levels_of_gemma3_are_its_pixels(size, mean):
    changed = {"image_mean": mean, "image_std": (0.3, 0.5, 0.2)} if isinstance(mean, tuple) else {}
    processor = Processor(Gemma3ImageProcessorPil(size={"height": 112, "width": 112}, do_pan_and_scan=None, **changed))
    family, image = load_family("gemma3"), noise(*size)
    assert torch.equal(looked_up(family, processor, image), family.pixels(processor, image))


@pytest.mark.parametrize("size", SIZES)
def test_levels_of_paligemma2_are_its_pixels(size):
    processor = Processor(SiglipImageProcessorPil(size={"height": 224, "width": 224}))
    family, image = load_family("paligemma2"), noise(*size)
    assert torch.equal(looked_up(family, processor, image), family.pixels(processor, image))


@pytest.mark.parametrize(("side", "pad"), [(64, False), (None, True), (100, True)])
def test_images_are_made_squares_before(side, pad):
    processor = Processor(Gemma3ImageProcessorPil(size={"height": 112, "width": 112}))
    family, image = with_squares(load_family("gemma3"), side, pad), noise(90, 40)
    assert torch.equal(looked_up(family, processor, image), family.pixels(processor, image))
