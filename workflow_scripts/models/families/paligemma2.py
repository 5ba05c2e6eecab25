"""The PaliGemma 2 family: a prefix of images and text, read in both directions, and the answer as its suffix.

A row is `<image>` tokens, BOS, the prefix text, a line feed, the answer, EOS (`PaliGemmaProcessor`); there is no
chat template. The vision tower's patches go one by one through a linear projector. Features are precomputed up to
the projector: half the width of its output or less, lossless, and the projection is one product.
"""

from collections.abc import Sequence

import torch
from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration, PaliGemmaProcessor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.models.markup import chat_ids, text_ids

MODEL = PaliGemmaForConditionalGeneration

KEEP_UNQUANTISED = ["model.vision_tower", "model.multi_modal_projector", "lm_head"]

_PROJECTIONS = "q_proj|k_proj|v_proj|o_proj"
LORA_TARGETS = {
    "language": rf".*language_model.*\.({_PROJECTIONS}|gate_proj|up_proj|down_proj)",
    "attention": rf".*language_model.*\.({_PROJECTIONS})",
    "all-linear": "all-linear",
}


FIRST_POSITION = 1
"""Position of a prompt's first token."""


def image_token_id(processor: PaliGemmaProcessor) -> int:
    """The token that stands where an image's features go."""
    return processor.image_token_id


def image_tokens(config: PaliGemmaConfig) -> int:
    """Image tokens, and rows of tower features, of one image: one a patch."""
    return (config.vision_config.image_size // config.vision_config.patch_size) ** 2


def vision_width(config: PaliGemmaConfig) -> int:
    """Values of one row of tower features."""
    return config.vision_config.hidden_size


def bos_place(config: PaliGemmaConfig, images: int) -> int:
    """Where the one BOS stands in the prompt of a row with `images` images, counted from 0."""
    return images * image_tokens(config)


def end_of_answer(processor: PaliGemmaProcessor) -> str:
    """The text that closes an answer in training and ends generation."""
    return processor.tokenizer.eos_token


def prompt_ids(processor: PaliGemmaProcessor, chat: list[dict]) -> list[int]:
    """Token ids of `chat` up to where the answer begins: image tokens, one BOS, the turns' texts a line each."""

    def write(chat: list[dict]) -> str:
        content = [part for turn in chat for part in turn["content"]]
        texts = [part["text"] for part in content if part["type"] == "text"]
        images = processor.image_token * processor.image_seq_length * (len(content) - len(texts))
        return images + processor.tokenizer.bos_token + "\n".join(texts) + "\n"

    return chat_ids(processor.tokenizer, chat, write)


def answer_ids(processor: PaliGemmaProcessor, answer: str) -> list[int]:
    """Token ids of an answer and the end of the text."""
    return text_ids(processor.tokenizer, answer, end_of_answer(processor))


def token_types(
    processor: PaliGemmaProcessor, ids: torch.Tensor, prompt_lengths: Sequence[int] | None = None
) -> torch.Tensor:
    """0 on the prefix, whose tokens attend to each other in both directions; 1 on the suffix, which is causal.

    Args:
        ids: (rows, tokens). With `prompt_lengths` they are padded on the right, and padding counts as suffix: no
            prefix looks ahead at it.
        prompt_lengths: tokens before each row's answer; None where the rows are prompts alone.
    """
    if prompt_lengths is None:
        return torch.zeros_like(ids)
    places = torch.arange(ids.shape[1], device=ids.device)
    return (places >= torch.tensor(prompt_lengths, device=ids.device)[:, None]).long()


def pixels(processor: PaliGemmaProcessor, images: list) -> torch.Tensor:
    """RGB images as the tower takes them: (images, 3, side, side), float32."""
    return processor.image_processor(images, return_tensors="pt")["pixel_values"]


def vision_tower(model: PaliGemmaForConditionalGeneration) -> torch.nn.Module:
    """The network that looks at pixels."""
    return model.model.vision_tower


def pooled_features(model: PaliGemmaForConditionalGeneration, pixel_values: torch.Tensor) -> torch.Tensor:
    """The vision tower's last hidden state, one row a patch: (images, image tokens, vision width), the tower's dtype.

    The name is that of all families: this one pools nothing.
    """
    return model.model.vision_tower(pixel_values=pixel_values, return_dict=True).last_hidden_state


def encoder_outputs(model: PaliGemmaForConditionalGeneration, pooled: torch.Tensor) -> dict:
    """Tower features as the `mm_encoder_outputs` argument of the model's `forward` and `generate`."""
    return {"image": BaseModelOutputWithPooling(pooler_output=model.model.multi_modal_projector(pooled))}
