"""A grammar bounds an answer to what the strict reader reads, within the limit, and never shuts out the truth."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer

from tests.data.roots import converted
from tests.score.conftest import RELATED, one_of_each, row
from workflow_scripts.core.config.datasets import SyntheticDataset
from workflow_scripts.core.config.workflow import Inference
from workflow_scripts.core.rows import ExpectedFormat, Option, Row
from workflow_scripts.core.rows import Image as RowImage
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.engines.local.constraint import Constraint
from workflow_scripts.synthetic.dataset import draw_dataset
from workflow_scripts.synthetic.pretraining import build_processor
from workflow_scripts.tasks.language.text import squeezed

LIMITS = Inference().max_new_tokens
SMALL = {
    "classification": 16,
    "multi_label": 48,
    "detection": 48,
    "instance_detection": 128,
    "counting": 8,
    "regression": 8,
    "entities": 40,
    "relations": 40,
    "entailment": 16,
    "similarity": 8,
    "span_qa": 16,
    "report": 48,
    "open_vqa": 16,
    "closed_vqa": 8,
    "free_response": 40,
    "probability": 8,
    "clinical_decision": 32,
}
"""The embedded default's, and short ones."""
IMAGES = (RowImage("0.png", "", 1600, 900),)


@pytest.fixture(scope="module")
def tokenizer():
    return build_processor(vocabulary=1024, seed=0).tokenizer


@pytest.fixture(scope="module")
def stops(tokenizer):
    return {tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids("<end_of_turn>")}


@pytest.fixture(scope="module")
def synthetic_rows(tmp_path_factory):
    place = tmp_path_factory.mktemp("synthetic")
    draw_dataset(SyntheticDataset(scale=0.2), place / "root")
    return converted(place / "root", place).rows


@pytest.fixture(scope="module")
def real_rows(tmp_path_factory):
    place = os.environ.get("FLAREBENCH_REAL_MINI")
    if not place:
        pytest.skip("FLAREBENCH_REAL_MINI is not set to a folder of real images")
    return converted(Path(place), tmp_path_factory.mktemp("real")).rows


@pytest.fixture(scope="module")
def vocabulary(tokenizer, stops):
    return from_tokenizer(tokenizer, eos_token=sorted(stops))


def letters(text: str) -> ExpectedFormat:
    """Options under the letters of `text`."""
    return ExpectedFormat(answer_by="letter", options=tuple(Option(letter, "?") for letter in text))


def label_list(separator: str, *labels: str) -> ExpectedFormat:
    return ExpectedFormat(labels=labels, separator=separator)


def grammar_of(row, limit):
    return load_part(row.task, "grammar").grammar(row.expected, row.images, limit)


def read_strict(row, text):
    return load_part(row.task, "reading").read_strict(row.expected, text)


def grammars(rows, limits):
    return [grammar_of(row, limits[row.task]) for row in rows]


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


def fits(tokenizer, text: str, limit: int) -> bool:
    return len(tokenizer(text, add_special_tokens=False)["input_ids"]) < limit


WALKS = ("uniform", "lowest", "highest", "longest", "shortest")


def walk(tokenizer, stops, texts: list[str], limits: list[int], how: str) -> list[str | None]:
    """Answers by a walk that stops only where it must; None for one that outran its limit."""
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
            if not ended[number] and len(answers[number]) < limits[number]:
                stay.append(place)
        constraint.keep(stay)
        going = [going[place] for place in stay]
    return [
        tokenizer.decode(answer, skip_special_tokens=False) if end else None
        for answer, end in zip(answers, ended, strict=True)
    ]


def of_each_grammar(rows, limits) -> dict[str, Row]:
    return dict(zip(grammars(rows, limits), rows, strict=True))


@pytest.mark.parametrize("how", WALKS)
@pytest.mark.parametrize("limits", [SMALL, LIMITS], ids=["small", "default"])
def test_any_walk_through_a_grammar_ends_in_time_and_is_read_strictly(synthetic_rows, tokenizer, stops, how, limits):
    extra = [
        row(0, "classification", "B", expected=ExpectedFormat(answer_by="letter")),
        row(2, "multi_label", "", expected=label_list(";")),
        row(3, "multi_label", "", expected=label_list(",", "A a", "b")),
        row(4, "detection", "[]", images=IMAGES),
        row(6, "instance_detection", "{}", images=IMAGES),
        row(7, "open_vqa", "left lung"),
        row(8, "closed_vqa", "no", expected=ExpectedFormat(answer_by="words", labels=("yes", "no"))),
        row(9, "closed_vqa", "left", expected=ExpectedFormat(answer_by="words")),
        row(10, "closed_vqa", "B", expected=letters("AB")),
        row(11, "entities", "none", expected=ExpectedFormat(labels=("Drug", "Dose"), text="Aspirin 81 mg")),
        row(12, "entities", "none", expected=ExpectedFormat(text="Aspirin 81 mg")),
        row(13, "relations", "none", expected=RELATED),
        row(14, "entailment", "yes", expected=ExpectedFormat(answer_by="words", labels=("yes", "no"))),
        row(15, "similarity", "2.5"),
        row(16, "span_qa", "81 mg", expected=ExpectedFormat(text="He takes 81 mg of aspirin,\n  daily.")),
        row(17, "free_response", "Pulmonary embolism."),
        row(18, "probability", "30%", answer_raw='"25-42%"', expected=ExpectedFormat(percent=True)),
        row(19, "clinical_decision", "Final Diagnosis: appendicitis", answer_raw='{"pathology": "appendicitis"}'),
    ]
    by_grammar = of_each_grammar([*synthetic_rows, *extra], limits)
    rows = list(by_grammar.values())
    answers = walk(tokenizer, stops, list(by_grammar), [limits[row.task] for row in rows], how)
    for asking, answer in zip(rows, answers, strict=True):
        assert answer is not None, (asking.task, asking.question)
        assert read_strict(asking, answer) is not None, (asking.task, answer)
    assert {row.task for row in rows} == set(tasks())


