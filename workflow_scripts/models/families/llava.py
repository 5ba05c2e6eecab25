"""The LLaVA family: LLaVA 1.5, and LLaVA-Med 1.5 once it is converted (`models.convert`).

An image is padded to a square with the tower's mean colour; the patches of CLIP's last layer but one go through a
projector of two layers. Features are stored before the projector: a quarter of the width of its output.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.core.saliency.grids import TokenGrid
from workflow_scripts.models.families.family import Chat, Family, Size
from workflow_scripts.models.markup import chat_ids


class Llava(Family):
    """576 tokens an image of 336 × 336 pixels; the checkpoint's own chat template, or LLaVA-Med's words."""

    model_class = LlavaForConditionalGeneration
    keep_unquantised = ("model.vision_tower", "model.multi_modal_projector", "lm_head")

    def load_processor(self, folder: Path) -> LlavaProcessor:
        """The checkpoint's processor; what it must know of the tower is taken from the model's configuration.

        Published processors lack the patch size, or do not count the class token.
        """
        processor = super().load_processor(folder)
        config = LlavaConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        processor.patch_size = config.vision_config.patch_size
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
        processor.num_additional_image_tokens = int(config.vision_config.model_type == "clip_vision_model")
        processor.tokenizer.padding_side = "left"
        return processor

    # prompts

    def image_token_id(self, processor: LlavaProcessor) -> int:
        return processor.image_token_id

    def image_tokens(self, processor: LlavaProcessor, size: Size) -> int:
        side = side_of(processor) // processor.patch_size
        first = processor.vision_feature_select_strategy == "default"
        return side**2 + processor.num_additional_image_tokens - first

    def token_grids(self, processor: LlavaProcessor, size: Size) -> list[TokenGrid] | None:
        """Patches of the square around the image; None where the class token is one of the image's tokens."""
        side, (width, height) = side_of(processor) // processor.patch_size, size
        if self.image_tokens(processor, size) != side**2:
            return None
        longer = max(size)
        left, top = (longer - width) // 2, (longer - height) // 2
        return [TokenGrid(side, side, -left, -top, longer - left, longer - top)]

    def bos_place(self, processor: LlavaProcessor, sizes: Sequence[Size]) -> int | None:
        return 0 if processor.tokenizer.bos_token_id in processor.tokenizer("")["input_ids"] else None

    def end_of_answer(self, processor: LlavaProcessor) -> str:
        return processor.tokenizer.eos_token

    def prompt_ids(self, processor: LlavaProcessor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        tokens = processor.image_token * (self.image_tokens(processor, sizes[0]) if sizes else 0)

        def write(chat: Chat) -> str:
            if processor.chat_template is None:
                text = instruction(chat, processor.image_token, processor.tokenizer.eos_token)
            else:
                text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            return text.replace(processor.image_token, tokens) if tokens else text

        bos = processor.tokenizer.bos_token
        return chat_ids(processor.tokenizer, chat, write, opened=bos is not None and write(chat).startswith(bos))

    # images

    def pixels(self, processor: LlavaProcessor, image: Image.Image) -> torch.Tensor:
        padded = square(image, processor.image_processor.image_mean)
        return processor.image_processor([padded], return_tensors="pt")["pixel_values"]

    def feature_width(self, config: LlavaConfig) -> int:
        return config.vision_config.hidden_size * len(layers_of(config))

    def features(self, model: LlavaForConditionalGeneration, processor, pixels, sizes) -> torch.Tensor:
        config = model.config
        hidden = model.model.vision_tower(pixels, output_hidden_states=True, return_dict=True).hidden_states
        first = int(config.vision_feature_select_strategy == "default")  # the class token's row is left out
        return torch.cat([hidden[layer][:, first:] for layer in layers_of(config)], dim=-1).flatten(0, 1)

    def encoder_outputs(self, model: LlavaForConditionalGeneration, processor, features, sizes) -> dict[str, Any]:
        patches = features.view(len(sizes), -1, features.shape[-1])
        projected = model.model.multi_modal_projector(patches)
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=list(projected))}}


def layers_of(config: LlavaConfig) -> list[int]:
    """The tower's layers whose outputs the projector reads."""
    layers = config.vision_feature_layer
    return [layers] if isinstance(layers, int) else list(layers)


def side_of(processor: LlavaProcessor) -> int:
    """Pixels of a side of what the tower sees."""
    size = processor.image_processor.crop_size or processor.image_processor.size
    return size["height"]


def square(image: Image.Image, mean: Sequence[float]) -> Image.Image:
    """The image in the middle of a square, the rest of it in the mean colour (of values from 0 to 1)."""
    width, height = image.size
    side = max(width, height)
    whole = Image.new("RGB", (side, side), tuple(int(255 * value) for value in mean))
    whole.paste(image, ((side - width) // 2, (side - height) // 2))
    return whole


def instruction(chat: Chat, image_token: str, end: str) -> str:
    """LLaVA-Med 1.5's conversation: `[INST] <image>\\n{question} [/INST]`, as Mistral's instructions are marked.

    A system turn stands between `<<SYS>>` marks at the beginning of the first instruction, as in Llama 2's chats; the
    model was trained without one.
    """
    text, system = "", ""
    for turn in chat:
        parts = [{"type": "text", "text": turn["content"]}] if isinstance(turn["content"], str) else turn["content"]
        words = "".join(f"{image_token}\n" if part["type"] == "image" else part["text"] for part in parts)
        if turn["role"] == "system":
            system = f"<<SYS>>\n{words}\n<</SYS>>\n\n"
        elif turn["role"] == "user":
            text += f"[INST] {system}{words} [/INST]"
            system = ""
        else:
            text += f" {words} {end}"
    return text


FAMILY = Llava()
