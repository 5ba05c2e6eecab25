"""Lists on the pages are complete: tasks, notes, definitions, figures, presets."""

import re
from typing import get_args

import pytest

from workflow_scripts import ROOT
from workflow_scripts.core.config.sources.presets import PRESETS, SIGNAL_PRESETS
from workflow_scripts.core.metrics import Note
from workflow_scripts.core.tasks import BUILT_IN

DOCS, CODE = ROOT / "docs", ROOT / "workflow_scripts"
TABLES = [
    ("metrics.md", "| task | strict |"),
    ("metrics.md", "| task | primary |"),
    ("metrics.md", "| task | `majority`"),
]
TABLES += [("inference.md", "| task | what a grammar allows")]


def text_of(name):
    return (DOCS / name).read_text(encoding="utf-8")


def spoken(task):
    """A task's name as the pages write it: `open_vqa` is open vqa."""
    return {"multi_label": "multi-label"}.get(task, task.replace("_", " "))


@pytest.mark.parametrize(("page", "head"), TABLES)
def test_a_table_by_task_has_a_line_for_each_task(page, head):
    table = text_of(page).split(f"\n{head}", 1)[1].split("\n\n", 1)[0]
    first = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    listed = {name.strip().lower() for cell in first for name in cell.split(",")}
    assert {spoken(task.name) for task in BUILT_IN} - listed == set()


def test_the_glossary_names_each_task_and_note():
    page = text_of("glossary.md")
    [tasks] = re.findall(r"^\| task \| one kind of question: (.+) \|$", page, re.MULTILINE)
    named = {name.strip().lower().replace("-", " ") for name in tasks.split(",")}
    assert named == {task.name.replace("_", " ") for task in BUILT_IN}
    for name in ("glossary.md", "metrics.md"):
        assert [note for note in get_args(Note) if f"`{note}`" not in text_of(name)] == []


def test_the_page_of_metrics_names_each_definition():
    source = "".join(file.read_text(encoding="utf-8") for file in CODE.rglob("*.py"))
    definitions = {name for name in re.findall(r'definition="([^"]+)"', source) if "(after" not in name}
    [line] = re.findall(r"^\| `definition` \| (.+) \|$", text_of("metrics.md"), re.MULTILINE)
    assert len(definitions) > 6 and [name for name in definitions if f"`{name}`" not in line] == []


def test_each_figure_has_its_line_and_its_caption():
    """Names of drawings are `anchor(KIND, …)`, or KIND alone."""
    source = "".join(file.read_text(encoding="utf-8") for file in (CODE / "report").rglob("*.py"))
    kinds = set(re.findall(r'name=anchor\(\s*f?"([a-z-]+)', source)) | set(
        re.findall(r'name="(outcomes|cost)"', source)
    )
    listed = re.findall(r"^\| `([a-z-]+?)(?:-[A-Z-]+)?` \|", text_of("figures.md"), re.MULTILINE)
    captions = re.findall(r'^    "(\w+)": ', (ROOT / "rules/captions/figures.rst").read_text(), re.MULTILINE)
    assert len(kinds) > 15 and kinds - set(listed) == set()
    assert {kind.split("-")[0] for kind in kinds} - set(captions) == set()


@pytest.mark.parametrize(("page", "presets"), [("data.md", PRESETS), ("howto/signals.md", SIGNAL_PRESETS)])
def test_each_preset_has_its_line(page, presets):
    named = "".join(re.findall(r"^\| (`[^|]+) \|", text_of(page), re.MULTILINE))
    assert [name for name in presets if f"`{name}`" not in named] == []
