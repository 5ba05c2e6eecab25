"""`docs/data.md` says what is accepted: its example runs, and its lists are those of the code."""

import json
import re

import pytest

from tests.data.roots import converted, png, write_subset
from workflow_scripts import ROOT
from workflow_scripts.core.files import LONGEST_INTEGER
from workflow_scripts.core.images import ALLOWANCE, FORMATS, LARGEST_FILE, RATIO
from workflow_scripts.core.manifest import IMAGE_ENDINGS, QUESTION_ENDINGS, SPLIT_FOLDERS
from workflow_scripts.core.tasks import BUILT_IN
from workflow_scripts.data.auditing.near_duplicates import NEAR, NEAR_FINE
from workflow_scripts.data.conversion.question_files import LARGEST_QUESTIONS, ROOTS
from workflow_scripts.data.conversion.reasons import FINDINGS, REASONS
from workflow_scripts.data.conversion.rows import LONGEST_TEXT

PAGE = (ROOT / "docs/data.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


def section(heading: str) -> str:
    """The text under a heading, up to the next of its rank or above."""
    rank = heading.count("#")
    return re.split(rf"^#{{1,{rank}}} ", PAGE.split(f"\n{heading}\n")[1], maxsplit=1, flags=re.M)[0]


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_the_question_file_of_the_page_becomes_a_row_of_each_task(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    images = {f"images/{i}.png": png(i, 32, 32) for i in range(2)}
    write_subset(tmp_path / "root", example, images, name="mine", file="questions.json")
    result = converted(tmp_path / "root", tmp_path)
    assert result.quarantine == []
    assert [row.task for row in result.rows] == [task.name for task in BUILT_IN]
    assert [len(row.images) for row in result.rows][:9] == [1] * 6 + [2, 1, 1]
    assert result.rows[1].labels == ("Caries", "Crown") and result.rows[5].number == 12.5


def test_the_page_lists_every_task_and_spelling():
    listed = [line for line in cells(section("### A row of a question file")) if len(line) == 3]
    named = {line[1].strip("`"): tuple(re.findall(r"`([^`]+)`", line[0])) for line in listed if line[1][:1] == "`"}
    assert named == {task.name: task.spellings for task in BUILT_IN}


@pytest.mark.parametrize("listed", [REASONS, FINDINGS], ids=["reasons", "findings"])
def test_the_page_names_every_reason_and_finding(listed):
    assert [name for name in listed if f"`{name}`" not in section("## Reasons")] == []
    order = [
        name for name in re.findall(r"`(\w+)`", section("## Reasons").split("The audit adds")[0]) if name in REASONS
    ]
    assert order == list(REASONS)


def test_the_page_lists_what_counts_and_what_is_opened():
    files = section("## The files").split("###")[0]
    assert [ending for ending in (*IMAGE_ENDINGS, *QUESTION_ENDINGS, ".zip") if f"`{ending}`" not in files] == []
    assert {name for name in SPLIT_FOLDERS.values() if name not in files} == set()
    assert {name for name in ROOTS if f"`{name}`" not in files} == set()
    assert f"opened as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}," in WORDS


def test_the_page_states_the_bounds():
    bounds = section("### Bounds")
    assert f"{LARGEST_FILE // 2**20} MiB" in bounds and f"{LARGEST_QUESTIONS // 2**20} MiB" in bounds
    assert bounds.count(f"{RATIO} times its size, or {ALLOWANCE // 10**6} MB") == 2
    assert f"{LONGEST_TEXT:,} characters" in bounds and f"{LONGEST_INTEGER} digits" in bounds
    assert f"({NEAR} and {NEAR_FINE} bits may differ)" in WORDS


def test_the_example_of_the_page_is_json():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.S)
    assert {"TaskType", "ImageName", "Question", "Answer", "Place", "Rubric"} == set.union(
        *map(set, json.loads(example))
    )
