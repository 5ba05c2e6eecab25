"""Images that are made squares: what `image: {size: N, pad: true}` of a model does before the family's own preparation.

Padding is black and centres the image; of an odd number of pixels, the extra one goes to the right or below. So do the
notebooks of MedGemma before they ask for boxes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel

from workflow_scripts.core.saliency.grids import TokenGrid
from workflow_scripts.models.families.family import Chat, Family, Size

RESAMPLING = Image.Resampling.LANCZOS
"""Lanczos over the whole image, sides independently, as the evaluation of FLARE25-MedGemma does it."""


def squared(image: Image.Image, side: int | None, pad: bool) -> Image.Image:
    """An RGB image as a square: padded, or else stretched, to `side` pixels; None: to its own longer side."""
    if pad and image.width != image.height:
        longer = max(image.size)
        square = Image.new(image.mode, (longer, longer))
        square.paste(image, ((longer - image.width) // 2, (longer - image.height) // 2))
        image = square
    return image if side is None else image.resize((side, side), RESAMPLING)


def shown_size(size: Size, side: int | None, pad: bool = False) -> Size:
    """Width and height of an image as the family sees it: its own, or those of the square."""
    if side is not None:
        return side, side
    return (max(size), max(size)) if pad else size


def in_original(grid: TokenGrid, size: Size, side: int | None, pad: bool) -> TokenGrid:
    """A grid over the square that `squared` makes of an image of `size`, in pixels of that image: its inverse."""
    before = (max(size), max(size)) if pad else size
    left, top = ((square - own) // 2 for square, own in zip(before, size, strict=True))
    across, down = (own / shown for own, shown in zip(before, shown_size(size, side, pad), strict=True))
    return grid._replace(
        x1=grid.x1 * across - left, y1=grid.y1 * down - top, x2=grid.x2 * across - left, y2=grid.y2 * down - top
    )


class _Squared(Family):
    """Put before a family's class: each image is made a square first, and its size is that of the square."""

    side: int | None
    pad: bool
    plain: Family

    def __reduce__(self) -> tuple:
        return with_squares, (self.plain, self.side, self.pad)

    def _squares(self, sizes: Sequence[Size]) -> list[Size]:
        return [shown_size(size, self.side, self.pad) for size in sizes]

    def pixels(self, processor: Any, image: Image.Image) -> torch.Tensor:
        return self.plain.pixels(processor, squared(image, self.side, self.pad))

    def levels(self, processor: Any, image: Image.Image) -> torch.Tensor:
        return self.plain.levels(processor, squared(image, self.side, self.pad))

    def image_tokens(self, processor: Any, size: Size) -> int:
        return self.plain.image_tokens(processor, shown_size(size, self.side, self.pad))

    def token_grids(self, processor: Any, size: Size) -> list[TokenGrid] | None:
        grids = self.plain.token_grids(processor, shown_size(size, self.side, self.pad))
        return None if grids is None else [in_original(grid, size, self.side, self.pad) for grid in grids]

    def prompt_ids(self, processor: Any, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        return self.plain.prompt_ids(processor, chat, self._squares(sizes))

    def bos_place(self, processor: Any, sizes: Sequence[Size]) -> int | None:
        return self.plain.bos_place(processor, self._squares(sizes))

    def text_inputs(
        self,
        processor: Any,
        ids: torch.Tensor,
        mask: torch.Tensor,
        sizes: Sequence[Sequence[Size]],
        prompt_lengths: Sequence[int] | None = None,
    ) -> dict[str, torch.Tensor]:
        return self.plain.text_inputs(processor, ids, mask, [self._squares(row) for row in sizes], prompt_lengths)

    def pixel_inputs(self, processor: Any, pixels: torch.Tensor, sizes: Sequence[Size]) -> dict[str, Any]:
        return self.plain.pixel_inputs(processor, pixels, self._squares(sizes))

    def features(
        self, model: PreTrainedModel, processor: Any, pixels: torch.Tensor, sizes: Sequence[Size]
    ) -> torch.Tensor:
        return self.plain.features(model, processor, pixels, self._squares(sizes))

    def encoder_outputs(
        self, model: PreTrainedModel, processor: Any, features: torch.Tensor, sizes: Sequence[Size]
    ) -> dict[str, Any]:
        return self.plain.encoder_outputs(model, processor, features, self._squares(sizes))

    def check_images(self, processor: Any, sizes: Sequence[Size]) -> str | None:
        return self.plain.check_images(processor, self._squares(sizes))


def with_squares(family: Family, side: int | None, pad: bool = False) -> Family:
    """`family`, with every image made a square first, see `squared`; the same family where nothing is to be done.

    Features, training and answers all go through the family, so that none of them can see another image.
    """
    if side is None and not pad:
        return family
    before: Family = type(type(family).__name__, (_Squared, type(family)), {})()
    before.__dict__.update(family.__dict__, side=side, pad=pad, plain=family)
    return before
