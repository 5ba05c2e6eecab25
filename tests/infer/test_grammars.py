"""A grammar bounds an answer to what the strict reader reads, within the budget, and never shuts out the truth."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer

from tests.data.roots import converted
from tests.score.conftest import one_of_each, row
from workflow_scripts.core.config.datasets import SyntheticDataset
from workflow_scripts.core.config.workflow import Inference
from workflow_scripts.core.tasks import TASKS
from workflow_scripts.engines.local.constraint import Constraint
from workflow_scripts.synthetic.dataset import draw_dataset
from workflow_scripts.synthetic.pretraining import build_processor
from workflow_scripts.tasks.expected import asked_of, squeezed
from workflow_scripts.tasks.grammars import answered_in_words, grammar_of
from workflow_scripts.tasks.strict import read_strict

BUDGETS = Inference().max_new_tokens
SMALL = {
    "classification": 16,
    "multi_label": 48,
    "detection": 48,
    "instance_detection": 128,
    "counting": 8,
    "regression": 8,
    "report": 48,
}
"""The embedded default's."""
IMAGES = [{"path": "0.png", "sha256": "", "width": 1600, "height": 900}]
ANSWERS = ("answer", "answer_raw", "labels", "number", "boxes", "instances")


@pytest.fixture(scope="module")
def tokenizer():
    return build_processor(vocabulary=1024, seed=0).tokenizer


