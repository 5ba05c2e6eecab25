"""What a model's box convention depends on besides its name: padding, and the size that images are resized to."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

from workflow_scripts.core.config.models import BoxForm
from workflow_scripts.core.files import BadFile, read_json

FACTOR = 28
"""Qwen2.5-VL: sides are multiples of two patches of 14 pixels."""
LEAST, MOST = 56 * 56, 16384 * 28 * 28
"""Pixels of a resized image, as the published checkpoints of Qwen2.5-VL state them."""
OF_RESIZED_IMAGES = ("qwen2_5_vl",)
"""Conventions that count pixels of the image as the checkpoint's preparation resizes it."""
STEEPEST = 200
"""The largest ratio of the sides that Qwen's preparation of images takes."""


@dataclass(frozen=True)
class ModelBoxes:
    """How a model writes boxes."""

    convention: str
    side: int | None = None  # images are resized to a square of so many pixels before the family's own preparation
    padded: bool = False  # before that they are padded to a square, the image in its middle
    least: int = LEAST  # pixels of a resized image
    most: int = MOST
    factor: int = FACTOR


def model_boxes(form: BoxForm, folder: Path | None = None) -> ModelBoxes | None:
    """How a model writes boxes; None where it takes the dataset's form.

    Args:
        form: what the configuration says of it.
        folder: of the checkpoint, whose image preparation says how images are resized; None: as it is published.

    Raises:
        BadFile: the checkpoint's preparation of images cannot be read.
    """
    if form.convention is None:
        return None
    plain = ModelBoxes(form.convention, form.side, form.padded)
    if form.convention not in OF_RESIZED_IMAGES or folder is None:
        return plain
    least, most, factor = _bounds(folder)
    return replace(plain, least=least, most=most, factor=factor)


def _bounds(folder: Path) -> tuple[int, int, int]:
    """Least and most pixels of a resized image, and the factor of its sides, by the checkpoint's files."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            continue
        stated = read_json(folder / name)
        stated = stated.get("image_processor", stated) if isinstance(stated, dict) else stated
        if not isinstance(stated, dict):
            raise BadFile(f"{folder / name} is not an image preparation's settings; copy or download it again")
        if "patch_size" not in stated:
            continue
        size = stated.get("size") or {}
        least = stated.get("min_pixels") or size.get("shortest_edge") or LEAST
        most = stated.get("max_pixels") or size.get("longest_edge") or MOST
        factor = stated["patch_size"] * stated.get("merge_size", 2)
        if not all(isinstance(value, int) and value > 0 for value in (least, most, factor)):
            raise BadFile(f"{folder / name}: expected whole numbers of pixels for patch_size, min_pixels, max_pixels")
        return least, most, factor
    raise BadFile(f"{folder} does not say how images are resized (preprocessor_config.json); copy the checkpoint whole")


def resized_size(boxes: ModelBoxes, width: int, height: int) -> tuple[int, int]:
    """Width and height that Qwen2.5-VL resizes an image to: near multiples of `factor`, within the bounds of pixels.

    An image that is made a square first is one of the square's size.

    Source: `smart_resize` of transformers and of qwen-vl-utils.

    Raises:
        ValueError: the image is too narrow for that preparation.
    """
    if boxes.side is not None or boxes.padded:
        width = height = boxes.side or max(width, height)
    if max(width, height) > STEEPEST * min(width, height):
        raise ValueError(f"an image of {width} × {height} pixels is narrower than 1 : {STEEPEST}")
    factor = boxes.factor
    sides = [round(width / factor) * factor, round(height / factor) * factor]
    if sides[0] * sides[1] > boxes.most:
        shrink = math.sqrt(height * width / boxes.most)
        sides = [max(factor, math.floor(side / shrink / factor) * factor) for side in (width, height)]
    elif sides[0] * sides[1] < boxes.least:
        grow = math.sqrt(boxes.least / (height * width))
        sides = [math.ceil(side * grow / factor) * factor for side in (width, height)]
    return sides[0], sides[1]
