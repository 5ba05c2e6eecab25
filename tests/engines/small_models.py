"""Small models of several families, what the library generates with them, and the decoder of each."""

from weakref import WeakKeyDictionary

import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from workflow_scripts.engines.local.decoding import Decoder

SHAPE = {
    "vocab_size": 97, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256, "pad_token_id": 0, "eos_token_id": 1,
    "bos_token_id": 2, "tie_word_embeddings": False,
}  # fmt: skip
VISION = {
    "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    # the window is shorter than the prompts: what lies beyond it must stay unseen
    "gemma3": lambda: Gemma3ForCausalLM(
        Gemma3TextConfig(
            **SHAPE, sliding_window=8, layer_types=["sliding_attention", "full_attention", "sliding_attention"]
        )
    ),
    "paligemma2": lambda: PaliGemmaForConditionalGeneration(
        PaliGemmaConfig(
            text_config={"model_type": "gemma2", **SHAPE, "sliding_window": 64, "query_pre_attn_scalar": 16},
            vision_config=VISION,
            image_token_index=96,
            tie_word_embeddings=False,
            projection_dim=64,
        )
    ),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=8)),  # one window for all layers
    "qwen2": lambda: Qwen2ForCausalLM(  # its configuration names no width of a head
        Qwen2Config(**{name: value for name, value in SHAPE.items() if name != "head_dim"})
    ),
}


def far_from_the_start(network: PreTrainedModel) -> PreTrainedModel:
    """`network` with larger weights, so that answers differ by prompt."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.generation_config.pad_token_id = 0
    return network.eval()


def ask_library(model: PreTrainedModel, prompt: list[int], budget: int, stops: set[int]) -> list[int]:
    ids = torch.tensor([prompt])
    extra = {"token_type_ids": torch.zeros_like(ids)} if "PaliGemma" in type(model).__name__ else {}
    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=budget,
        do_sample=False,
        eos_token_id=sorted(stops),
        **extra,
    )[0, len(prompt) :].tolist()


ANSWERS: WeakKeyDictionary[PreTrainedModel, dict[tuple[int, ...], list[int]]] = WeakKeyDictionary()


def library(model: PreTrainedModel, prompt: list[int], budget: int, stops: set[int]) -> list[int]:
    """What `ask_library` gives; it is asked once a prompt, as other stops only end the same greedy answer earlier."""
    answers = ANSWERS.setdefault(model, {})
    whole = answers.get(tuple(prompt), [])
    if len(whole) < budget:
        whole = answers[tuple(prompt)] = ask_library(model, prompt, budget, {SHAPE["vocab_size"]})  # no token stops it
    ends = [place for place, token in enumerate(whole[:budget], 1) if token in stops]
    return whole[: min([*ends, budget])]


def decoder(model: PreTrainedModel, stops: set[int]) -> tuple[Decoder, dict]:
    if "PaliGemma" not in type(model).__name__:
        return Decoder(model, 0, stops), {}
    return Decoder(model, 0, stops, 1), {
        "inputs": lambda first, last, ids, mask: {"token_type_ids": torch.zeros_like(ids)}
    }


class Counted:
    """Counts the tokens that a model computes."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.tokens = 0
        model.get_input_embeddings().register_forward_hook(self._count)

    def _count(self, module, args, output) -> None:
        self.tokens += args[0].numel()
