"""The decoder gives the tokens that the library's own greedy generation gives, whatever leaves the batch when."""

from collections.abc import Sequence

import pytest
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
    TopPLogitsWarper,
)

from workflow_scripts.engines.local import decoding
from workflow_scripts.engines.local.choice import Draws
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


WINDOWED = {**SHAPE, "sliding_window": 8}
MODELS["mistral"] = lambda: MistralForCausalLM(MistralConfig(**WINDOWED))  # one window for all layers
MODELS["qwen2"] = lambda: Qwen2ForCausalLM(  # its configuration names no width of a head
    Qwen2Config(**{name: value for name, value in SHAPE.items() if name != "head_dim"})
)


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
    return Decoder(model, 0, stops, 1), {
        "inputs": lambda first, last, ids, mask: {"token_type_ids": torch.zeros_like(ids)}
    }


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


@pytest.mark.parametrize("model", ["llama", "gemma3"], indirect=True)
@pytest.mark.parametrize("fitting", [1, 5])
def test_rows_that_no_longer_fit_are_answered_afterwards_from_where_they_stand(model, prompts, monkeypatch, fitting):
    monkeypatch.setattr(decoding, "STRETCH", 4)
    monkeypatch.setattr(decoding, "LOOK", 2)
    monkeypatch.setattr(Decoder, "rows_that_fit", lambda self, slots, held=None: fitting)
    free = [library(model, p, 24, {1}) for p in prompts]
    whole = [tokens for tokens in free if len(tokens) == 24]
    stops = {1, whole[0][2], whole[1][9]}
    tested = Decoder(model, 0, stops)
    assert tested.generate(prompts, 24) == [library(model, p, 24, stops) for p in prompts]
    assert tested.generate(prompts, 24, fixed=True) == [library(model, p, 24, set()) for p in prompts]


@pytest.mark.parametrize("model", ["llama"], indirect=True)
@pytest.mark.parametrize("fitting", [1, 3, 9])
def test_what_chooses_a_token_knows_its_row_and_its_place_whoever_shares_the_batch(
    model, prompts, monkeypatch, fitting
):
    monkeypatch.setattr(decoding, "STRETCH", 4)
    monkeypatch.setattr(decoding, "LOOK", 2)
    monkeypatch.setattr(Decoder, "rows_that_fit", lambda self, slots, held=None: fitting)
    stop = 40

    def token(row: int, length: int) -> int:
        return 3 + (11 * row + length) % 60

    def choose(logits: torch.Tensor, rows: Sequence[int], length: int) -> torch.Tensor:
        assert len(logits) == len(rows)
        return torch.tensor([token(row, length) for row in rows])

    answers = Decoder(model, 0, {stop}).generate(prompts, 24, choose=choose)
    whole = [[token(row, length) for length in range(24)] for row in range(len(prompts))]
    assert answers == [tokens[: tokens.index(stop) + 1] if stop in tokens else tokens for tokens in whole]
    assert len({len(tokens) for tokens in answers}) > 2


def test_every_token_is_passed_to_what_bounds_the_answers(model, prompts):
    tested, extra = decoder(model, {1})
    steps: list[list[int]] = []
    answers = tested.generate(prompts, 6, accept=steps.append, fixed=True, **extra)
    assert [list(column) for column in zip(*steps, strict=True)] == answers


def test_a_fixed_number_of_tokens_ignores_stops(model, prompts):
    tested, extra = decoder(model, set(range(97)))
    assert {len(tokens) for tokens in tested.generate(prompts, 9, fixed=True, **extra)} == {9}
    assert {len(tokens) for tokens in tested.generate(prompts, 9, **extra)} == {1}


BEGINNING = [7, 3, 90, 14, 55, 6, 6, 31]


@pytest.fixture
def shared(monkeypatch) -> None:
    """Beginnings of a few tokens are shared already."""
    monkeypatch.setattr(decoding, "SHARED", 4)


