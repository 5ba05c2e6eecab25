"""The decoder gives the tokens that the library's own greedy generation gives, whatever leaves the batch when."""

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PreTrainedModel,
)

from workflow_scripts.engines.local import decoding
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
}


@pytest.fixture(scope="module", params=MODELS)
def model(request) -> PreTrainedModel:
    torch.manual_seed(5)
    network = MODELS[request.param]().eval()
    for parameter in network.parameters():  # far from the start, so that answers differ by prompt
        torch.nn.init.normal_(parameter, std=0.3)
    network.generation_config.pad_token_id = 0
    return network


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(3, 96, (length,), generator=generator).tolist() for length in (19, 5, 12, 19, 7, 1, 16)]


def library(model: PreTrainedModel, prompt: list[int], budget: int, stops: set[int]) -> list[int]:
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


def decoder(model: PreTrainedModel, stops: set[int]) -> tuple[Decoder, dict]:
    if "PaliGemma" not in type(model).__name__:
        return Decoder(model, 0, stops), {}
    return Decoder(model, 0, stops, 1), {"inputs": lambda first, last, ids: {"token_type_ids": torch.zeros_like(ids)}}


@pytest.mark.parametrize("budget", [1, 3, 24])
def test_a_batch_gives_what_the_library_gives_row_by_row(model, prompts, budget):
    tested, extra = decoder(model, {1})
    assert tested.generate(prompts, budget, **extra) == [library(model, p, budget, {1}) for p in prompts]


@pytest.mark.parametrize("tokens", [1, 40, 1 << 15])
def test_rows_that_end_leave_and_the_others_go_on(model, prompts, monkeypatch, tokens):
    monkeypatch.setattr(decoding, "STRETCH", 4)
    monkeypatch.setattr(decoding, "LOOK", 2)
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", tokens)
    free = [library(model, p, 24, {1}) for p in prompts]
    whole = [tokens for tokens in free if len(tokens) == 24]
    stops = {1, whole[0][2], whole[1][9], whole[2][14]}
    wanted = [library(model, p, 24, stops) for p in prompts]
    assert len({len(tokens) for tokens in wanted}) > 2
    tested, extra = decoder(model, stops)
    stayed: list[list[int]] = []
    assert tested.generate(prompts, 24, keep=stayed.append, **extra) == wanted
    assert stayed and all(places == sorted(places) for places in stayed)


def test_every_token_is_passed_to_what_bounds_the_answers(model, prompts):
    tested, extra = decoder(model, {1})
    steps: list[list[int]] = []
    answers = tested.generate(prompts, 6, accept=steps.append, fixed=True, **extra)
    assert [list(column) for column in zip(*steps, strict=True)] == answers


def test_a_fixed_number_of_tokens_ignores_stops(model, prompts):
    tested, extra = decoder(model, set(range(97)))
    assert {len(tokens) for tokens in tested.generate(prompts, 9, fixed=True, **extra)} == {9}
    assert {len(tokens) for tokens in tested.generate(prompts, 9, **extra)} == {1}
