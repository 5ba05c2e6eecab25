"""All systems of a split are judged together, in shards: each distinct pair once, whatever the shards."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chat_server import ChatServer, Reply
from tests.score.conftest import prediction, row
from tests.score.test_judging import reply
from workflow_scripts.core.config.judges import JudgeSection, RecordedJudge, RuleBasedJudge
from workflow_scripts.core.rows import JudgedPair, Prediction, ReportScore
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.judgements import Judgement, Pair, Store, in_shard, judge_pairs
from workflow_scripts.judges.progress import Progress, duration
from workflow_scripts.score.judge import judge, pairs_to_judge
from workflow_scripts.score.reports import write_reports

ROWS = [row(n, "report", f"Finding {n}.") for n in range(8)]


def predictions_of(folder, name, text):
    """Table of a system that answers `text`, a function of the row's number."""
    answers = [prediction(r.uid, text(number), name) for number, r in enumerate(ROWS)]
    write_rows(folder / f"{name}.parquet", answers, Prediction)
    return folder / f"{name}.parquet"


@pytest.fixture
def systems(tmp_path, tables):
    split, _ = tables(ROWS, [prediction(r.uid, "x") for r in ROWS])
    texts = {"base": lambda n: f"Guess {n}.", "constant": lambda n: "Normal.", "again": lambda n: f"Guess {n}."}
    return split, [predictions_of(tmp_path, name, text) for name, text in texts.items()]


@given(st.lists(st.tuples(st.text(), st.text()), max_size=30), st.integers(1, 9))
def test_each_pair_is_in_one_shard(texts, count):
    for pair in (Pair(*both) for both in texts):
        assert sum(in_shard(pair, f"{number + 1}-of-{count}") for number in range(count)) == 1


def test_pairs_that_systems_share_are_judged_once_and_references_once(systems):
    split, tables_of_systems = systems
    section = RecordedJudge(metric="crimson", path="none")
    pairs = pairs_to_judge(split, tables_of_systems, section)
    assert len(pairs) == len(set(pairs)) == 3 * len(ROWS)  # two kinds of answers, and each reference against itself
    jointly = RecordedJudge(metric="crimson", path="none", freeze_references=False)
    assert len(pairs_to_judge(split, tables_of_systems, jointly)) == 2 * len(ROWS)
    assert len(pairs_to_judge(split, tables_of_systems, RuleBasedJudge())) == 2 * len(ROWS)


def test_shards_together_judge_what_one_job_does_and_every_system_is_scored(systems, tmp_path):
    split, tables_of_systems = systems
    spec = JudgeSection(RuleBasedJudge())
    parts = []
    for name, shards in (("whole", ["1-of-1"]), ("part", ["1-of-3", "2-of-3", "3-of-3"])):
        for shard in shards:
            out = tmp_path / f"{name}.{shard}.parquet"
            judge(split=split, predictions=tables_of_systems, name="rules", spec=spec, shard=shard,
                  store=tmp_path / name, out=out)  # fmt: skip
            parts.append(out)
    whole, shards = (
        sorted((pair for part in files for pair in read_rows(part, JudgedPair)), key=lambda pair: pair.pair)
        for files in (parts[:1], parts[1:])
    )
    assert whole == shards
    for number, predictions in enumerate(tables_of_systems):
        scores = [tmp_path / f"{number}.{files}.parquet" for files in ("whole", "shards")]
        for out, judgements in zip(scores, (parts[:1], parts[1:]), strict=True):
            write_reports(split=split, predictions=predictions, judgements=judgements, out=out,
                          findings=tmp_path / "findings")  # fmt: skip
        one, other = (read_rows(file, ReportScore) for file in scores)
        assert one == other and {score.uid for score in one} == {r.uid for r in ROWS}


def test_a_new_system_asks_for_its_new_pairs_alone(systems, tmp_path):
    split, tables_of_systems = systems
    with ChatServer(lambda _: Reply(reply())) as server:
        section = {"backend": "openai", "metric": "crimson", "url": server.url, "model": "m", "revision": "1"}
        arguments = {"split": split, "name": "m", "spec": JudgeSection.model_validate(section),
                     "store": tmp_path / "s", "out": tmp_path / "j"}  # fmt: skip
        judge(predictions=tables_of_systems, **arguments)
        assert len(server.bodies) == 3 * len(ROWS)
        new = predictions_of(tmp_path, "new", lambda n: f"Guess {n}." if n < 5 else f"Other {n}.")
        judge(predictions=[*tables_of_systems, new], **arguments)
        assert len(server.bodies) == 3 * len(ROWS) + 3


