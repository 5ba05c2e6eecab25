"""The Idefics3 family (Idefics3, SmolVLM, SmolVLM2): an image is a grid of tiles, and once more one tile as a whole.

An image is scaled to a longest side and up to whole tiles (`Idefics3ImageProcessor`). The tokens of each tile, 64 in
SmolVLM2, follow a mark of its row and column; each row ends in a line feed, and the whole image comes last. Features
are stored as the connector gives them to the language model: a fixed product, whose output is a fifth of the tower's.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedModel,
    SmolVLMForConditionalGeneration,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.core.saliency.grids import TokenGrid, tile_grids
from workflow_scripts.models.families.family import Chat, Family, Size, language_targets
from workflow_scripts.models.markup import chat_ids

LONGEST = 4096
"""Pixels of the longest side that the preparation of images makes."""
CLASSES = {"idefics3": Idefics3ForConditionalGeneration, "smolvlm": SmolVLMForConditionalGeneration}


class Idefics3(Family):
    """The text half has the names of Llama's."""

    model_class = Idefics3ForConditionalGeneration
    keep_unquantised = ("model.vision_model", "model.connector", "lm_head")
    lora_targets = language_targets("text_model")
    fixed_size = False

    def load_processor(self, folder: Path) -> Idefics3Processor:
        """Tokenizer and image preparation alone: SmolVLM2's own processor would ask for packages that decode video."""
        settings, _ = Idefics3Processor.get_processor_dict(folder, local_files_only=True)
        images = AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        template = settings.get("chat_template") or tokenizer.chat_template
        return Idefics3Processor(images, tokenizer, settings["image_seq_len"], chat_template=template)

    def load_model(self, folder: Path, **options: Any) -> PreTrainedModel:
        """The network of a checkpoint of either class.

        Raises:
            ValueError: the checkpoint is of another class.
        """
        kind = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).model_type
        if kind not in CLASSES:
            raise ValueError(f"its model_type is {kind}, expected {' or '.join(CLASSES)}; set another family")
        return CLASSES[kind].from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, **options
        )

    def image_token_id(self, processor: Idefics3Processor) -> int:
        return processor.image_token_id

    def image_tokens(self, processor: Idefics3Processor, size: Size) -> int:
        rows, columns = tiles(processor, size)
        return (rows * columns + 1) * processor.image_seq_len

    def token_grids(self, processor: Idefics3Processor, size: Size) -> list[TokenGrid]:
        """The tiles row by row, and the image as one tile: each is stretched, none is padded."""
        side = math.isqrt(processor.image_seq_len)
        rows, columns = tiles(processor, size)
        return [*(tile_grids(rows, columns, side, size) if rows else ()), *tile_grids(1, 1, side, size)]

    def bos_place(self, processor: Idefics3Processor, sizes: Sequence[Size]) -> int | None:
        """At the beginning, where the chat template writes it."""
        return None if processor.tokenizer.bos_token is None else 0

    def end_of_answer(self, processor: Idefics3Processor) -> str:
        return processor.end_of_utterance_token

    def prompt_ids(self, processor: Idefics3Processor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        shown = [image_text(processor, *tiles(processor, size)) for size in sizes]

        def write(chat: Chat) -> str:
            text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            before, *after = text.split(processor.image_token)
            return before + "".join(image + part for image, part in zip(shown, after, strict=True))

        return chat_ids(processor.tokenizer, chat, write)

    def pixels(self, processor: Idefics3Processor, image: Image.Image) -> torch.Tensor:
        """The tiles of the grid row by row, and the image as one tile: (tiles, 3, side, side)."""
        return processor.image_processor([[image]], return_tensors="pt")["pixel_values"][0]

    def pixel_inputs(self, processor: Idefics3Processor, pixels: torch.Tensor, sizes: Sequence[Size]) -> dict[str, Any]:
        return {"pixel_values": pixels[None]}

    def vision_tower(self, model: PreTrainedModel) -> torch.nn.Module:
        return model.model.vision_model

    def feature_width(self, config: Idefics3Config) -> int:
        return config.text_config.hidden_size

    def features(self, model: PreTrainedModel, processor, pixels, sizes) -> torch.Tensor:
        outputs = model.model.get_image_features(pixels[None], return_dict=True)
        return torch.cat(list(outputs.pooler_output))

    def encoder_outputs(self, model: PreTrainedModel, processor, features, sizes) -> dict[str, Any]:
        tokens = [self.image_tokens(processor, size) for size in sizes]
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=list(features.split(tokens)))}}


FAMILY = Idefics3()


def tiles(processor: Idefics3Processor, size: Size) -> tuple[int, int]:
    """Rows and columns of the tiles that an image of `size` = (width, height) is cut into; (0, 0) for one tile alone.

    Source: `Idefics3ImageProcessor`, whose steps round one after the other.
    """
    preparation = processor.image_processor
    side = preparation.max_image_size["longest_edge"]
    if not preparation.do_image_splitting:
        return 0, 0
    width, height = _scaled(preparation, size) if preparation.do_resize else size
    ratio = width / height
    if width >= height:
        width = _whole_tiles(width, side)
        height = _whole_tiles(int(width / ratio), side)
    else:
        height = _whole_tiles(height, side)
        width = _whole_tiles(int(height * ratio), side)
    return (height // side, width // side) if height > side or width > side else (0, 0)


def _scaled(preparation: Any, size: Size) -> Size:
    """Width and height of an image once its longest side is as the preparation says."""
    longest = preparation.size.get("longest_edge")
    if not longest:
        return preparation.size["width"], preparation.size["height"]
    width, height = size
    ratio = width / height
    if width >= height:
        width, height = longest, int(longest / ratio)
        height += height % 2
    else:
        width, height = int(longest * ratio), longest
        width += width % 2
    width, height = max(width, 1), max(height, 1)
    ratio = width / height
    if width >= height and width > LONGEST:
        width, height = LONGEST, int(LONGEST / ratio)
    elif height > LONGEST:
        width, height = int(LONGEST * ratio), LONGEST
    return max(width, 1), max(height, 1)


def _whole_tiles(length: int, side: int) -> int:
    return math.ceil(length / side) * side


def image_text(processor: Idefics3Processor, rows: int, columns: int) -> str:
    """The text that stands for an image of so many tiles in a prompt."""
    mark, tokens = processor.fake_image_token, processor.image_token * processor.image_seq_len
    grid = [
        "".join(f"{mark}<row_{row + 1}_col_{column + 1}>{tokens}" for column in range(columns)) + "\n"
        for row in range(rows)
    ]
    whole = f"{mark}{processor.global_image_tag}{tokens}{mark}"
    return "".join([*grid, "\n", whole]) if grid else whole
