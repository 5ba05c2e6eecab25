"""The blocks of docs/howto/rubrics.md: what it names is there, and its example does as it says."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.judges import JudgeSection
from workflow_scripts.core.rubrics.stated import NAMES, stated
from workflow_scripts.core.tasks import normalise_task, tasks
from workflow_scripts.judges.rubrics.rubric import resolved, shipped
from workflow_scripts.score.judged.human import read_human_scores

PAGE = (ROOT / "docs/howto/rubrics.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RECORDS = [json.loads(text) for kind, text in BLOCKS if kind == "json"]


def test_the_example_of_the_parser_runs():
    """`from workflow_scripts.judges.rubrics.reply import score`"""
    [code] = [text for kind, text in BLOCKS if kind == "python"]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_judge_is_one():
    """`http://localhost:8000/v1`, `human-scores.jsonl`"""
    [text] = [text for kind, text in BLOCKS if kind == "yaml"]
    judge = JudgeSection.model_validate(yaml.safe_load(text)["judges"]["grader"]).root
    assert judge.metric == "rubric" and judge.validity.measure == "weighted_kappa"


def test_the_row_and_its_items_are_as_the_conversion_reads_them():
    row, items, _ = RECORDS
    assert tasks()[normalise_task(row["TaskType"])].judged_by == "rubrics"
    assert [stated(given).rubric for given in (row["Rubric"], items)] == ["bond", "management"]


def test_the_human_scores_are_read(tmp_path):
    (tmp_path / "human.jsonl").write_text(json.dumps(RECORDS[2]) + "\n")
    [record] = read_human_scores(tmp_path / "human.jsonl")
    assert record.scores == (5.0, 5.0) and record.rubric == resolved("bond")


@pytest.mark.parametrize("name", NAMES)
def test_every_rubric_has_its_line_with_its_scale(name):
    [line] = re.findall(rf"^\| `{name}` \| ([^|]+) \|", PAGE, re.MULTILINE)
    rubric = shipped(name)
    ends = [float(number) for number in re.findall(r"\d+", line)]
    assert (min(ends), max(ends)) == (rubric.scale.least, rubric.scale.most)
    assert not rubric.allowed or sorted(ends) == sorted(rubric.allowed)
