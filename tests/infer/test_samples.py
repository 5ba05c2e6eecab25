"""Several answers to a row: each follows from the prompt and its number, and the consensus is what counts."""

import json
import statistics
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat_server import ChatServer
from tests.infer.asking import LIMITS, run
from tests.models.tiny import build
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Samples
from workflow_scripts.core.requests import seed_of
from workflow_scripts.core.rows import ExpectedFormat, Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part
from workflow_scripts.engines.local.engine import TransformersEngine
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.infer.consensus import write_consensus
from workflow_scripts.models.record import write_record
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.tasks.consensus import consensus_of, place_of_consensus, readings, share_of_consensus

SIX = Samples(draws=6, temperature=1.5)


def drawn(split, root, tiny, features, out, samples=SIX, batch=64, shard="1-of-1", constrained=False, store=None):
    answer(
        split=split,
        shard=shard,
        model=tiny,
        root=root,
        features=features,
        members=[GroupMember(system="many", samples=samples, constrained=constrained)],
        max_new_tokens=LIMITS,
        batch=batch,
        threads=1,
        store=store or out.with_suffix(".answers"),
        out=out,
    )
    return read_rows(out, Prediction)


@pytest.fixture(scope="module")
def table(split, root, tiny, features, tmp_path_factory):
    out = tmp_path_factory.mktemp("many") / "1-of-1.parquet"
    drawn(split, root, tiny, features, out)
    return out


@pytest.fixture(scope="module")
def texts(table):
    """Of each row, its answers in their order."""
    by_row = {}
    for prediction in read_rows(table, Prediction):
        by_row.setdefault(prediction.uid, []).append(prediction.text)
    return by_row


def test_a_row_has_as_many_answers_as_are_drawn_and_they_differ(split, table, texts):
    assert list(texts) == [row.uid for row in read_rows(split, Row)]
    assert {len(answers) for answers in texts.values()} == {6}
    assert all(len(set(answers)) > 1 for answers in texts.values())


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_no_company_in_a_batch_changes_a_draw(split, root, tiny, features, tmp_path, table, batch):
    assert drawn(split, root, tiny, features, tmp_path / "all.parquet", batch=batch) == read_rows(table, Prediction)


def test_shards_and_fewer_draws_are_parts_of_the_whole(split, root, tiny, features, tmp_path, texts):
    part = drawn(split, root, tiny, features, tmp_path / "part.parquet", shard="2-of-2")
    two = drawn(split, root, tiny, features, tmp_path / "two.parquet", Samples(draws=2, temperature=1.5))
    for some, count in ((part, 6), (two, 2)):
        by_row = {}
        for prediction in some:
            by_row.setdefault(prediction.uid, []).append(prediction.text)
        assert by_row == {uid: texts[uid][:count] for uid in by_row}


def test_what_is_drawn_already_is_not_drawn_again(split, root, tiny, features, tmp_path, monkeypatch, table):
    counts = Counter()
    generate = TransformersEngine.generate

    def counted(self, batch):
        if sum(counts.values()) >= 20:
            raise KeyboardInterrupt
        counts.update(request.name for request, _ in batch)
        return generate(self, batch)

    monkeypatch.setattr(TransformersEngine, "generate", counted)
    store, out = tmp_path / "store", tmp_path / "all.parquet"
    with pytest.raises(KeyboardInterrupt):
        drawn(split, root, tiny, features, out, batch=5, store=store)
    assert sum(counts.values()) == 20 and not out.exists()
    monkeypatch.setattr(
        TransformersEngine,
        "generate",
        lambda self, batch: (counts.update(r.name for r, _ in batch), generate(self, batch))[1],
    )
    assert drawn(split, root, tiny, features, out, batch=5, store=store) == read_rows(table, Prediction)
    assert len(counts) == 48 and set(counts.values()) == {1}
    drawn(split, root, tiny, features, out, Samples(draws=8, temperature=1.5), store=store)
    assert len(counts) == 64 and set(counts.values()) == {1}
    drawn(split, root, tiny, features, out, Samples(draws=2, temperature=1.4), store=store)
    assert sum(counts.values()) == 64 + 16


def test_a_grammar_bounds_every_draw(split, root, tiny, features, tmp_path):
    rows = drawn(split, root, tiny, features, tmp_path / "all.parquet", constrained=True)
    assert all(row.text.isdigit() and row.finish_reason == "stop" for row in rows)
    assert len({row.text for row in rows}) > 8
    again = drawn(split, root, tiny, features, tmp_path / "again.parquet", constrained=True, batch=5)
    assert again == rows


