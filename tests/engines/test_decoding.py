"""The decoder gives the tokens that the library's own greedy generation gives, whatever leaves the batch when."""

import random
from collections.abc import Sequence
from types import SimpleNamespace
from weakref import WeakKeyDictionary

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
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

from workflow_scripts.engines.local import decoding, key_values, rows
from workflow_scripts.engines.local.choice import Draws
from workflow_scripts.engines.local.decoding import Decoder
from workflow_scripts.engines.local.key_values import KeyValues
from workflow_scripts.engines.local.pages import PAGE, PagedKeyValues, values_of_a_token

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


@pytest.mark.parametrize("budget", [1, 3, 24])
def test_a_batch_gives_what_the_library_gives_row_by_row(model, prompts, budget):
    tested, extra = decoder(model, {1})
    assert tested.generate(prompts, budget, **extra) == [ask_library(model, p, budget, {1}) for p in prompts]


@pytest.mark.parametrize("tokens", [1, 40, 1 << 15])
def test_rows_that_end_leave_and_the_others_go_on(model, prompts, monkeypatch, tokens):
    monkeypatch.setattr(key_values, "STRETCH", 4)
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


def streamed(tested: Decoder, prompts, limits, most: int, **options) -> list[list[int]]:
    answers: dict[int, list[int]] = {}
    for ended in tested.stream(prompts, limits, most, **options):
        assert not answers.keys() & ended.keys()
        answers |= ended
    return [answers[place] for place in range(len(prompts))]


@pytest.mark.parametrize("model", ["llama", "gemma3", "mistral"], indirect=True)
@pytest.mark.parametrize("most", [1, 3, 9])
def test_a_row_that_ends_makes_way_for_the_next_prompt_and_changes_no_other(model, prompts, monkeypatch, most):
    monkeypatch.setattr(key_values, "STRETCH", 4)
    limits = [24, 3, 24, 17, 24, 1, 24]
    free = [library(model, p, limit, {1}) for p, limit in zip(prompts, limits, strict=True)]
    stops = {1, free[0][2], free[2][9]}
    wanted = [library(model, p, limit, stops) for p, limit in zip(prompts, limits, strict=True)]
    assert len({len(tokens) for tokens in wanted}) > 3
    assert streamed(Decoder(model, 0, stops), prompts, limits, most) == wanted
    lengths = [len(tokens) for tokens in streamed(Decoder(model, 0, stops), prompts, limits, most, fixed=True)]
    assert lengths == limits


class Scarce(KeyValues):
    """Holds so many tokens of all rows together."""

    tokens = 0

    def __init__(self, rows, *args) -> None:
        super().__init__(rows, *args)
        self.of_row = [0] * rows

    def fits(self, tokens) -> bool:
        return sum(tokens) <= self.tokens

    def reserve(self, row: int, tokens: int) -> bool:
        if sum(self.of_row) - self.of_row[row] + tokens > self.tokens:
            return False
        self.of_row[row] = max(tokens, self.of_row[row])
        return super().reserve(row, tokens)

    def release(self, rows) -> None:
        super().release(rows)
        for row in rows:
            self.of_row[row] = 0


@pytest.mark.parametrize("model", ["llama", "gemma3"], indirect=True)
def test_rows_that_find_no_memory_go_on_later_from_where_they_stand(model, prompts, monkeypatch):
    monkeypatch.setattr(decoding, "KeyValues", Scarce)
    monkeypatch.setattr(rows, "MARGIN", 1)
    monkeypatch.setattr(rows, "USUAL", 2)  # answers are longer than they are thought to be
    counted = Counted(model)
    wanted = [library(model, p, 24, {1}) for p in prompts]
    passed = []
    for tokens in (50, 400):
        monkeypatch.setattr(Scarce, "tokens", tokens)
        counted.tokens = 0
        assert streamed(Decoder(model, 0, {1}), prompts, [24] * 7, 5) == wanted
        assert Decoder(model, 0, {1}).generate(prompts, 24) == wanted
        passed.append(counted.tokens)
    assert passed[0] > passed[1]  # some were computed anew
    monkeypatch.setattr(Scarce, "tokens", 20)
    with pytest.raises(torch.OutOfMemoryError, match="does not hold"):
        streamed(Decoder(model, 0, {1}), prompts, [24] * 7, 5)


