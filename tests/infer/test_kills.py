"""A process killed at random moments: the same predictions, and no finished row answered again."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import make_row
from tests.workflow import step_server
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows

pytestmark = pytest.mark.slow


def start(split, root, tiny, features, out, python=sys.executable) -> subprocess.Popen:
    return subprocess.Popen(
        [
            *(python, "-m", "workflow_scripts.infer.answer", "--split", split, "--shard", "1-of-1"),
            *("--model", tiny, "--root", root, "--features", features, "--members", '{"system": "base"}'),
            *("--max-new-tokens", "counting", "24", "--batch", "4", "--threads", "1", "--out", out),
            *("--store", out.parent / "store"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finished(folder) -> list[str]:
    """Whole lines of stored answers."""
    return [
        line
        for path in sorted(folder.glob("store/*/*.jsonl"))
        for line in path.read_text().splitlines(keepends=True)
        if line.endswith("\n")
    ]


@pytest.mark.parametrize(("most", "count"), [(2, 40), pytest.param(10, 200, marks=pytest.mark.extended)])
def test_kills_change_no_answer_and_repeat_no_finished_row(root, tiny, features, tmp_path, most, count):
    split = tmp_path / "rows.parquet"
    write_rows(split, [make_row(root, n, question=f"How many, {n}?") for n in range(count)], Row)
    whole = tmp_path / "whole" / "all.parquet"
    assert start(split, root, tiny, features, whole, step_server.python()).wait() == 0
    out = tmp_path / "killed" / "all.parquet"
    out.parent.mkdir()
    rng = random.Random(0)
    before: list[str] = []
    kills = 0
    while kills < most:
        process = start(split, root, tiny, features, out)
        goal = len(before) + rng.randint(1, count // (most + 2))
        while process.poll() is None and len(finished(out.parent)) < goal:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        assert process.poll() is None, "the run ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
        after = finished(out.parent)
        assert set(before) <= set(after)  # what was finished stays as it was
        assert len({json.loads(line)["key"] for line in after}) == len(after)  # and comes once
        assert not out.exists()
        before = after
    assert start(split, root, tiny, features, out, step_server.python()).wait() == 0
    assert len(finished(out.parent)) == count
    assert read_rows(out, Prediction) == read_rows(whole, Prediction)
