"""Images of one stated size: what `image: {size: N}` of a model does before the family's own preparation."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from transformers import PreTrainedModel

from workflow_scripts.models.families.family import Chat, Family, Size

RESAMPLING = Image.Resampling.LANCZOS
"""Lanczos over the whole image, sides independently, as the evaluation of FLARE25-MedGemma does it."""


def resized(image: Image.Image, side: int) -> Image.Image:
    """`image` as a square of `side` pixels; its aspect ratio is not kept."""
    return image.resize((side, side), RESAMPLING)


def shown_size(size: Size, side: int | None) -> Size:
    """Width and height of an image as the family sees it: its own, or those of the square."""
    return size if side is None else (side, side)


class _Squared(Family):
    """Put before a family's class: each image is resized first, and its size is that of the square."""

    side: int
    plain: Family

    def __reduce__(self) -> tuple:
        return with_image_size, (self.plain, self.side)

    def _squares(self, sizes: Sequence[Size]) -> list[Size]:
        return [shown_size(size, self.side) for size in sizes]

    def pixels(self, processor: Any, image: Image.Image) -> torch.Tensor:
        return self.plain.pixels(processor, resized(image, self.side))

    def image_tokens(self, processor: Any, size: Size) -> int:
        return self.plain.image_tokens(processor, shown_size(size, self.side))

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


def with_image_size(family: Family, side: int | None) -> Family:
    """`family`, with every image resized to a square of `side` pixels first; the same family where it is None.

    Features, training and answers all go through the family, so that none of them can see another image.
    """
    if side is None:
        return family
    squared = type(type(family).__name__, (_Squared, type(family)), {})()
    squared.__dict__.update(family.__dict__, side=side, plain=family)
    return squared