@pytest.mark.parametrize("model", ["llama"], indirect=True)
@pytest.mark.parametrize("most", [1, 3, 9])
def test_what_chooses_a_token_knows_its_row_and_its_place_whoever_shares_the_batch(model, prompts, most):
    stop = 40

    def token(row: int, length: int) -> int:
        return 3 + (11 * row + length) % 60

    def choose(logits: torch.Tensor, rows: Sequence[int], lengths: Sequence[int]) -> torch.Tensor:
        assert len(logits) == len(rows)
        return torch.tensor([token(row, length) for row, length in zip(rows, lengths, strict=True)])

    answers = streamed(Decoder(model, 0, {stop}), prompts, [24] * 7, most, choose=choose)
    whole = [[token(row, length) for length in range(24)] for row in range(len(prompts))]
    assert answers == [tokens[: tokens.index(stop) + 1] if stop in tokens else tokens for tokens in whole]
    assert len({len(tokens) for tokens in answers}) > 2


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_window_the_beginning_and_the_lengths_answers_are_the_librarys(seed, shared, monkeypatch):
    draw = random.Random(seed)
    window = draw.choice([3, 8, 13, 40])
    kinds = [draw.choice(["sliding_attention", "full_attention"]) for _ in range(3)]
    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        **SHAPE, sliding_window=window, layer_types=kinds, attn_implementation=draw.choice(["sdpa", "eager"])
    )
    network = Gemma3ForCausalLM(config).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    network.generation_config.pad_token_id = 0
    monkeypatch.setattr(key_values, "STRETCH", draw.choice([1, 5, 128]))
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", draw.choice([1, 50, 1 << 15]))
    beginning = [draw.randrange(3, 96) for _ in range(draw.choice([0, 6, 20]))]
    texts = [beginning + [draw.randrange(3, 96) for _ in range(draw.randrange(1, 30))] for _ in range(6)]
    limits = [draw.randrange(1, 20) for _ in texts]
    stops = {1, draw.randrange(3, 96), draw.randrange(3, 96)}
    wanted = [library(network, text, limit, stops) for text, limit in zip(texts, limits, strict=True)]
    tested = Decoder(network, 0, stops)
    assert streamed(tested, texts, limits, draw.randrange(1, 7)) == wanted
    assert tested.generate(texts, 12) == [library(network, text, 12, stops) for text in texts]


