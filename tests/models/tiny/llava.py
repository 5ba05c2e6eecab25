"""A random LLaVA 1.5 of two layers: a CLIP tower of three, and Llama."""

from pathlib import Path

import torch
from tokenizers import processors
from transformers import (
    CLIPImageProcessorPil,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from tests.models.tiny.tokenizer import byte_level

SIDE, PATCH, WIDTH = 56, 14, 64
TOKENS = (SIDE // PATCH) ** 2


def build_tokenizer(*added: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE that sets `<s>` before a text, with Llama's special tokens, and those `added`."""
    tokenizer = byte_level(["<unk>", "<s>", "</s>", *added], 320)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", padding_side="left"
    )


def build_processor() -> LlavaProcessor:
    """As the published one of LLaVA-Med once it is converted: without a chat template."""
    tokenizer = build_tokenizer("<image>", "<pad>")
    tokenizer.pad_token = "<pad>"
    images = CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    return LlavaProcessor(
        images, tokenizer, patch_size=PATCH, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )


def enliven(model: LlavaForConditionalGeneration) -> LlavaForConditionalGeneration:
    """Weights large enough that images and attention are seen in the logits."""
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and any(part in name for part in ("language_model.layers", "projector", "lm_head")):
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return model


def build(folder: Path) -> None:
    """Write the checkpoint with its processor."""
    processor = build_processor()
    tokenizer = processor.tokenizer
    torch.manual_seed(0)
    shape = {"hidden_size": WIDTH, "intermediate_size": 128, "num_attention_heads": 4}
    config = LlavaConfig(
        vision_config={
            **shape,
            "model_type": "clip_vision_model",
            "image_size": SIDE,
            "patch_size": PATCH,
            "num_hidden_layers": 3,
        },
        text_config={
            **shape,
            "model_type": "llama",
            "num_hidden_layers": 2,
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        image_token_index=processor.image_token_id,
        image_seq_length=TOKENS,
    )
    enliven(LlavaForConditionalGeneration(config)).save_pretrained(folder)
    processor.save_pretrained(folder)
