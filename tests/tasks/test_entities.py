"""Entities and relations: what is written is read back, repeated words follow the rule, F1 is what others compute."""

import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workflow_scripts.core.answers import BadAnswer, Conventions
from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.tasks.entities import answers, metrics, reading
from workflow_scripts.tasks.entities.bio import spans_of, tags_of
from workflow_scripts.tasks.entities.documents import question_about
from workflow_scripts.tasks.entities.mentions import Entity, entity_of, in_order, lines_of, value_of
from workflow_scripts.tasks.relations import answers as relation_answers
from workflow_scripts.tasks.relations import metrics as relation_metrics
from workflow_scripts.tasks.relations import reading as relation_reading

TEXT = "Aspirin 81 mg, then aspirin\n and  aspirin again. Pain in the left leg."
QUESTION = question_about(TEXT, "Which entities?", "Types: Drug; Problem")
EXPECTED = answers.expected_format(QUESTION, Conventions())


def read(text):
    return reading.read_strict(EXPECTED, text)


def test_the_question_says_types_and_text():
    assert EXPECTED.labels == ("Drug", "Problem") and EXPECTED.text == TEXT


def test_repeated_words_mean_their_places_in_the_order_of_the_text():
    assert read("Drug: aspirin") == ["Drug 20 27"]
    assert read("Drug: aspirin\nDrug: aspirin") == ["Drug 20 27", "Drug 34 41"]
    assert read("Drug: aspirin #2") == ["Drug 34 41"]
    assert read("Drug: aspirin\nProblem: aspirin") == ["Drug 20 27", "Problem 20 27"]  # each type counts for itself
    assert read("Drug: aspirin\n" * 3) == ["Drug ? aspirin", "Drug 20 27", "Drug 34 41"]  # the text has two


def test_whole_words_come_before_parts_of_words():
    expected = EXPECTED._replace(text="cancerous, cancer, cancer-free")
    assert reading.read_strict(expected, "Problem: cancer") == ["Problem 11 17"]
    assert reading.read_strict(expected, "Problem: cancer #3") == ["Problem 0 6"]


def test_words_that_stand_apart_are_one_entity():
    assert read("Problem: Pain … leg") == ["Problem 49 53;66 69"]
    assert read("Problem: leg … Pain") == ["Problem ? leg … Pain"]  # the second part lies after the first


def test_line_ends_and_runs_of_spaces_are_one_space():
    assert read("Drug: aspirin and aspirin again") == ["Drug 20 47"]


def test_what_is_not_in_the_form_is_not_read_strictly_but_leniently():
    said = 'The entities are:\n- drug: ASPIRIN\n2. Problem: "left leg"\nDose: 81 mg\n'
    assert read(said) is None
    assert reading.read_lenient(EXPECTED, said) == ["Drug 0 7", "Problem 61 69"]
    assert reading.read_lenient(EXPECTED, "I see no entities") is None
    assert reading.read_lenient(EXPECTED, "No findings.") == [] == read("none")


@pytest.mark.parametrize("wrapped", ["{}", "```json\n{}\n```", '{{"entities": {}}}'])
def test_json_is_read_by_words_and_by_places(wrapped):
    records = [{"type": "Drug", "text": "aspirin"}, {"type": "Problem", "start": 61, "end": 69}]
    said = wrapped.format(json.dumps(records))
    assert reading.read_lenient(EXPECTED, said) == ["Drug 20 27", "Problem 61 69"]
    assert (read(said) is None) == (wrapped != "{}")


def test_a_sources_places_must_hold_its_words():
    good = [{"type": "Drug", "start": 20, "end": 27, "text": "aspirin"}]
    assert answers.parse(good, EXPECTED).text == "Drug: aspirin"
    assert answers.parse([], EXPECTED).text == "none"
    for raw, reason in (
        ([good[0] | {"text": "Aspirin"}], "bad_span"),
        ([good[0] | {"end": 400}], "bad_span"),
        ([good[0] | {"type": "Dose"}], "answer_not_an_option"),
        ("Drug: ibuprofen", "bad_span"),
        (None, "no_answer"),
        (7, "wrong_answer_type"),
    ):
        with pytest.raises(BadAnswer) as error:
            answers.parse(raw, EXPECTED)
        assert error.value.reason == reason, raw
    with pytest.raises(BadAnswer) as error:
        answers.parse(good, answers.expected_format("Which entities?", Conventions()))
    assert error.value.reason == "no_text"


