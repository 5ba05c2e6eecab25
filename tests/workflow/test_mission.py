"""The whole mission of `benchmarks.mission_gpu` in small shapes: ended before it was done, gone on with, done."""

import importlib.util
import re
import shutil
import subprocess
import sys
import time

import pytest

from tests.workflow.runs import ROOT, checkout
from workflow_scripts.core.rows import JudgedPair
from workflow_scripts.core.tables import read_rows

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.extended,
    pytest.mark.skipif(
        any(importlib.util.find_spec(package) is None for package in ("radeval", "CRIMSON")),
        reason="needs `pip install --no-deps -r envs/requirements-judges.txt`",
    ),
]
TIME_IS_UP = 3
SYSTEMS = ("base", "tuned", "majority", "nearest")
JUDGED = re.compile(r"^\| (crimson|green) \| (crimson|green) \| (\w+) \| (\d+) \| (\d+) \|", re.M)


def mission(folder, minutes):
    """One call of the command; its exit code and what it printed."""
    command = [sys.executable, "-m", "benchmarks.mission_gpu", "--tiny", "--folder", str(folder / "work")]
    start = time.monotonic()
    done = subprocess.run(
        [*command, "--minutes", str(minutes)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert time.monotonic() - start < 60 * minutes + 30, "a call that was given minutes takes no more"
    assert done.returncode in (0, TIME_IS_UP), done.stdout[-6000:]
    return done.returncode, done.stdout


def test_a_mission_goes_on_over_short_calls_and_ends_with_the_columns_of_both_judges(tmp_path):
    folder = checkout(tmp_path / "checkout")
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    first, _ = mission(folder, 1.1)
    assert first == TIME_IS_UP
    for minutes in (3, 3, 60):
        code, output = mission(folder, minutes)
        if code == 0:
            break
    assert code == 0 and "second run: Nothing to be done" in output, output[-3000:]

    columns = {(judge, metric, system): (int(n), int(bad)) for judge, metric, system, n, bad in JUDGED.findall(output)}
    reports = {n + bad for n, bad in columns.values()}
    assert len(reports) == 1 and reports != {0}
    assert columns.keys() == {(m, m, system) for m in ("crimson", "green") for system in SYSTEMS}
    assert all(n == 0 for n, _ in columns.values()), "a random judge replies nonsense, and no reply becomes a score"

    results = folder / "work/tiny/run-0/results"
    for judge in ("crimson", "green"):
        pairs = read_rows(results / f"scores/validation/judgements/{judge}.1-of-1.parquet", JudgedPair)
        assert {pair.status for pair in pairs} == {"invalid"} and len({pair.pair for pair in pairs}) == len(pairs)
        assert f"| score_judge {judge} | 1 |" in output and f"{len(pairs)} | pairs |" in output
    for rule in ("models_fetch", "features_extract", "train_tune", "infer_answer", "report_page"):
        assert re.search(rf"^\| {rule} \| [1-9]", output, re.M), f"the table of costs has no {rule}"