@pytest.fixture(params=["sdpa", "eager"])
def llama(request) -> PreTrainedModel:
    torch.manual_seed(5)
    network = LlamaForCausalLM(LlamaConfig(**SHAPE, attn_implementation=request.param)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.generation_config.pad_token_id = 0
    return network


class Counted:
    """Counts the tokens that a model computes."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.tokens = 0
        model.get_input_embeddings().register_forward_hook(self._count)

    def _count(self, module, args, output) -> None:
        self.tokens += args[0].numel()


@pytest.mark.parametrize("tokens", [1, 40, 1 << 15])
def test_a_common_beginning_changes_no_token(llama, prompts, shared, monkeypatch, tokens):
    monkeypatch.setattr(decoding, "STRETCH", 4)
    monkeypatch.setattr(decoding, "LOOK", 2)
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", tokens)
    rows = [BEGINNING + prompt for prompt in prompts]
    free = [library(llama, row, 24, {1}) for row in rows]
    whole = [answer for answer in free if len(answer) == 24]
    stops = {1, whole[0][2], whole[1][9], whole[2][14]}
    assert Decoder(llama, 0, stops).generate(rows, 24) == [library(llama, row, 24, stops) for row in rows]


def test_a_common_beginning_is_computed_once_for_all_rows_and_batches(llama, prompts, shared):
    rows = [BEGINNING + prompt for prompt in prompts if len(prompt) == 19]
    counted, tested = Counted(llama), Decoder(llama, 0, set())
    first = tested.generate(rows, 1)
    assert counted.tokens == len(BEGINNING) + 19 * len(rows)
    assert tested.generate(rows, 1) == first
    assert counted.tokens == len(BEGINNING) + 2 * 19 * len(rows)


def test_a_batch_with_another_beginning_does_not_get_the_last_ones(llama, prompts, shared):
    tested = Decoder(llama, 0, {1})
    for beginning in (BEGINNING, BEGINNING[::-1], BEGINNING + [5, 5], BEGINNING):
        rows = [beginning + prompt for prompt in prompts]
        assert tested.generate(rows, 9) == [library(llama, row, 9, {1}) for row in rows]


def test_equal_prompts_and_one_that_is_the_beginning_of_the_others_keep_a_token_of_their_own(llama, shared):
    rows = [BEGINNING, BEGINNING, [*BEGINNING, 4, 4]]
    assert Decoder(llama, 0, {1}).generate(rows, 9) == [library(llama, row, 9, {1}) for row in rows]


def test_layers_with_a_window_share_nothing(model, prompts, shared):
    tested, extra = decoder(model, {1})
    rows = [BEGINNING + prompt for prompt in prompts]
    assert tested.generate(rows, 9, **extra) == [library(model, row, 9, {1}) for row in rows]


def drawn_by(seeds):
    """What draws the tokens of answers with these seeds."""
    return Draws(seeds, 24, temperature=1.5, top_p=0.9)


@pytest.mark.parametrize("tokens", [1, 40, 1 << 15])
def test_several_answers_to_a_prompt_are_those_of_the_prompt_given_as_often(model, prompts, monkeypatch, tokens):
    monkeypatch.setattr(decoding, "STRETCH", 4)
    monkeypatch.setattr(decoding, "LOOK", 2)
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", tokens)
    copies = [3, 1, 2, 4, 1, 1, 2]
    repeated = [prompt for prompt, count in zip(prompts, copies, strict=True) for _ in range(count)]
    seeds = list(range(len(repeated)))
    tested, extra = decoder(model, {1, 40, 41, 42, 43})
    once = tested.generate(prompts, 24, choose=drawn_by(seeds), copies=copies, **extra)
    assert once == tested.generate(repeated, 24, choose=drawn_by(seeds), **extra)
    assert len({len(answer) for answer in once}) > 2 and once[0] != once[1]
    alone = [
        tested.generate([prompt], 24, choose=drawn_by([seed]), **extra)[0]
        for prompt, seed in zip(repeated, seeds, strict=True)
    ]
    assert once == alone


def test_a_prompt_with_several_answers_is_computed_once(llama, prompts):
    counted, tested = Counted(llama), Decoder(llama, 0, set())
    tested.generate(prompts[:1], 1, copies=[8])
    assert counted.tokens == len(prompts[0])


@pytest.mark.parametrize("top_p", [0.3, 0.8, 1.0])
def test_draws_come_from_the_librarys_nucleus_as_often_as_they_are_likely(top_p):
    logits = torch.tensor([2.0, 1.0, 0.5, -1.0, -3.0])
    nucleus = TopPLogitsWarper(top_p)(None, logits[None] / 0.7) if top_p < 1 else logits[None] / 0.7
    wanted = torch.softmax(nucleus[0], -1)
    draws = Draws(range(300), 20, temperature=0.7, top_p=top_p)
    tokens = torch.stack([draws(logits.expand(300, -1), range(300), length) for length in range(20)])
    shares = torch.bincount(tokens.flatten(), minlength=5) / tokens.numel()
    assert bool((shares[wanted == 0] == 0).all())
    assert (shares - wanted).abs().max() < 4 * (0.25 / tokens.numel()) ** 0.5