@pytest.mark.parametrize("limits", [SMALL, LIMITS], ids=["small", "default"])
def test_the_truth_of_every_synthetic_row_is_allowed_token_by_token(synthetic_rows, vocabulary, tokenizer, limits):
    for row_, grammar in zip(synthetic_rows, grammars(synthetic_rows, limits), strict=True):
        limit = limits[row_.task]
        if fits(tokenizer, row_.answer, limit) and read_strict(row_, row_.answer) is not None:
            assert accepts(vocabulary, tokenizer, grammar, row_.answer), (row_.question, row_.answer, grammar)


def test_the_truth_of_every_real_row_is_allowed_token_by_token(real_rows, vocabulary, tokenizer):
    limits = LIMITS | {"report": 1024}
    for row_, grammar in zip(real_rows, grammars(real_rows, limits), strict=True):
        assert accepts(vocabulary, tokenizer, grammar, row_.answer), (row_.question, row_.answer, grammar)


def karyogram() -> str:
    """All 46 chromosomes, in an image of 1600 × 900."""
    rng = np.random.default_rng(0)
    names = [str(number) for number in range(1, 23) for _ in range(2)] + ["x", "y"]
    boxes: dict[str, list] = {}
    for name in names:
        boxes.setdefault(name, []).append([int(v) for v in rng.integers(100, [1600, 900, 300, 300])])
    return json.dumps(boxes)


@pytest.mark.parametrize(
    ("asking", "answer"),
    [
        (row(0, "regression", ""), "33.3333333333333"),
        (row(0, "regression", ""), "21.67%"),
        (row(0, "regression", ""), "2085.0"),
        (row(0, "regression", ""), "-0.5"),
        (row(0, "counting", ""), "0"),
        (row(0, "counting", ""), "4211"),
        (row(0, "classification", "", expected=letters("ABCDEFGHIJK")), "K"),
        (row(0, "multi_label", "", expected=label_list(";", "Caries", "Bone loss, mild, or none")), ""),
        (row(0, "multi_label", "", expected=label_list(";", "Caries", "Bone loss, mild, or none")), "None"),
        (
            row(0, "multi_label", "", expected=label_list(";", "Caries", "Bone loss, mild, or none")),
            "Bone loss, mild, or none; Caries",
        ),
        (row(0, "multi_label", "", expected=label_list(",", "Nodule", "Bone loss, mild")), "Bone loss, mild, Nodule"),
        (row(0, "detection", "", images=IMAGES), "[[321, 128, 473, 252], [1599, 0, 1600, 900.5]]"),
        (row(0, "detection", "", images=IMAGES), "[]"),
        (row(0, "instance_detection", "", images=IMAGES), karyogram()),
        (row(0, "open_vqa", ""), "3"),
        (row(0, "open_vqa", ""), "(poorly) differentiated adenocarcinoma, T2/N0"),
        (row(0, "open_vqa", ""), "左肺"),
        (row(0, "closed_vqa", "", expected=ExpectedFormat(labels=("Yes", "No"))), "No"),
        (row(0, "closed_vqa", ""), "upper left lobe"),
        (row(0, "report", ""), "Findings:\nHeart < 15 cm, 38° “clear” — no “effusion”.\n\nImpression: normal."),
    ],
)
def test_a_legitimate_answer_is_allowed(vocabulary, tokenizer, asking, answer):
    limit = max(LIMITS[asking.task], 20)
    assert accepts(vocabulary, tokenizer, grammar_of(asking, limit), answer)