@pytest.fixture(scope="module")
def stops(tokenizer):
    return {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")}


@pytest.fixture(scope="module")
def made_rows(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    draw_dataset(SyntheticDataset(scale=0.2), place / "tree")
    return converted(place / "tree", place).rows


@pytest.fixture(scope="module")
def real_rows(tmp_path_factory):
    place = os.environ.get("FLAREBENCH_REAL_MINI")
    if not place:
        pytest.skip("FLAREBENCH_REAL_MINI is not set to a folder of real images")
    return converted(Path(place), tmp_path_factory.mktemp("real")).rows


@pytest.fixture(scope="module")
def vocabulary(tokenizer, stops):
    return from_tokenizer(tokenizer, eos_token=sorted(stops))


def grammars(rows, budgets):
    in_words = answered_in_words(rows)
    return [grammar_of(row, budgets[row["task"]], (row["dataset"], row["task"]) in in_words) for row in rows]


def accepts(vocabulary, tokenizer, grammar: str, text: str) -> bool:
    """Whether every token that the tokenizer makes of `text` is allowed at its place, and the end after them."""
    matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_lark(grammar))
    assert not matcher.is_error(), matcher.get_error()
    tokens = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    for token in [*tokens, vocabulary.eos_token]:
        mask = matcher.compute_bitmask()
        if not mask[token // 8] >> token % 8 & 1:
            return False
        matcher.consume_token(token)
    return True


def fits(tokenizer, text: str, budget: int) -> bool:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) < budget


WALKS = ("uniform", "lowest", "highest", "longest", "shortest")


def walk(tokenizer, stops, texts: list[str], budgets: list[int], how: str) -> list[str | None]:
    """Answers by a walk that stops only where it must; None for one that outran its budget."""
    rng = np.random.default_rng(0)
    lengths = np.array([len(tokenizer.decode([token])) for token in range(len(tokenizer))])
    constraint = Constraint(tokenizer, texts, stops)
    going, answers = list(range(len(texts))), [[] for _ in texts]
    ended = [False] * len(texts)
    while going:
        masked = constraint.mask(torch.zeros(len(going), len(tokenizer) + 8))
        assert not torch.isfinite(masked[:, len(tokenizer) :]).any()
        chosen = []
        for line in torch.isfinite(masked).numpy():
            allowed = np.flatnonzero(line)
            more = [token for token in allowed if token not in stops]
            if not more:
                chosen.append(int(allowed[0]))
            elif how == "uniform":
                chosen.append(int(rng.choice(more)))
            else:
                key = {"lowest": lambda t: -t, "highest": lambda t: t}.get(how)
                key = key or (lambda t: lengths[t] if how == "longest" else -lengths[t])
                chosen.append(int(max(more, key=key)))
        constraint.accept(chosen)
        stay = []
        for place, (number, token) in enumerate(zip(going, chosen, strict=True)):
            ended[number] = token in stops
            if not ended[number]:
                answers[number].append(token)
            if not ended[number] and len(answers[number]) < budgets[number]:
                stay.append(place)
        constraint.keep(stay)
        going = [going[place] for place in stay]
    return [
        tokenizer.decode(answer, skip_special_tokens=False) if end else None
        for answer, end in zip(answers, ended, strict=True)
    ]


def of_each_grammar(rows, budgets) -> dict[str, dict]:
    return dict(zip(grammars(rows, budgets), rows, strict=True))


@pytest.mark.parametrize("how", WALKS)
@pytest.mark.parametrize("budgets", [SMALL, BUDGETS], ids=["small", "default"])
def test_any_walk_through_a_grammar_ends_in_time_and_is_read_strictly(made_rows, tokenizer, stops, how, budgets):
    extra = [
        row(0, "classification", "B"),
        row(2, "multi_label", "", separator=";"),
        row(3, "multi_label", "", choices=["A a", "b"], separator=","),
        row(4, "detection", "[]", images=IMAGES),
        row(6, "instance_detection", "{}", images=IMAGES),
    ]
    by_grammar = of_each_grammar([*made_rows, *extra], budgets)
    rows = list(by_grammar.values())
    answers = walk(tokenizer, stops, list(by_grammar), [budgets[row["task"]] for row in rows], how)
    for found, answer in zip(rows, answers, strict=True):
        assert answer is not None, (found["task"], found["question"])
        assert read_strict(asked_of(found), answer) is not None, (found["task"], answer)
    assert {row["task"] for row in rows} == set(TASKS)


@pytest.mark.parametrize("budgets", [SMALL, BUDGETS], ids=["small", "default"])
def test_the_truth_of_every_made_row_is_allowed_token_by_token(made_rows, vocabulary, tokenizer, budgets):
    for row_, grammar in zip(made_rows, grammars(made_rows, budgets), strict=True):
        budget = budgets[row_["task"]]
        if fits(tokenizer, row_["answer"], budget) and read_strict(asked_of(row_), row_["answer"]) is not None:
            assert accepts(vocabulary, tokenizer, grammar, row_["answer"]), (row_["question"], row_["answer"], grammar)


def test_the_truth_of_every_real_row_is_allowed_token_by_token(real_rows, vocabulary, tokenizer):
    budgets = BUDGETS | {"report": 1024}
    for row_, grammar in zip(real_rows, grammars(real_rows, budgets), strict=True):
        assert accepts(vocabulary, tokenizer, grammar, row_["answer"]), (row_["question"], row_["answer"], grammar)


def karyogram() -> str:
    """All 46 chromosomes, in a picture of 1600 × 900."""
    rng = np.random.default_rng(0)
    names = [str(number) for number in range(1, 23) for _ in range(2)] + ["x", "y"]
    found: dict[str, list] = {}
    for name in names:
        found.setdefault(name, []).append([int(v) for v in rng.integers(100, [1600, 900, 300, 300])])
    return json.dumps(found)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (row(0, "regression", ""), "33.3333333333333"),
        (row(0, "regression", ""), "21.67%"),
        (row(0, "regression", ""), "2085.0"),
        (row(0, "regression", ""), "-0.5"),
        (row(0, "counting", ""), "0"),
        (row(0, "counting", ""), "4211"),
        (row(0, "classification", "", options=[{"letter": k, "text": "?"} for k in "ABCDEFGHIJK"]), "K"),
        (row(0, "multi_label", "", choices=["Caries", "Bone loss, mild, or none"], separator=";"), ""),
        (row(0, "multi_label", "", choices=["Caries", "Bone loss, mild, or none"], separator=";"), "None"),
        (
            row(0, "multi_label", "", choices=["Caries", "Bone loss, mild, or none"], separator=";"),
            "Bone loss, mild, or none; Caries",
        ),
        (row(0, "multi_label", "", choices=["Nodule", "Bone loss, mild"], separator=","), "Bone loss, mild, Nodule"),
        (row(0, "detection", "", images=IMAGES), "[[321, 128, 473, 252], [1599, 0, 1600, 900.5]]"),
        (row(0, "detection", "", images=IMAGES), "[]"),
        (row(0, "instance_detection", "", images=IMAGES), karyogram()),
        (row(0, "report", ""), "Findings:\nHeart < 15 cm, 38° “clear” — no “effusion”.\n\nImpression: normal."),
    ],
)
def test_a_legitimate_answer_is_allowed(vocabulary, tokenizer, asked, answer):
    budget = max(BUDGETS[asked["task"]], 20)
    assert accepts(vocabulary, tokenizer, grammar_of(asked, budget), answer)


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (row(0, "classification", "", options=[{"letter": k, "text": "?"} for k in "AB"]), "T"),
        (row(0, "counting", ""), "012"),
        (row(0, "counting", ""), "about 3"),
        (row(0, "regression", ""), "1."),
        (row(0, "multi_label", "", choices=["Caries", "Crown"], separator=";"), "Caries; Caries"),
        (row(0, "multi_label", "", choices=["Caries", "Crown"], separator=";"), "Crown;"),
        (row(0, "detection", "", images=IMAGES), "[[1, 2, 3]]"),
        (row(0, "detection", "", images=IMAGES), "[[1, 2, 3, 1000]]"),
        (row(0, "detection", "", images=IMAGES), "[[01, 2, 3, 4]]"),
        (row(0, "instance_detection", "", images=IMAGES), '{"x": [1, 2, 3, 4]}'),
        (row(0, "instance_detection", "", images=IMAGES), '{"": [[1, 2, 3, 4]]}'),
        (row(0, "report", ""), " "),
        (row(0, "report", ""), "Normal\x07."),
    ],
)
def test_another_answer_is_not(vocabulary, tokenizer, asked, answer):
    assert not accepts(vocabulary, tokenizer, grammar_of(asked, BUDGETS[asked["task"]]), answer)