@pytest.mark.parametrize("seed", range(4))
def test_pages_belong_to_one_row_each_and_come_back(seed):
    draw = random.Random(seed)
    tested = PagedKeyValues(
        5, [None, 100, None], torch.device("cpu"), None, tokens=400, planned=draw.randrange(64, 300)
    )
    tokens = [0] * 5
    for _ in range(300):
        row = draw.randrange(len(tokens))
        if tokens[row] and draw.random() < 0.3:
            tested.release([row])
            tokens[row] = 0
        else:
            more = draw.randrange(1, 400)
            fitting = tested.fits(
                [more if place == row else count for place, count in enumerate(tokens) if count or place == row]
            )
            if more > tokens[row]:
                assert tested.reserve(row, more) == fitting
                tokens[row] = more if fitting else tokens[row]
        tested.begin_steps()
        for pool, slots in ((tested._pools[None], None), (tested._pools[100], 128)):
            for place, count in enumerate(tokens):
                held = min(count, slots or count)
                assert len(pool.of_row[place]) == -(-held // PAGE)
                assert pool.table[place].tolist()[: len(pool.of_row[place])] == pool.of_row[place]
            pages = [0, *pool.free, *(page for held in pool.of_row for page in held)]
            assert sorted(pages) == list(range(pool.pages))
        if draw.random() < 0.02 and len(tokens) > 2:
            stay = sorted(draw.sample(range(len(tokens)), len(tokens) - 1))
            tested.select(stay)
            tokens = [tokens[place] for place in stay]


def test_a_row_of_a_long_answer_takes_memory_beyond_the_window_in_some_layers_alone():
    config = {**SHAPE, "num_hidden_layers": 6, "sliding_window": 128, "sliding_window_pattern": 6}
    torch.manual_seed(5)
    tested = Decoder(Gemma3ForCausalLM(Gemma3TextConfig(**config)), 0, {1})
    a_token = 2 * 2 * 16 * 4  # keys and values, heads, width, bytes of a number
    logits = 3 * SHAPE["vocab_size"] * 4
    assert tested._row_size(128) == 6 * 128 * a_token + logits
    assert tested._row_size(2048) == (2048 + 5 * 128) * a_token + logits


def test_a_model_whose_configuration_names_no_width_of_its_gated_unit_answers_as_the_library_does():
    torch.manual_seed(6)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=64, vocab_size=97)).eval()
    prompts = [[5, 9, 30, 7], [11, 2], [8, 8, 8, 40, 41, 42]]
    answers = Decoder(model, 0, {1}).generate(prompts, 6, fixed=True)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = torch.tensor([prompt])
        whole = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, min_new_tokens=6, pad_token_id=0
        )
        assert whole[0, len(prompt) :].tolist() == answer


@pytest.mark.parametrize(("inner", "values"), [(96, 4 * 96), ([96, 64], 16 * 64), (None, 16 * 64)])
def test_memory_for_prompts_is_reckoned_where_a_configuration_has_no_one_width_of_the_gated_unit(inner, values):
    assert values_of_a_token(SimpleNamespace(hidden_size=64, intermediate_size=inner)) == values + 8 * 64


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
    monkeypatch.setattr(key_values, "STRETCH", 4)
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


def test_layers_with_a_window_share_a_beginning_too(model, prompts, shared):
    tested, extra = decoder(model, {1})
    rows = [BEGINNING + prompt for prompt in prompts]
    assert tested.generate(rows, 9, **extra) == [library(model, row, 9, {1}) for row in rows]


def drawn_by(seeds):
    """What draws the tokens of answers with these seeds."""
    return Draws(seeds, 24, temperature=1.5, top_p=0.9)


STOPS = {1, 40, 41, 42, 43}
COPIES = [3, 1, 2, 4, 1, 1, 2]
"""Answers to each of the prompts."""


@pytest.fixture(scope="module")
def alone(model, prompts) -> list[list[int]]:
    """Answers to the prompts, drawn with the seeds 0, 1, …, each in a batch of its own."""
    tested, extra = decoder(model, STOPS)
    repeated = [prompt for prompt, count in zip(prompts, COPIES, strict=True) for _ in range(count)]
    return [tested.generate([prompt], 24, choose=drawn_by([seed]), **extra)[0] for seed, prompt in enumerate(repeated)]


@pytest.mark.parametrize("tokens", [1, 40, 1 << 15])
def test_several_answers_to_a_prompt_are_those_of_the_prompt_given_as_often(model, prompts, alone, monkeypatch, tokens):
    monkeypatch.setattr(key_values, "STRETCH", 4)
    monkeypatch.setattr(decoding, "PREFILL_TOKENS", tokens)
    repeated = [prompt for prompt, count in zip(prompts, COPIES, strict=True) for _ in range(count)]
    seeds = list(range(len(repeated)))
    tested, extra = decoder(model, STOPS)
    once = tested.generate(prompts, 24, choose=drawn_by(seeds), copies=COPIES, **extra)
    assert once == tested.generate(repeated, 24, choose=drawn_by(seeds), **extra)
    assert len({len(answer) for answer in once}) > 2 and once[0] != once[1]
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
