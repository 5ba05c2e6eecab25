"""A random PaliGemma 2 of two layers, one of each kind of attention: 16 tokens an image."""

from pathlib import Path

import torch
from transformers import (
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessorPil,
)

from tests.models.tiny.tokenizer import byte_level

SIDE, PATCHES, WIDTH = 56, 16, 64


def build_processor() -> PaliGemmaProcessor:
    """A byte-level BPE with Gemma's special tokens; the processor adds `<image>` and the places itself."""
    fast = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(["<pad>", "<eos>", "<bos>", "<unk>"], 320),
        padding_side="left",
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
    )
    return PaliGemmaProcessor(
        SiglipImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_seq_length=PATCHES), fast
    )


def build_model(processor: PaliGemmaProcessor) -> PaliGemmaForConditionalGeneration:
    """A random SigLIP tower and a Gemma 2 of two layers, one of each kind of attention."""
    torch.manual_seed(0)
    tokenizer = processor.tokenizer
    shape = {"hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = PaliGemmaConfig(
        text_config={
            **shape,
            "model_type": "gemma2",
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            **shape,
            "model_type": "siglip_vision_model",
            "image_size": SIDE,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=processor.image_token_id,
        projection_dim=WIDTH,
        hidden_size=WIDTH,
    )
    model = PaliGemmaForConditionalGeneration(config)
    # Images, attention and gates must weigh enough to be seen in the logits; biases start at zero.
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
        elif "language_model.layers" in name and weight.ndim == 2:
            torch.nn.init.normal_(weight, std=WIDTH**-0.5)
    torch.nn.init.normal_(model.model.multi_modal_projector.linear.weight, std=WIDTH**-0.5)
    return model


def build(folder: Path) -> None:
    """Write the checkpoint with its processor."""
    processor = build_processor()
    build_model(processor).save_pretrained(folder)
    processor.save_pretrained(folder)