@pytest.mark.parametrize(
    ("asking", "answer"),
    [
        (row(0, "classification", "", expected=letters("AB")), "T"),
        (row(0, "counting", ""), "012"),
        (row(0, "counting", ""), "about 3"),
        (row(0, "regression", ""), "1."),
        (row(0, "multi_label", "", expected=label_list(";", "Caries", "Crown")), "Caries; Caries"),
        (row(0, "multi_label", "", expected=label_list(";", "Caries", "Crown")), "Crown;"),
        (row(0, "detection", "", images=IMAGES), "[[1, 2, 3]]"),
        (row(0, "detection", "", images=IMAGES), "[[1, 2, 3, 1000]]"),
        (row(0, "detection", "", images=IMAGES), "[[01, 2, 3, 4]]"),
        (row(0, "instance_detection", "", images=IMAGES), '{"x": [1, 2, 3, 4]}'),
        (row(0, "instance_detection", "", images=IMAGES), '{"": [[1, 2, 3, 4]]}'),
        (row(0, "open_vqa", ""), "..."),
        (row(0, "open_vqa", ""), "left\nlung"),
        (row(0, "closed_vqa", "", expected=ExpectedFormat(labels=("Yes", "No"))), "no"),
        (row(0, "closed_vqa", "", expected=ExpectedFormat(labels=("Yes", "No"))), "Yes, it is"),
        (row(0, "closed_vqa", ""), "one two three four five six"),
        (row(0, "report", ""), " "),
        (row(0, "report", ""), "Normal\x07."),
    ],
)
def test_another_answer_is_not(vocabulary, tokenizer, asking, answer):
    assert not accepts(vocabulary, tokenizer, grammar_of(asking, LIMITS[asking.task]), answer)


def test_a_grammar_does_not_depend_on_the_rows_answer(synthetic_rows):
    for asking in [*synthetic_rows, *one_of_each()]:
        typed = {"labels": None, "number": None, "boxes": None, "instances": None}
        blank = replace(asking, answer="", answer_raw="", **typed)
        typed = {"labels": ("Z",), "number": 9.0, "boxes": (), "instances": ()}
        other = replace(asking, answer="Z", answer_raw="9", **typed)
        assert grammar_of(asking, 48) == grammar_of(blank, 48) == grammar_of(other, 48)


def test_letters_or_words_is_a_convention_of_a_subset_that_no_single_answer_decides(synthetic_rows, tmp_path):
    def by_words(rows):
        return {row.subset for row in rows if row.task == "classification" and row.expected.answer_by == "words"}

    assert by_words(synthetic_rows) == {"density"}
    draw_dataset(SyntheticDataset(scale=0.2), tmp_path / "root")
    scrambled = 0
    for file in (tmp_path / "root").glob("training/*/*/*.json"):
        content = json.loads(file.read_text())
        records = content if isinstance(content, list) else next(v for v in content.values() if isinstance(v, list))
        for record in records:
            if record["TaskType"] == "Classification" and isinstance(record["Answer"], str):
                record["Answer"] = "no such words" if len(record["Answer"]) == 1 else "Q"
                scrambled += 1
                break
        file.write_text(json.dumps(content))
    assert scrambled > 2
    assert by_words(converted(tmp_path / "root", tmp_path).rows) == {"density"}


def test_rows_that_are_asked_alike_share_a_grammar(synthetic_rows):
    assert len(of_each_grammar(synthetic_rows, LIMITS)) < 20


awkward = st.text(
    st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" \"'\\/|&~()[]{}<>:%#@*+?.$^_-;,=!éß😀"),
    min_size=1,
    max_size=20,
).filter(lambda text: text == text.strip() and text.strip(" ,;"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(awkward, min_size=1, max_size=11))
def test_options_of_any_characters_are_allowed_as_they_are(vocabulary, tokenizer, texts):
    options = tuple(Option(letter, text) for letter, text in zip("ABCDEFGHIJK", texts, strict=False))
    asking = row(0, "classification", "two words", expected=ExpectedFormat(answer_by="words", options=options))
    grammar = grammar_of(asking, 64)
    for text in texts:
        same = next(other for other in texts if squeezed(other) == squeezed(text))
        assert accepts(vocabulary, tokenizer, grammar, same)
        assert read_strict(asking, same) is not None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(awkward.filter(lambda text: ";" not in text), min_size=1, max_size=70),
    separator=st.sampled_from(";,"),
    seed=st.integers(0, 99),
)
def test_lists_of_labels_of_any_characters_are_allowed_and_read(vocabulary, tokenizer, texts, separator, seed):
    labels = list({squeezed(text.replace(separator, "")): text.replace(separator, "").strip() for text in texts})
    special = [token for token in tokenizer.all_special_tokens if token.startswith("<")]
    labels = [label for label in labels if label and label != "none" and not any(t in label for t in special)]
    asking = row(0, "multi_label", "", expected=label_list(separator, *labels))
    chosen = [str(label) for label in np.random.default_rng(seed).permutation(labels)]
    text = f"{separator} ".join(chosen)
    assert accepts(vocabulary, tokenizer, grammar_of(asking, 4096), text) or not labels
    assert len(read_strict(asking, text)) == len(labels)
