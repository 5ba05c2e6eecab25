"""Memory that the weights of published checkpoints take, from their architectures alone: the table of docs/models.md.

Networks are built on the meta device, which holds no values. In 4 bits are the linear layers that the family does not
leave out.

    python -m benchmarks.model_memory
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from benchmarks.shapes import medgemma_config, qwen3_vl_config
from workflow_scripts.models.chexagent.configuration import CheXagentConfig
from workflow_scripts.models.chexagent.network import CheXagentForConditionalGeneration
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.synthetic.pretraining import build_processor

IN_4_BITS = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes of a weight with double quantisation: 4 bits, its share of an 8-bit scale, and that scale's of a 32-bit one."""


class Checkpoint(NamedTuple):
    """A published checkpoint whose architecture is known."""

    name: str
    family: str
    build: Callable[[], PreTrainedModel]


def _medgemma() -> PreTrainedModel:
    return load_family("gemma3").model_class(medgemma_config(build_processor(vocabulary=600, seed=0)))


def _qwen3_vl() -> PreTrainedModel:
    tokenizer = build_processor(vocabulary=600, seed=0).tokenizer
    return load_family("qwen3_vl").model_class(qwen3_vl_config(_with_marks(tokenizer)))


def _with_marks(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    marks = ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": marks})
    return tokenizer


def _paligemma2() -> PreTrainedModel:
    return PaliGemmaForConditionalGeneration(
        PaliGemmaConfig(
            text_config={
                "model_type": "gemma2",
                "vocab_size": 257_216,
                "hidden_size": 2304,
                "intermediate_size": 9216,
                "num_hidden_layers": 26,
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "head_dim": 256,
            },
            vision_config={
                "model_type": "siglip_vision_model",
                "hidden_size": 1152,
                "intermediate_size": 4304,
                "num_hidden_layers": 27,
                "num_attention_heads": 16,
                "image_size": 224,
                "patch_size": 14,
                "vision_use_head": False,
            },
            projection_dim=2304,
            hidden_size=2304,
        )
    )


def _chexagent() -> PreTrainedModel:
    published = {
        **{"model_type": "chexagent", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32},
        **{"num_attention_heads": 32, "vocab_size": 51_200, "max_position_embeddings": 2048},
        **{"partial_rotary_factor": 0.4, "rope_theta": 10_000.0, "rope_scaling": None, "hidden_act": "gelu_new"},
        **{"tie_word_embeddings": False, "qk_layernorm": False},
        "visual": {"image_size": 512, "n_queries": 1024, "output_dim": 2560},
    }
    return CheXagentForConditionalGeneration(CheXagentConfig.from_dict(published))


def _llava_med() -> PreTrainedModel:
    return LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config={
                "model_type": "clip_vision_model",
                "hidden_size": 1024,
                "intermediate_size": 4096,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "image_size": 336,
                "patch_size": 14,
                "projection_dim": 768,
            },
            text_config={
                "model_type": "mistral",
                "vocab_size": 32_064,
                "hidden_size": 4096,
                "intermediate_size": 14_336,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
                "num_key_value_heads": 8,
            },
        )
    )


CHECKPOINTS = (
    Checkpoint("MedGemma 1.5 4B", "gemma3", _medgemma),
    Checkpoint("Qwen3-VL 4B", "qwen3_vl", _qwen3_vl),
    Checkpoint("PaliGemma 2 3B", "paligemma2", _paligemma2),
    Checkpoint("CheXagent-2-3b", "chexagent", _chexagent),
    Checkpoint("LLaVA-Med 1.5 7B", "llava", _llava_med),
)
HEAD = """| checkpoint | parameters, thousand million | bf16, GB | 4-bit, GB, tower and head in bf16 |
| --- | --- | --- | --- |"""


def line(checkpoint: Checkpoint) -> str:
    """A checkpoint's line of the table."""
    with torch.device("meta"):
        network = checkpoint.build()
    network.tie_weights()
    whole = load_family(checkpoint.family).keep_unquantised
    parameters = dict(network.named_parameters())
    total = sum(weight.numel() for weight in parameters.values())
    packed = sum(
        module.weight.numel()
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and f"{name}.weight" in parameters and not name.startswith(whole)
    )
    bytes_in_4_bits = 2 * (total - packed) + IN_4_BITS * packed
    return f"| {checkpoint.name} | {total / 1e9:.2f} | {2 * total / 1e9:.1f} | {bytes_in_4_bits / 1e9:.1f} |"


def main() -> None:
    print(HEAD)
    for checkpoint in CHECKPOINTS:
        print(line(checkpoint), flush=True)


if __name__ == "__main__":
    main()
