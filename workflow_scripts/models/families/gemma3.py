"""The Gemma 3 family (MedGemma 1 and 1.5, and the toy model): tokens, input for precomputed features, adapter targets.

The vision tower's patch grid is average-pooled to the image tokens, normed and projected into the language model
(`Gemma3MultiModalProjector`). Features are precomputed up to the pooling: what is stored is lossless and 2.2 times
smaller than the projector's output, and the projection is one small product.
"""

from collections.abc import Sequence

import torch
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.models.markup import chat_ids, text_ids

MODEL = Gemma3ForConditionalGeneration

KEEP_UNQUANTISED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]

_PROJECTIONS = "q_proj|k_proj|v_proj|o_proj"
LORA_TARGETS = {
    "language": rf".*language_model.*\.({_PROJECTIONS}|gate_proj|up_proj|down_proj)",
    "attention": rf".*language_model.*\.({_PROJECTIONS})",
    "all-linear": "all-linear",
}

END_OF_TURN = "<end_of_turn>"

FIRST_POSITION = 0
"""Position of a prompt's first token."""


def image_token_id(processor: Gemma3Processor) -> int:
    """The token that stands where an image's features go."""
    return processor.tokenizer.image_token_id


def image_tokens(config: Gemma3Config) -> int:
    """Image tokens, and rows of pooled features, of one image."""
    return config.mm_tokens_per_image


def vision_width(config: Gemma3Config) -> int:
    """Values of one row of pooled features."""
    return config.vision_config.hidden_size


def bos_place(config: Gemma3Config, images: int) -> int:
    """Where the one BOS stands in the prompt of a row with `images` images, counted from 0."""
    return 0


def end_of_answer(processor: Gemma3Processor) -> str:
    """The text that closes an answer in training and ends generation."""
    return END_OF_TURN


def prompt_ids(processor: Gemma3Processor, chat: list[dict]) -> list[int]:
    """Token ids of `chat` up to where the model's answer begins, image tokens expanded, one BOS."""

    def write(chat: list[dict]) -> str:
        text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        return text.replace(processor.boi_token, processor.full_image_sequence)

    return chat_ids(processor.tokenizer, chat, write)


def answer_ids(processor: Gemma3Processor, answer: str) -> list[int]:
    """Token ids of an answer and the end of the model's turn."""
    return text_ids(processor.tokenizer, answer, end_of_answer(processor))


def token_types(
    processor: Gemma3Processor, ids: torch.Tensor, prompt_lengths: Sequence[int] | None = None
) -> torch.Tensor:
    """1 where `ids` is an image token: those attend to each other in both directions.

    Args:
        ids: (rows, tokens).
        prompt_lengths: tokens before each row's answer, which make no difference to this family.
    """
    return (ids == image_token_id(processor)).long()


def pixels(processor: Gemma3Processor, images: list) -> torch.Tensor:
    """RGB images as the tower takes them: (images, 3, side, side), float32."""
    return processor.image_processor(images, return_tensors="pt", do_pan_and_scan=False)["pixel_values"]


def vision_tower(model: Gemma3ForConditionalGeneration) -> torch.nn.Module:
    """The network that looks at pixels."""
    return model.model.vision_tower


def pooled_features(model: Gemma3ForConditionalGeneration, pixel_values: torch.Tensor) -> torch.Tensor:
    """The vision tower's pooled output: (images, image tokens, vision width), in the tower's dtype."""
    projector = model.model.multi_modal_projector
    hidden = model.model.vision_tower(pixel_values=pixel_values, return_dict=True).last_hidden_state
    side = projector.patches_per_image
    grid = hidden.transpose(1, 2).reshape(hidden.shape[0], hidden.shape[2], side, side).contiguous()
    return projector.avg_pool(grid).flatten(2).transpose(1, 2).contiguous()


def encoder_outputs(model: Gemma3ForConditionalGeneration, pooled: torch.Tensor) -> dict:
    """Pooled features as the `mm_encoder_outputs` argument of the model's `forward` and `generate`."""
    projector = model.model.multi_modal_projector
    normed = projector.mm_soft_emb_norm(pooled)
    projected = torch.matmul(normed, projector.mm_input_projection_weight).type_as(pooled)
    return {"image": BaseModelOutputWithPooling(pooler_output=projected)}
