"""What prompts share is computed once and changes no token: a common beginning, and several answers to one prompt."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, TopPLogitsWarper

from tests.engines.small_models import SHAPE, Counted, decoder, far_from_the_start, library
from workflow_scripts.engines.local import decoding, key_values
from workflow_scripts.engines.local.choice import Draws
from workflow_scripts.engines.local.decoding import Decoder

BEGINNING = [7, 3, 90, 14, 55, 6, 6, 31]


@pytest.fixture(params=["sdpa", "eager"])
def llama(request) -> PreTrainedModel:
    torch.manual_seed(5)
    return far_from_the_start(LlamaForCausalLM(LlamaConfig(**SHAPE, attn_implementation=request.param)))


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
