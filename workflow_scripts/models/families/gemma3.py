"""The Gemma 3 family (MedGemma 1 and 1.5, and the toy model): tokens, input for precomputed features, adapter targets.

The vision tower's patch grid is average-pooled to the image tokens, normed and projected into the language model
(`Gemma3MultiModalProjector`). Features are precomputed up to the pooling: what is stored is lossless and 2.2 times
smaller than the projector's output, and the projection is one small product.
"""

from collections.abc import Sequence
from math import isqrt

import torch
from PIL import Image
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.core.saliency.grids import TokenGrid, whole_image
from workflow_scripts.models.families.family import Chat, Family, Size
from workflow_scripts.models.images.levels import levels_of, values_of_levels
from workflow_scripts.models.markup import chat_ids

END_OF_TURN = "<end_of_turn>"
ONE_VIEW = {"do_pan_and_scan": False}


class Gemma3(Family):
    """One image of 896 × 896 pixels is 256 tokens; they see each other in both directions."""

    model_class = Gemma3ForConditionalGeneration
    keep_unquantised = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
    fused_tower = True

    def image_token_id(self, processor: Gemma3Processor) -> int:
        return processor.tokenizer.image_token_id

    def image_tokens(self, processor: Gemma3Processor, size: Size) -> int:
        return processor.image_seq_length

    def token_grids(self, processor: Gemma3Processor, size: Size) -> list[TokenGrid]:
        side = isqrt(self.image_tokens(processor, size))
        return [whole_image(side, side, size)]

    def end_of_answer(self, processor: Gemma3Processor) -> str:
        return END_OF_TURN

    def prompt_ids(self, processor: Gemma3Processor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        def write(chat: Chat) -> str:
            text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
            return text.replace(processor.boi_token, processor.full_image_sequence)

        return chat_ids(processor.tokenizer, chat, write)

    def text_inputs(self, processor, ids, mask, sizes, prompt_lengths=None) -> dict[str, torch.Tensor]:
        """Token types: 1 where a token is an image's."""
        return {"token_type_ids": (ids == self.image_token_id(processor)).long()}

    def pixels(self, processor: Gemma3Processor, image: Image.Image) -> torch.Tensor:
        return processor.image_processor([image], return_tensors="pt", **ONE_VIEW)["pixel_values"]

    def levels(self, processor: Gemma3Processor, image: Image.Image) -> torch.Tensor:
        return levels_of(processor.image_processor, image, **ONE_VIEW)

    def values_of_levels(self, processor: Gemma3Processor) -> torch.Tensor:
        return values_of_levels(processor.image_processor, **ONE_VIEW)

    def feature_width(self, config: Gemma3Config) -> int:
        return config.vision_config.hidden_size

    def features(self, model: Gemma3ForConditionalGeneration, processor, pixels, sizes) -> torch.Tensor:
        projector = model.model.multi_modal_projector
        hidden = model.model.vision_tower(pixel_values=pixels, return_dict=True).last_hidden_state
        side = projector.patches_per_image
        grid = hidden.transpose(1, 2).reshape(hidden.shape[0], hidden.shape[2], side, side).contiguous()
        return projector.avg_pool(grid).flatten(2).transpose(1, 2).flatten(0, 1).contiguous()

    def encoder_outputs(self, model: Gemma3ForConditionalGeneration, processor, features, sizes) -> dict:
        projector = model.model.multi_modal_projector
        pooled = features.view(len(sizes), -1, features.shape[-1])
        normed = projector.mm_soft_emb_norm(pooled)
        projected = torch.matmul(normed, projector.mm_input_projection_weight).type_as(pooled)
        return {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=projected)}}


FAMILY = Gemma3()
