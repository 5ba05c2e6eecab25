"""Tiny checkpoints of the Qwen-VL families: patches of 8 pixels merged by two, at most 6 × 6 tokens an image."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedModel,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3_5Config,
    Qwen3_5ForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from tests.models.tiny.tokenizer import CHATML, build_tokenizer

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"
WIDTH = 64


def _build(folder: Path, config: type, model: type[PreTrainedModel], text: dict[str, Any], vision: dict[str, Any]):
    tokenizer = build_tokenizer(
        ["<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.chat_template = CHATML.replace("IMAGE", IMAGE)
    tokenizer.save_pretrained(folder)
    size = {"shortest_edge": 16 * 16 * 4, "longest_edge": 16 * 16 * 36}
    Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, temporal_patch_size=2, size=size).save_pretrained(folder)
    id_of = tokenizer.convert_tokens_to_ids
    torch.manual_seed(0)
    network = model(
        config(
            text_config={
                "vocab_size": len(tokenizer),
                "hidden_size": WIDTH,
                "intermediate_size": 128,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "eos_token_id": tokenizer.eos_token_id,
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": None,
                "initializer_range": 0.1,
            }
            | text,
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_heads": 2,
                "patch_size": 8,
                "out_hidden_size": WIDTH,
                "initializer_range": 0.1,
            }
            | vision,
            image_token_id=id_of("<|image_pad|>"),
            video_token_id=id_of("<|video_pad|>"),
            vision_start_token_id=id_of("<|vision_start|>"),
            vision_end_token_id=id_of("<|vision_end|>"),
        )
    )
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    network.save_pretrained(folder)


def build_qwen3_vl(folder: Path) -> None:
    """Qwen3-VL with features of its first vision layer beside those of its last."""
    text = {"num_hidden_layers": 2, "head_dim": 16, "rope_parameters": _rope([4, 2, 2])}
    vision = {"num_position_embeddings": 144, "deepstack_visual_indexes": [0]}
    _build(folder, Qwen3VLConfig, Qwen3VLForConditionalGeneration, text, vision)


def build_qwen2_5_vl(folder: Path) -> None:
    """Qwen2.5-VL with one layer of attention in windows and one without."""
    text = {"num_hidden_layers": 2, "rope_parameters": _rope([4, 2, 2])}
    vision = {"window_size": 32, "fullatt_block_indexes": [1]}
    _build(folder, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, text, vision)


def build_qwen3_5(folder: Path) -> None:
    """Qwen3.5 with a layer that keeps a state and one that keeps keys and values."""
    text = {
        "num_hidden_layers": 2,
        "layer_types": ["linear_attention", "full_attention"],
        "head_dim": 32,
        "linear_key_head_dim": 16,
        "linear_value_head_dim": 16,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 4,
        "rope_parameters": _rope([2, 1, 1]) | {"partial_rotary_factor": 0.25},
    }
    _build(folder, Qwen3_5Config, Qwen3_5ForConditionalGeneration, text, {"num_position_embeddings": 144})


def _rope(sections: list[int]) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": sections}
