"""A batch under grammars: what is masked, who ends, who stays; and a real model that generates under it."""

from collections import Counter
from functools import cache
from typing import NamedTuple

import pytest
import torch
from transformers import LogitsProcessor

from tests.conftest import VQA
from tests.data.roots import converted
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.datasets import SyntheticDataset
from workflow_scripts.core.images import open_image
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.engines.local.constraint import Constraint
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.score.outcomes import outcome_of
from workflow_scripts.synthetic.dataset import draw_dataset

LIMITS = {
    "classification": 16,
    "multi_label": 48,
    "detection": 48,
    "instance_detection": 128,
    "counting": 8,
    "regression": 8,
    "report": 48,
}
A_TASK = 8
"""Rows of each task that the tiny model answers."""
DIGIT = "start: /[0-9]{1,2}/\n"


@pytest.fixture(scope="module")
def loaded(tiny):
    return load(tiny)


@pytest.fixture(scope="module")
def stops(loaded):
    return set(loaded.base.generation_config.eos_token_id)


@pytest.fixture(scope="module")
def tokenizer(loaded):
    return loaded.processor.tokenizer


def allowed(constraint: Constraint, rows: int, width: int) -> list[set[int]]:
    masked = constraint.mask(torch.zeros(rows, width))
    return [set(torch.isfinite(line).nonzero().flatten().tolist()) for line in masked]


def ids(tokenizer, texts: str) -> set[int]:
    return {tokenizer.convert_tokens_to_ids(text) for text in texts}


def test_a_grammar_allows_its_tokens_and_the_stops_where_it_may_end(tokenizer, stops):
    constraint = Constraint(tokenizer, [DIGIT, None, 'start: "A" | "B"\n'], stops)
    width = len(tokenizer) + 64
    digits, everything = ids(tokenizer, "0123456789"), set(range(width))
    assert allowed(constraint, 3, width) == [digits, everything, ids(tokenizer, "AB")]
    constraint.accept([*ids(tokenizer, "4"), 5, *ids(tokenizer, "B")])
    assert allowed(constraint, 3, width) == [digits | stops, everything, stops]
    constraint.accept([*ids(tokenizer, "2"), 5, min(stops)])
    assert allowed(constraint, 3, width) == [stops, everything, everything], "full, free, ended"


def test_rows_that_stay_keep_their_place_in_their_grammar(tokenizer, stops):
    constraint = Constraint(tokenizer, ['start: "A" "B"', DIGIT, 'start: "C" "D"'], stops)
    constraint.mask(torch.zeros(3, len(tokenizer)))
    constraint.accept([tokenizer.convert_tokens_to_ids(text) for text in "A1C"])
    constraint.keep([2, 0])
    assert allowed(constraint, 2, len(tokenizer)) == [ids(tokenizer, "D"), ids(tokenizer, "B")]


def test_copies_of_one_grammar_do_not_disturb_each_other(tokenizer, stops):
    one = Constraint(tokenizer, [DIGIT], stops)
    one.accept(list(ids(tokenizer, "1")))
    other = Constraint(tokenizer, [DIGIT], stops)
    assert allowed(other, 1, len(tokenizer)) == [ids(tokenizer, "0123456789")]


def test_special_tokens_are_never_allowed_in_text(tokenizer, stops):
    constraint = Constraint(tokenizer, ["start: /(.|\\n)*/\n"], stops)
    (tokens,) = allowed(constraint, 1, len(tokenizer))
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    assert tokens & special == stops
    assert len(tokens) > 500, "all text"


def test_a_forbidden_token_and_a_grammar_that_cannot_be_read_are_refused(tokenizer, stops):
    constraint = Constraint(tokenizer, [DIGIT], stops)
    with pytest.raises(ValueError, match="its grammar forbids"):
        constraint.accept(list(ids(tokenizer, "A")))
    with pytest.raises(ValueError, match="its grammar forbids"):
        Constraint(tokenizer, [DIGIT], stops).accept([min(stops)])
    with pytest.raises(Refused, match=r"cannot be followed .* set `constrained: false`"):
        Constraint(tokenizer, ["start: nothing\n"], stops)