def test_a_killed_job_goes_on_and_asks_for_no_pair_that_has_a_valid_judgement(systems, tmp_path):
    split, tables_of_systems = systems

    def slowly(_):
        time.sleep(0.15)
        return Reply(reply())

    with ChatServer(slowly) as server:
        section = {"backend": "openai", "metric": "crimson", "url": server.url, "model": "m", "revision": "1",
                   "workers": 2}  # fmt: skip
        command = [sys.executable, "-m", "workflow_scripts.score.judge", "--split", split, "--predictions",
                   *tables_of_systems, "--name", "m", "--spec", json.dumps(section), "--store", tmp_path / "s",
                   "--out", tmp_path / "j"]  # fmt: skip
        job = subprocess.Popen([str(part) for part in command])
        while len(server.bodies) < 9:
            time.sleep(0.02)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        time.sleep(0.5)  # what was under way ends
        before, total = len(server.bodies), 3 * len(ROWS)
        stored = sum(len(file.read_text().splitlines()) for file in (tmp_path / "s").rglob("*.jsonl"))
        assert 5 <= stored < total
        subprocess.run([str(part) for part in command], check=True, capture_output=True)
        assert len(server.bodies) - before == total - stored
    assert {pair.status for pair in read_rows(tmp_path / "j", JudgedPair)} == {"valid"}


def test_progress_names_invalid_replies_and_says_how_long_the_rest_takes(capsys):
    now = iter(range(0, 10_000, 10))
    progress = Progress("mine", 12, 2, lambda: float(next(now)))
    progress.reply("0123456789abcdef", 0, "the reply holds no JSON object")
    for number in range(10):
        progress.done("valid" if number else "invalid")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "judge mine: 12 distinct pairs, 2 of them stored, 10 to ask"
    assert lines[1] == "judge mine: pair 0123456789ab, try 1: invalid: the reply holds no JSON object"
    assert "judge mine: 1 of 10 pairs (1 invalid; 1 invalid replies in all), 0.10 pairs/s, 80 s left" in lines
    assert "judge mine: 3 of 10 pairs (1 invalid, 2 valid; 1 invalid replies in all), 0.10 pairs/s, 60 s left" in lines
    assert lines[-1].startswith("judge mine: 10 of 10 pairs (1 invalid, 9 valid;") and lines[-1].endswith("0 s left")
    assert duration(2 * 3600 + 65 * 60) == "3 h 05 min" and duration(600) == "10 min"


def test_the_time_left_goes_by_whole_batches_though_all_pairs_of_a_batch_end_at_once(capsys):
    """Five batches of 64 pairs, a minute each: a line a batch, said when the next one has ended, and the end."""
    now = 0.0
    progress = Progress("mine", 5 * 64, 0, lambda: now)
    for _ in range(5):
        now += 60
        for _ in range(64):
            progress.done("valid")
    lines = [line.removeprefix("judge mine: ") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [line.split(" pairs")[0] for line in lines] == [
        "64 of 320", "128 of 320", "192 of 320", "256 of 320", "320 of 320",
    ]  # fmt: skip
    left = [line.split(", ")[-1] for line in lines]
    assert left == ["3 min left", "2 min left", "60 s left", "0 s left", "0 s left"]
    assert all(", 1.07 pairs/s, " in line for line in lines)


def test_a_thousand_invalid_replies_are_counted_and_twenty_named(capsys, tmp_path):
    class Broken:
        def __init__(self):
            self.identity = {"backend": "broken"}

        def ask(self, pairs, attempt):
            for pair in pairs:
                yield pair, Judgement("invalid", "?", "the reply holds no JSON object")

    broken, pairs = Broken(), [Pair(str(number), "") for number in range(1000)]
    judgements = judge_pairs(pairs, Store(tmp_path, broken.identity), broken, 0, "broken")
    assert len(judgements) == 1000
    out = capsys.readouterr().out
    assert out.count("invalid: the reply") == 20 and "1000 invalid replies in all" in out
