"""The InternVL family (InternVL3 in the library's layout, `-hf`): tiles of 448 pixels, 256 tokens each.

An image is squeezed onto the grid of 1 to 12 tiles whose sides are most like its own, and seen once more as one tile
(`GotOcr2ImageProcessor`). Features are stored as the projector gives them to the language model: a fixed product, whose
output is smaller than the tower's.
"""

from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoImageProcessor,
    AutoTokenizer,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

from workflow_scripts.core.saliency.grids import TokenGrid, tile_grids
from workflow_scripts.models.families.family import Chat, Family, Size
from workflow_scripts.models.markup import chat_ids

TILED = {"crop_to_patches": True}
"""The processor's own default, which the preparation of images by itself does not have."""


class ImageTextProcessor(InternVLProcessor):
    """The library's processor without its part for videos, which needs torchvision."""

    @classmethod
    def get_attributes(cls) -> list[str]:
        return ["image_processor", "tokenizer"]


class InternVL(Family):
    """ChatML without BOS; the language model is Qwen2.5."""

    model_class = InternVLForConditionalGeneration
    keep_unquantised = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
    fixed_size = False

    def load_processor(self, folder: Path) -> InternVLProcessor:
        """Tokenizer, image preparation and chat template of a checkpoint."""
        settings, _ = InternVLProcessor.get_processor_dict(folder, local_files_only=True)
        images = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        template = settings.get("chat_template") or tokenizer.chat_template
        return ImageTextProcessor(
            images, tokenizer, image_seq_length=settings["image_seq_length"], chat_template=template
        )

    def image_token_id(self, processor: InternVLProcessor) -> int:
        return processor.image_token_id

    def image_tokens(self, processor: InternVLProcessor, size: Size) -> int:
        return self._tiles(processor, size) * processor.image_seq_length

    def token_grids(self, processor: InternVLProcessor, size: Size) -> list[TokenGrid]:
        """The tiles row by row, and the image as one tile where there are several."""
        images, side = processor.image_processor, isqrt(processor.image_seq_length)
        tile = (images.size["height"], images.size["width"])
        bounds = images.min_patches, images.max_patches
        columns, rows = get_optimal_tiled_canvas((size[1], size[0]), tile, *bounds)
        whole = tile_grids(1, 1, side, size)
        return whole if rows * columns == 1 else [*tile_grids(rows, columns, side, size), *whole]

    def _tiles(self, processor: InternVLProcessor, size: Size) -> int:
        width, height = size
        tiles: int = processor.image_processor.get_number_of_image_patches(height, width, TILED)
        return tiles

    def bos_place(self, processor: InternVLProcessor, sizes: Sequence[Size]) -> int | None:
        return None

    def end_of_answer(self, processor: InternVLProcessor) -> str:
        return "<|im_end|>"

    def prompt_ids(self, processor: InternVLProcessor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        start, end, token = processor.start_image_token, processor.end_image_token, processor.image_token
        shown = [f"{start}{token * self.image_tokens(processor, size)}{end}" for size in sizes]

        def write(chat: Chat) -> str:
            text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            before, *after = text.split(token)
            return before + "".join(image + part for image, part in zip(shown, after, strict=True))

        return chat_ids(processor.tokenizer, chat, write)

    def pixels(self, processor: InternVLProcessor, image: Image.Image) -> torch.Tensor:
        """The tiles of the grid row by row, and the image as one tile: (tiles, 3, side, side)."""
        return processor.image_processor([image], return_tensors="pt", **TILED)["pixel_values"]

    def feature_width(self, config: InternVLConfig) -> int:
        return config.text_config.hidden_size

    def features(self, model: InternVLForConditionalGeneration, processor, pixels, sizes) -> torch.Tensor:
        return model.model.get_image_features(pixels, return_dict=True).pooler_output.flatten(0, 1)

    def encoder_outputs(self, model: InternVLForConditionalGeneration, processor, features, sizes) -> dict[str, Any]:
        tiled = features.view(-1, processor.image_seq_length, features.shape[-1])
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=tiled)}}


FAMILY = InternVL()
