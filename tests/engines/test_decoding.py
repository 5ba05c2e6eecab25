"""The decoder gives the tokens that the library's own greedy generation gives, whatever leaves the batch when."""

import random
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel

from tests.engines.small_models import SHAPE, Counted, ask_library, decoder, far_from_the_start, library
from workflow_scripts.engines.local import decoding, key_values, rows
from workflow_scripts.engines.local.decoding import Decoder
from workflow_scripts.engines.local.key_values import KeyValues
from workflow_scripts.engines.local.pages import PAGE, PagedKeyValues, values_of_a_token


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
    network = far_from_the_start(Gemma3ForCausalLM(config))
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