PIECES = ["a", "b", "ab", " ", "\n", " #2", " … ", "none", ": ", "{", "A", "é"]


@settings(max_examples=300, deadline=None)
@given(text=st.lists(st.sampled_from(PIECES), min_size=1, max_size=25).map("".join), data=st.data())
def test_any_entities_are_read_back_as_they_were(text, data):
    place = st.integers(0, len(text))
    entities = set()
    for _ in range(data.draw(st.integers(0, 5))):
        cuts = sorted(data.draw(st.sets(place, min_size=min(2, len(text)), max_size=6)))
        spans = tuple(zip(cuts[::2], cuts[1::2], strict=False))
        if spans and all(text[start:end].strip() for start, end in spans):
            entities.add(Entity(data.draw(st.sampled_from(["Drug", "Dose: x", "{T"])), spans))
    expected = ExpectedFormat(text=text, labels=("Drug", "Dose: x", "{T"))
    assert reading.read_strict(expected, lines_of(entities, text)) == [value_of(each) for each in in_order(entities)]
    assert all(entity_of(value_of(each)) == each for each in entities)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_no_answer_stops_a_reader(said):
    for expected in (EXPECTED, RELATED):
        part = reading if expected is EXPECTED else relation_reading
        strict, lenient = part.read_strict(expected, said), part.read_lenient(expected, said)
        assert strict is None or strict == lenient


def conll_entities(tags):
    """Written anew, by regular expressions: entities of tags as conlleval counts them."""
    kinds = [tag[2:] for tag in tags]
    joined = [
        tag[0] == "I" and place > 0 and tags[place - 1] != "O" and kinds[place - 1] == kinds[place]
        for place, tag in enumerate(tags)
    ]
    letters = "".join("O" if tag == "O" else "i" if glued else "b" for tag, glued in zip(tags, joined, strict=True))
    return {(match.start(), match.end(), kinds[match.start()]) for match in re.finditer("bi*", letters)}


def random_tags(rng, length):
    """Tags as a poor tagger writes them: many begin with I or change their type in the midst."""
    return [
        rng.choice(["O", "O", "B-Drug", "I-Drug", "B-Problem", "I-Problem", "B-Lab-Value", "I-Lab-Value"])
        for _ in range(length)
    ]


def as_values(spans):
    return [f"{kind} {start} {end}" for start, end, kind in spans]


def scored(reference, given, number=0):
    return ScoredAnswer(f"r{number}", "s", f"c{number}", "valid", given, given, reference, "", "null")


def test_the_scorer_equals_an_independent_one_on_a_thousand_label_sequences():
    rng = random.Random(11)
    pairs = [(random_tags(rng, n), random_tags(rng, n)) for n in (rng.randint(1, 30) for _ in range(1000))]
    rows = [
        scored(as_values(spans_of(true)), as_values(spans_of(said)), number)
        for number, (true, said) in enumerate(pairs)
    ]
    facts = metrics.facts(rows)
    sums = facts.unpacked(facts.packed().sum(axis=0))
    computed = {(m.name, m.stratum): float(m.value(sums)) for m in facts.metrics if m.reading == "strict"}
    sets = [(conll_entities(true), conll_entities(said)) for true, said in pairs]
    for true, said in pairs:
        assert set(spans_of(true)) == conll_entities(true) and set(spans_of(said)) == conll_entities(said)

    def counts(kind=None):
        of = [[{e for e in side if kind in (None, e[2])} for side in pair] for pair in sets]
        return sum(len(t & s) for t, s in of), sum(len(t) for t, _ in of), sum(len(s) for _, s in of)

    hits, reference, predicted = counts()
    assert (
        computed["entity_precision", None] == hits / predicted and computed["entity_recall", None] == hits / reference
    )
    assert computed["entity_f1", None] == pytest.approx(2 * hits / (reference + predicted), abs=1e-15)
    by_kind = {}
    for kind in ("Drug", "Problem", "Lab-Value"):
        hits, reference, predicted = counts(kind)
        by_kind[kind] = 2 * hits / (reference + predicted)
        assert computed["entity_f1", kind] == pytest.approx(by_kind[kind], abs=1e-15)
    assert computed["entity_macro_f1", None] == pytest.approx(np.mean(list(by_kind.values())), abs=1e-15)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["O", "B-x", "I-x", "B-y", "I-y"]), max_size=12))
