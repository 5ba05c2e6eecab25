"""A real language model as judge, loaded in its job and behind a real server: its replies are as messy as real ones.

It is 135 million parameters small, and answers CRIMSON's and GREEN's prompts with what is seldom a judgement. So
these tests claim nothing about scores: every pair has an outcome, counts add up, and no reply breaks a parser.
"""

import csv
import json
import os
from collections import Counter
from itertools import chain
from types import SimpleNamespace

import pytest

from tests.real.reports import report_pairs
from tests.real.runs import METRICS, TOKENS, ReportRun, judges
from workflow_scripts.core.answers import final_answer
from workflow_scripts.judges.crimson import read_crimson
from workflow_scripts.judges.crimson import score as crimson_score
from workflow_scripts.judges.green import read_green
from workflow_scripts.judges.green import score as green_score
from workflow_scripts.judges.replies import InvalidJudgement

PATHS = ("here", "there")
JUDGES = [f"{metric}-{path}" for metric in METRICS for path in PATHS]
PAIRS = int(os.environ.get("FLAREBENCH_REAL_PAIRS", "20"))
"""Every judge judges each: 20 pairs take a quarter of an hour on two cores, 200 take five minutes on a GPU."""


pytestmark = [pytest.mark.extended, pytest.mark.workflow]


@pytest.fixture(scope="module")
def done(smollm2, served, tmp_path_factory):
    """The run over so many pairs with all four judges, whatever share of their replies is invalid."""
    pairs = report_pairs(PAIRS)
    run = ReportRun.prepared(tmp_path_factory.mktemp("reports"), pairs)
    sections = judges(smollm2, served, batch=20, invalid_share=1.0)
    output = run.run("all", sections)
    return SimpleNamespace(run=run, pairs=pairs, sections=sections, output=output)


@pytest.mark.parametrize("judge", JUDGES)
def test_every_pair_has_one_outcome_and_an_invalid_one_its_reason(done, judge):
    judged = done.run.judged(judge)
    # What stands after the mark that ends a turn is no part of an answer.
    answers = Counter((reference, final_answer(hypothesis).text.strip()) for reference, hypothesis in done.pairs)
    assert Counter((pair.reference, pair.hypothesis) for pair in judged) == answers
    assert {pair.status for pair in judged} <= {"valid", "invalid"}
    assert all(bool(pair.reason) == (pair.status == "invalid") for pair in judged)


def replies_of(done) -> list[str]:
    return [pair.reply for judge in JUDGES for pair in done.run.judged(judge)]


def test_the_model_did_answer(done):
    """Replies of a language model: words, not one and the same, none longer than it may be, and none that is lost."""
    for judge in JUDGES:
        replies = [pair.reply for pair in done.run.judged(judge)]
        assert sum(len(reply.split()) >= 3 for reply in replies) >= 0.5 * len(replies), judge
        assert max(map(len, replies)) <= TOKENS * 20
    reasons = {pair.reason or "" for judge in JUDGES for pair in done.run.judged(judge)}
    assert not any("gave no reply" in reason or "died" in reason for reason in reasons)
    assert len(set(replies_of(done))) >= 3


@pytest.mark.parametrize("judge", JUDGES)
def test_the_table_says_how_many_are_invalid_and_the_counts_add_up(done, judge):
    counts, metric = done.run.counts(judge), judge.partition("-")[0]
    lines = done.run.metric_values(judge, metric)
    assert {line.subset for line in lines} >= {"chest", "macro"}
    for line in lines:
        assert line.rows == counts.total() == len(done.pairs)
        assert (line.invalid, line.abstained, line.unread) == (counts["invalid"], 0, counts["invalid"])
        assert (line.value is None) == (counts["valid"] == 0)
    with (done.run.folder / "results/report/validation/table.csv").open(newline="") as stream:
        shown = [line for line in csv.DictReader(stream) if (line["metric"], line["judge"]) == (metric, judge)]
    assert {line["invalid"] for line in shown if not line["stratum"]} == {str(counts["invalid"])}


