"""The Qwen-VL families (Qwen2.5-VL and Qwen3-VL): images of their own size, positions of three axes.

An image is resized to multiples of a patch times the merge size, within bounds of pixels, and takes a token for each
merged block of patches. A text token's position counts on one axis; an image's tokens have a place in time, row and
column, and the text after it goes on behind the larger side (`get_rope_index`). Qwen3-VL adds features of earlier
vision layers to the first language layers: they lie beside the last layer's along the width of what is stored.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2VLImageProcessorPil,
    Qwen3VLForConditionalGeneration,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.models.qwen3_vl.modeling_qwen3_vl import BaseModelOutputWithDeepstackFeatures

from workflow_scripts.core.saliency.grids import TokenGrid, whole_image
from workflow_scripts.models.families.family import Chat, Family, Size
from workflow_scripts.models.markup import chat_ids


class QwenProcessor:
    """Tokenizer and image preparation; the library's own processor wants a video processor, which needs torchvision."""

    image_token = "<|image_pad|>"

    def __init__(self, tokenizer: PreTrainedTokenizerBase, image_processor: Qwen2VLImageProcessorPil) -> None:
        self.tokenizer, self.image_processor = tokenizer, image_processor
        self.image_token_id: int = tokenizer.convert_tokens_to_ids(self.image_token)

    def save_pretrained(self, folder: Path) -> None:
        """Write the files of both."""
        self.tokenizer.save_pretrained(folder)
        self.image_processor.save_pretrained(folder)


class QwenVL(Family):
    """What the generations share: ChatML without a BOS, merged patches, three axes of positions."""

    keep_unquantised = ("model.visual", "lm_head")
    fixed_size = False
    stores_features = False

    def load_processor(self, folder: Path) -> QwenProcessor:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        images = Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return QwenProcessor(tokenizer, images)

    def image_token_id(self, processor: QwenProcessor) -> int:
        return processor.image_token_id

    def grid(self, processor: QwenProcessor, size: Size) -> tuple[int, int]:
        """Rows and columns of patches of an image of this size, once it is resized."""
        images = processor.image_processor
        height, width = smart_resize(
            size[1],
            size[0],
            factor=images.patch_size * images.merge_size,
            min_pixels=images.size["shortest_edge"],
            max_pixels=images.size["longest_edge"],
        )
        return height // images.patch_size, width // images.patch_size

    def image_tokens(self, processor: QwenProcessor, size: Size) -> int:
        rows, columns = self.grid(processor, size)
        return rows * columns // processor.image_processor.merge_size**2

    def token_grids(self, processor: QwenProcessor, size: Size) -> list[TokenGrid]:
        rows, columns = (side // processor.image_processor.merge_size for side in self.grid(processor, size))
        return [whole_image(rows, columns, size)]

    def bos_place(self, processor: QwenProcessor, sizes: Sequence[Size]) -> None:
        return None

    def end_of_answer(self, processor: QwenProcessor) -> str:
        return "<|im_end|>"

    def prompt_ids(self, processor: QwenProcessor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        token = processor.image_token

        def write(chat: Chat) -> str:
            text = processor.tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, tokenize=False, enable_thinking=False
            )
            first, *rest = text.split(token)
            expanded = (token * self.image_tokens(processor, size) for size in sizes)
            return first + "".join(image + part for image, part in zip(expanded, rest, strict=True))

        return chat_ids(processor.tokenizer, chat, write)

    def text_inputs(self, processor, ids, mask, sizes, prompt_lengths=None) -> dict[str, torch.Tensor]:
        """Positions (rows, tokens, 3) in time, row and column; 0 where there is padding."""
        positions = torch.zeros(*ids.shape, 3, dtype=torch.long)
        merge = processor.image_processor.merge_size
        starts, lengths = mask.argmax(1).tolist(), mask.sum(1).tolist()
        images = (ids == self.image_token_id(processor)).tolist()
        for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
            place, position = start, 0
            for size in sizes[row]:
                first = images[row].index(True, place)
                rows, columns = (side // merge for side in self.grid(processor, size))
                before = first - place
                positions[row, place:first] = torch.arange(position, position + before)[:, None]
                position += before
                block = positions[row, first : first + rows * columns].view(rows, columns, 3)
                block[..., 0] = position
                block[..., 1] = position + torch.arange(rows)[:, None]
                block[..., 2] = position + torch.arange(columns)
                place, position = first + rows * columns, position + max(rows, columns)
            end = start + length
            positions[row, place:end] = torch.arange(position, position + end - place)[:, None]
        return {"positions": positions.to(ids.device)}

    def grids(self, processor: QwenProcessor, sizes: Sequence[Size], device: torch.device) -> torch.Tensor:
        """`image_grid_thw` of images: (images, 3)."""
        return torch.tensor([(1, *self.grid(processor, size)) for size in sizes], device=device)

    def pixels(self, processor: QwenProcessor, image: Image.Image) -> torch.Tensor:
        return processor.image_processor([image], return_tensors="pt")["pixel_values"]

    def pixel_inputs(self, processor: QwenProcessor, pixels: torch.Tensor, sizes: Sequence[Size]) -> dict[str, Any]:
        return {"pixel_values": pixels, "image_grid_thw": self.grids(processor, sizes, pixels.device)}

    def vision_tower(self, model: PreTrainedModel) -> torch.nn.Module:
        return model.model.visual

    def feature_width(self, config: Any) -> int:
        levels = getattr(config.vision_config, "deepstack_visual_indexes", ())
        return config.vision_config.out_hidden_size * (1 + len(levels))

    def features(self, model: PreTrainedModel, processor, pixels, sizes) -> torch.Tensor:
        out = model.model.visual(pixels, grid_thw=self.grids(processor, sizes, pixels.device), return_dict=True)
        return torch.cat([out.pooler_output, *getattr(out, "deepstack_features", ())], dim=-1)

    def encoder_outputs(self, model: PreTrainedModel, processor, features, sizes) -> dict[str, Any]:
        merged, *levels = features.split(model.config.vision_config.out_hidden_size, dim=-1)
        outputs = BaseModelOutputWithDeepstackFeatures(
            pooler_output=[merged], deepstack_features=[[level] for level in levels]
        )
        return {"mm_encoder_outputs": {"image": outputs}}


class Qwen3VL(QwenVL):
    """Boxes in thousandths of the image's sides; features of several vision layers."""

    model_class = Qwen3VLForConditionalGeneration


FAMILY = Qwen3VL()