def test_tags_of_entities_give_the_entities_again(tags):
    words = [(2 * place, 2 * place + 1) for place in range(len(tags))]
    spans = [(words[first][0], words[last - 1][1], kind) for first, last, kind in spans_of(tags)]
    assert spans_of(tags_of(words, spans)) == spans_of(tags)


def test_overlaps_match_each_entity_once_and_need_the_type():
    assert metrics.overlaps(["Drug 0 7"], ["Drug 5 9"]) == 1
    assert metrics.overlaps(["Drug 0 7", "Drug 8 9"], ["Drug 0 20"]) == 1
    assert metrics.overlaps(["Drug 0 7"], ["Dose 0 7", "Drug 7 9", "Drug ? aspirin"]) == 0
    assert metrics.overlaps(["Problem 0 4;10 12"], ["Problem 5 9"]) == 0


def test_an_unreadable_answer_names_nothing_and_a_rightly_empty_one_is_right():
    facts = metrics.facts([scored([], []), scored(["Drug 0 7"], None, 1), scored(["Drug 0 7"], ["Drug 0 7"], 2)])
    assert facts.row_scores is not None and facts.row_scores.tolist() == [1.0, 0.0, 1.0]
    sums = facts.unpacked(facts.packed().sum(axis=0))
    f1 = next(metric for metric in facts.metrics if metric.primary)
    assert float(f1.value(sums)) == pytest.approx(2 / 3)


RELATION_QUESTION = question_about(
    "Aspirin 81 mg, heparin 5 units.",
    "Which relations?",
    "Types: Dose-Drug",
    "Entities:",
    "T1 Drug 0 7 Aspirin",
    "T2 Dose 8 13 81 mg",
    "T3 Drug 15 22 heparin",
)
RELATED = relation_answers.expected_format(RELATION_QUESTION, Conventions())


def test_relations_are_read_by_the_names_that_the_question_lists():
    raw = [{"type": "Dose-Drug", "head": "T2", "tail": "T1"}]
    text = relation_answers.parse(raw, RELATED).text
    assert text == "Dose-Drug: T2 -> T1"
    assert relation_reading.read_strict(RELATED, text) == ["T2 T1 Dose-Drug"]
    assert relation_reading.read_strict(RELATED, "Dose-Drug: T2 -> T9") is None
    assert relation_reading.read_strict(RELATED, json.dumps(raw)) == ["T2 T1 Dose-Drug"]
    said = "Here:\n* dose-drug: 81 mg → T1 (Aspirin)\n* Dose-Drug: T7 -> T1"
    assert relation_reading.read_lenient(RELATED, said) == ["T2 T1 Dose-Drug"]
    for wrong in ([raw[0] | {"tail": "T9"}], [raw[0] | {"type": "Reason"}], [raw[0] | {"tail": "T2"}]):
        with pytest.raises(BadAnswer):
            relation_answers.parse(wrong, RELATED)


def test_a_relation_counts_with_its_head_its_tail_and_its_type():
    right = ["T2 T1 Dose-Drug"]
    rows = [scored(right, right), scored(right, ["T1 T2 Dose-Drug"], 1), scored(right, ["T2 T1 Reason"], 2)]
    facts = relation_metrics.facts(rows)
    sums = facts.unpacked(facts.packed().sum(axis=0))
    assert float(next(metric for metric in facts.metrics if metric.primary).value(sums)) == pytest.approx(1 / 3)
    assert facts.row_scores is not None and facts.row_scores.tolist() == [1.0, 0.0, 0.0]


def test_every_task_about_texts_has_its_parts_and_spellings():
    for name in ("entities", "relations", "entailment", "similarity", "span_qa"):
        assert tasks()[name].spellings
        for part in ("answers", "reading", "grammar", "metrics", "baselines"):
            load_part(name, part)