def outcome(read, score, reply) -> str:
    """What becomes of a reply; anything but a score in its range or an `InvalidJudgement` is an error."""
    try:
        read(reply)
        value = score(reply)
    except InvalidJudgement as fault:
        return str(fault)
    assert -1 <= value <= 1
    return "valid"


@pytest.mark.parametrize(("read", "score"), [(read_crimson, crimson_score), (read_green, green_score)], ids=METRICS)
def test_no_reply_breaks_a_parser_whole_cut_or_repeated(done, read, score):
    """Replies of both metrics go through both parsers: a judge may answer another question than it was asked."""
    replies = replies_of(done)
    assert len(replies) == len(JUDGES) * len(done.pairs)
    outcomes = Counter(outcome(read, score, reply) for reply in replies)
    assert outcomes.total() == len(replies) and all(outcomes)
    step = max(1, len(replies) // 80)
    for reply in replies[::step]:
        for cut in (*(reply[: len(reply) * part // 8] for part in range(8)), reply[::-1], reply * 2, f"{{{reply}}}"):
            assert outcome(read, score, cut)


@pytest.mark.parametrize("judge", JUDGES)
def test_the_step_found_what_the_parsers_find(done, judge):
    read, score = (read_crimson, crimson_score) if judge.startswith("crimson") else (read_green, green_score)
    for pair in done.run.judged(judge):
        assert (outcome(read, score, pair.reply) == "valid") == (pair.status == "valid")


def test_a_second_run_does_nothing(done):
    assert "Nothing to be done" in done.run.run("all", done.sections)


@pytest.mark.parametrize("metric", METRICS)
def test_above_the_share_that_is_allowed_unless_said_otherwise_the_run_stops_with_one_sentence(done, metric, tmp_path):
    """The same replies, recorded, with the default share."""
    counts = done.run.counts(f"{metric}-here")
    share = counts["invalid"] / counts.total()
    if share <= 0.2:
        pytest.skip(f"the model's replies are better than that: {share:.0%} are invalid")
    path = tmp_path / "replies.jsonl"
    pairs = done.run.judged(f"{metric}-here")
    lines = ({"reference": p.reference, "hypothesis": p.hypothesis, "reply": p.reply} for p in pairs)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    recorded = {"backend": "recorded", "metric": metric, "path": str(path), "freeze_references": False}
    output = ReportRun.prepared(tmp_path / "again", done.pairs).run("recorded", {"again": recorded}, code=1)
    said = [line for line in output.splitlines() if "of its replies are invalid" in line]
    assert said and len({line.strip() for line in said}) == 1
    assert f"judge again: {share:.0%} of its replies are invalid, 20% are allowed (`invalid_share`)" in said[0]
    assert "Traceback" not in output


@pytest.mark.parametrize("judge", ["green-here", "green-there"])
def test_a_judge_that_is_asked_stops_above_that_share_too(done, smollm2, served, judge, tmp_path):
    """Three pairs, asked anew: a run that stops names the judge and the share, and writes no table of its own."""
    if done.run.counts(judge)["invalid"] < 0.5 * len(done.pairs):
        pytest.skip("the model's replies are better than that")
    invalid = [(p.reference, p.hypothesis) for p in done.run.judged(judge) if p.status == "invalid"][:3]
    run = ReportRun.prepared(tmp_path / "few", invalid)
    output = run.run("few", {judge: judges(smollm2, served, batch=3)[judge]}, code=1)
    assert f"judge {judge}: 100% of its replies are invalid, 20% are allowed" in output
    assert "Traceback" not in output and run.judged(judge) == []


def test_the_server_is_still_well_when_all_was_asked(done, served):
    assert served.running


def test_a_run_whose_judges_agree_on_nothing_has_a_table_and_a_page(done):
    report = done.run.folder / "results/report/validation"
    assert "| report | **macro** |" in (report / "table.md").read_text()
    assert (report / "index.html").stat().st_size > 1000


def test_the_weights_are_real(smollm2):
    """The checkpoint was converted as it is: the model knows a capital."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    new = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(new)


def test_pairs_are_distinct_and_the_same_each_time():
    pairs = report_pairs(200)
    assert len(set(pairs)) == 200 and pairs == report_pairs(200)
    assert all(text.strip() == text and text for text in chain.from_iterable(pairs))