@pytest.mark.extended
def test_what_the_library_decodes_is_drawn_alike_in_every_batch(split, root, tmp_path):
    folder = tmp_path / "qwen"
    build("qwen3_5", folder)
    record = folder.with_suffix(".json")
    write_record(record, "qwen", "qwen3_5", folder, None)
    three = Samples(draws=3, temperature=2.0, top_p=0.95)
    rows = drawn(split, root, record, None, tmp_path / "all.parquet", three, batch=5)
    assert drawn(split, root, record, None, tmp_path / "single.parquet", three, batch=1) == rows
    assert len({row.text for row in rows}) > 8


def test_a_server_is_asked_once_a_draw_with_a_seed_of_its_own(split, root, tmp_path):
    samples = Samples(draws=3, temperature=0.8, top_p=0.95)
    with ChatServer() as server:
        rows = run(split, root, server, tmp_path / "all.parquet", samples=samples)
        bodies = list(server.bodies)
        run(split, root, server, tmp_path / "all.parquet", samples=samples)
        assert len(server.bodies) == len(bodies) == 24
    assert {(body["temperature"], body["top_p"]) for body in bodies} == {(0.8, 0.95)}
    seeds = {row.prompt_hash: {seed_of(row.prompt_hash, draw) % 2**31 for draw in range(3)} for row in rows}
    assert {body["seed"] for body in bodies} == set().union(*seeds.values())
    assert [row.uid for row in rows] == [row.uid for row in read_rows(split, Row) for _ in range(3)]


# Consensus


def test_predictions_hold_every_answer_and_the_text_of_the_consensus(split, table, texts, tmp_path):
    shards, out = [tmp_path / "1-of-1.parquet"], tmp_path / "many.parquet"
    changed = [
        replace(row, text=str((place % 6) ** 2 % 5)) if row.uid.endswith(("0", "2")) else row
        for place, row in enumerate(read_rows(table, Prediction))
    ]
    write_rows(shards[0], changed, Prediction)
    write_consensus(split=split, shards=shards, system="many", draws=6, out=out)
    predictions = read_rows(out, Prediction)
    assert [row.uid for row in predictions] == list(texts)
    assert predictions[0].samples == ("0", "1", "4", "4", "1", "0") and predictions[0].text == "1"
    assert predictions[1].samples == tuple(texts["row/1"])
    write_outcomes(split=split, predictions=out, system="many", out=tmp_path / "outcomes.parquet")
    outcome = read_rows(tmp_path / "outcomes.parquet", Outcome)[0]
    assert json.loads(outcome.samples) == [0, 1, 4, 4, 1, 0] and outcome.consistency == 2 / 6
    assert (outcome.strict, outcome.outcome) == ("1.0", "valid")


def test_a_lost_and_a_strange_answer_are_refused(split, table, tmp_path):
    rows = read_rows(table, Prediction)
    for some in (rows[1:], [*rows, rows[0]], [*rows, replace(rows[0], uid="other")]):
        write_rows(tmp_path / "1-of-1.parquet", some, Prediction)
        with pytest.raises(Refused, match=r"1 rows are not answered exactly 6 times, (row/0|other) among them"):
            write_consensus(
                split=split, shards=[tmp_path / "1-of-1.parquet"], system="many", draws=6, out=tmp_path / "x"
            )


@given(st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=1))
def test_of_numbers_the_lower_median_counts(values):
    known = [value for value in values if value is not None]
    place = place_of_consensus(values)
    assert values[place] == statistics.median_low(known) if known else place == 0


@given(st.lists(st.one_of(st.none(), st.sampled_from(["yes", "Yes ", "no", "maybe"])), min_size=1))
def test_of_other_values_the_commonest_counts_and_of_equals_the_first(values):
    place = place_of_consensus(values)
    words = [value.casefold().strip() for value in values if value is not None]
    if not words:
        assert place == 0 and share_of_consensus(values, place) == 0
        return
    word, count = Counter(words).most_common(1)[0]
    assert values[place].casefold().strip() == word
    assert share_of_consensus(values, place) == count / len(values)


def test_label_sets_are_equal_in_whatever_order():
    values = [["edema"], ["nodule", "edema"], ["Edema", "nodule"]]
    assert place_of_consensus(values) == 1 and share_of_consensus(values, 1) == pytest.approx(2 / 3)


def test_unread_answers_do_not_vote_and_thoughts_are_no_answer():
    counting = load_part("counting", "reading")
    texts = ("I cannot say", "I cannot say", "<think>9</think>7", "about 7 cells", "8")
    assert readings(counting, ExpectedFormat(), texts) == [None, None, 7.0, 7.0, 8.0]
    assert consensus_of(counting, ExpectedFormat(), texts) == 2


def test_a_task_may_have_a_consensus_of_its_own():
    class Reading:
        @staticmethod
        def consensus(expected, texts):
            return len(texts) - 1

    assert consensus_of(Reading, ExpectedFormat(), ("a", "b", "c")) == 2