class Bounded(LogitsProcessor):
    """`Constraint` in transformers' own loop."""

    def __init__(self, constraint: Constraint, prompt: int) -> None:
        self.constraint, self.prompt = constraint, prompt

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        if input_ids.shape[1] > self.prompt:
            self.constraint.accept(input_ids[:, -1].tolist())
        return self.constraint.mask(scores)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """The root of the synthetic dataset, some of its rows of each task, and their grammars."""
    place = tmp_path_factory.mktemp("synthetic")
    draw_dataset(SyntheticDataset(scale=0.05), place / "root")
    rows = converted(place / "root", place).rows
    chosen = [row for task in tasks() for row in [row for row in rows if row.task == task][::3][:A_TASK]]
    grammars = [load_part(row.task, "grammar").grammar(row.expected, row.images, LIMITS[row.task]) for row in chosen]
    return place / "root", chosen, grammars


class Answer(NamedTuple):
    """What a model said, and whether it ended its turn."""

    text: str
    ended: bool


@pytest.fixture(scope="module")
def answers(loaded, synthetic, stops):
    """A function that answers the rows, or those at some places, with the tiny model: each under its grammar or free,
    beside a free one."""
    root, rows, _ = synthetic
    family, processor, base = loaded.family, loaded.processor, loaded.base

    @cache
    @torch.inference_mode()
    def run(grammars: tuple[str | None, ...] | None, places: tuple[int, ...] | None = None) -> list[Answer]:
        given = []
        for place in range(len(rows)) if places is None else places:
            row = rows[place]
            ids = torch.tensor([family.prompt_ids(processor, chat(row.question, len(row.images)), ())] * 2)
            images = [open_image(root, image.path) for image in row.images] * 2
            sizes = [image.size for image in images]
            processors = []
            if grammars is not None:
                both = [grammars[place], None]  # a free row beside each, which nothing may touch
                processors = [Bounded(Constraint(processor.tokenizer, both, stops), ids.shape[1])]
            generated = base.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                token_type_ids=family.text_inputs(processor, ids, ids, ())["token_type_ids"],
                **family.encoder_outputs(
                    base,
                    processor,
                    family.features(base, processor, torch.cat([family.pixels(processor, i) for i in images]), sizes),
                    sizes,
                ),
                max_new_tokens=LIMITS[row.task],
                do_sample=False,
                logits_processor=processors,
            )[:, ids.shape[1] :].tolist()
            for new in generated:
                end = next((at for at, token in enumerate(new) if token in stops), None)
                text = processor.tokenizer.decode(new[:end], skip_special_tokens=True)
                given.append(Answer(text, end is not None))
        return given

    return run


def test_an_untrained_model_answers_every_task_in_time_and_validly(synthetic, answers):
    _, rows, grammars = synthetic
    requested, finished, read, outcomes = Counter(), Counter(), Counter(), {}
    for row, answer in zip(rows, answers(tuple(grammars))[::2], strict=True):
        task = row.task
        requested[task] += 1
        if answer.ended:
            strict = load_part(task, "reading").read_strict(row.expected, answer.text)
            finished[task] += 1
            read[task] += strict is not None
            outcome = outcome_of(answer.text, "stop", strict, strict, free_text=tasks()[task].free_text)
            outcomes.setdefault(task, Counter())[outcome] += 1
    assert set(requested) == set(tasks()) - VQA
    for task in requested:
        print(
            f"{task}: {finished[task]}/{requested[task]} finished, {read[task]} read strictly, {dict(outcomes[task])}"
        )
        assert requested[task] >= 4
        assert finished[task] >= 0.95 * requested[task]
        assert read[task] == finished[task]


def test_free_rows_are_left_as_they_are_alone_and_beside_a_bound_one(synthetic, answers):
    _, rows, grammars = synthetic
    free = answers(None)
    assert answers(tuple(grammars))[1::2] == free[1::2]
    of_tasks = {row.task: place for place, row in enumerate(rows)}  # one of each: nothing is bound, whatever the task
    assert answers((None,) * len(rows), tuple(of_tasks.values())) == [
        answer for place in of_tasks.values() for answer in free[2 * place : 2 * place + 2]
    ]
