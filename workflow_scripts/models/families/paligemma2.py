"""The PaliGemma 2 family: a prefix of images and text, read in both directions, and the answer as its suffix.

A row is `<image>` tokens, BOS, the prefix text, a line feed, the answer, EOS (`PaliGemmaProcessor`); there is no
chat template. The vision tower's patches go one by one through a linear projector. Features are precomputed up to
the projector: half the width of its output or less, lossless, and the projection is one product.
"""

from collections.abc import Sequence
from math import isqrt

import torch
from PIL import Image
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.core.saliency.grids import TokenGrid, whole_image
from workflow_scripts.models.families.family import Chat, Family, Size
from workflow_scripts.models.images.levels import levels_of, values_of_levels
from workflow_scripts.models.markup import chat_ids


class PaliGemma2(Family):
    """An image is squashed to a square; each of its patches is a token."""

    model_class = PaliGemmaForConditionalGeneration
    keep_unquantised = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
    first_position = 1
    fused_tower = True

    def image_token_id(self, processor: PaliGemmaProcessor) -> int:
        return processor.image_token_id

    def image_tokens(self, processor: PaliGemmaProcessor, size: Size) -> int:
        return processor.image_seq_length

    def token_grids(self, processor: PaliGemmaProcessor, size: Size) -> list[TokenGrid]:
        side = isqrt(self.image_tokens(processor, size))
        return [whole_image(side, side, size)]

    def bos_place(self, processor: PaliGemmaProcessor, sizes: Sequence[Size]) -> int:
        return sum(self.image_tokens(processor, size) for size in sizes)

    def end_of_answer(self, processor: PaliGemmaProcessor) -> str:
        return processor.tokenizer.eos_token

    def prompt_ids(self, processor: PaliGemmaProcessor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        """Image tokens, one BOS, the turns' texts a line each."""

        def write(chat: Chat) -> str:
            content = [part for turn in chat for part in turn["content"]]
            texts = [part["text"] for part in content if part["type"] == "text"]
            images = processor.image_token * processor.image_seq_length * (len(content) - len(texts))
            return images + processor.tokenizer.bos_token + "\n".join(texts) + "\n"

        return chat_ids(processor.tokenizer, chat, write)

    def text_inputs(self, processor, ids, mask, sizes, prompt_lengths=None) -> dict[str, torch.Tensor]:
        """Token types: 0 on the prefix, whose tokens attend to each other in both directions; 1 on the causal suffix.

        With `prompt_lengths`, padding stands on the right and counts as suffix: no prefix looks ahead at it.
        """
        if prompt_lengths is None:
            return {"token_type_ids": torch.zeros_like(ids)}
        places = torch.arange(ids.shape[1], device=ids.device)
        return {"token_type_ids": (places >= torch.tensor(prompt_lengths, device=ids.device)[:, None]).long()}

    def pixels(self, processor: PaliGemmaProcessor, image: Image.Image) -> torch.Tensor:
        return processor.image_processor([image], return_tensors="pt")["pixel_values"]

    def levels(self, processor: PaliGemmaProcessor, image: Image.Image) -> torch.Tensor:
        return levels_of(processor.image_processor, image)

    def values_of_levels(self, processor: PaliGemmaProcessor) -> torch.Tensor:
        return values_of_levels(processor.image_processor)

    def feature_width(self, config: PaliGemmaConfig) -> int:
        return config.vision_config.hidden_size

    def features(self, model: PaliGemmaForConditionalGeneration, processor, pixels, sizes) -> torch.Tensor:
        return model.model.vision_tower(pixel_values=pixels, return_dict=True).last_hidden_state.flatten(0, 1)

    def encoder_outputs(self, model: PaliGemmaForConditionalGeneration, processor, features, sizes) -> dict:
        patches = features.view(len(sizes), -1, features.shape[-1])
        projected = model.model.multi_modal_projector(patches)
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=projected)}}


FAMILY = PaliGemma2()