def test_a_grammar_does_not_depend_on_the_rows_answer(made_rows):
    for found in [*made_rows, *one_of_each()]:
        blank = found | dict.fromkeys(ANSWERS)
        other = found | {"answer": "Z", "answer_raw": "9", "labels": ["Z"], "number": 9.0, "boxes": [], "instances": []}
        for in_words in (False, True):
            grammar = grammar_of(found, 48, in_words)
            assert grammar == grammar_of(blank, 48, in_words) == grammar_of(other, 48, in_words)


def test_letters_or_words_is_a_custom_of_a_data_set_that_no_single_answer_decides(made_rows):
    in_words = answered_in_words(made_rows)
    assert {name for name, task in in_words if task == "classification"} == {"density"}
    first: dict[str, int] = {}
    for place, found in enumerate(made_rows):
        if found["task"] == "classification" and first.setdefault(found["dataset"], place) == place:
            scrambled = [*made_rows]
            scrambled[place] = found | {"answer": "no such words" if len(found["answer"]) == 1 else "Q"}
            assert answered_in_words(scrambled) == in_words


def test_rows_that_are_asked_alike_share_a_grammar(made_rows):
    assert len(of_each_grammar(made_rows, BUDGETS)) < 20


awkward = st.text(
    st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" \"'\\/|&~()[]{}<>:%#@*+?.$^_-;,=!éß😀"),
    min_size=1,
    max_size=20,
).filter(lambda text: text == text.strip() and text.strip(" ,;"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(awkward, min_size=1, max_size=11))
def test_options_of_any_characters_are_allowed_as_they_are(vocabulary, tokenizer, texts):
    options = [{"letter": letter, "text": text} for letter, text in zip("ABCDEFGHIJK", texts, strict=False)]
    asked = row(0, "classification", "two words", options=options)
    grammar = grammar_of(asked, 64, in_words=True)
    for text in texts:
        same = next(other for other in texts if squeezed(other) == squeezed(text))
        assert accepts(vocabulary, tokenizer, grammar, same)
        assert read_strict(asked_of(asked), same) is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(awkward.filter(lambda text: ";" not in text), min_size=1, max_size=70),
    separator=st.sampled_from(";,"),
    seed=st.integers(0, 99),
)
def test_lists_of_labels_of_any_characters_are_allowed_and_read(vocabulary, tokenizer, texts, separator, seed):
    labels = list({squeezed(text.replace(separator, "")): text.replace(separator, "").strip() for text in texts})
    labels = [label for label in labels if label and label != "none"]
    asked = row(0, "multi_label", "", choices=labels, separator=separator)
    chosen = [str(label) for label in np.random.default_rng(seed).permutation(labels)]
    text = f"{separator} ".join(chosen)
    assert accepts(vocabulary, tokenizer, grammar_of(asked, 4096), text) or not labels
    assert len(read_strict(asked_of(asked), text)) == len(labels)
