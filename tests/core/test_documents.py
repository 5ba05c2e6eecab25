"""What the documents name is there: links, files, modules, rules, commands."""

import re

import pytest

from workflow_scripts import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/howto").glob("*.md"))]
CODE = ROOT / "workflow_scripts"
EXAMPLES = (
    "flarebench_yes_no/",
    "workflow_scripts/judges/backends/program.py",
    "workflow_scripts/models/families/vipllava.py",
    "workflow_scripts/core/config/sources/captions.py",
    "workflow_scripts/data/sources/captions.py",
    "tasks/TASK/",
)
"""Files that docs/extending.md tells the reader to write, and a placeholder."""


def name_of(path):
    return str(path.relative_to(ROOT))


def text_of(page):
    return page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    local = [link.split("#")[0] for link in links if not link.startswith(("http", "#", "mailto"))]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_files_exist(page):
    named = re.findall(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|smk|jinja|toml))`", text_of(page))
    roots = (ROOT, CODE, ROOT / "tests", page.parent)
    missing = [name for name in named if not any((root / name).exists() for root in roots)]
    beside = {path.name for path in CODE.rglob("*.py")}
    assert [name for name in missing if not name.startswith(EXAMPLES) and ("/" in name or name not in beside)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_folders_exist(page):
    named = re.findall(r"`((?:workflow_scripts|rules|docs|tests|profiles|envs|config|tasks)/[\w/-]*)`", text_of(page))
    missing = [name for name in named if not ((ROOT / name).exists() or (CODE / name).exists())]
    assert [name for name in missing if not name.startswith(EXAMPLES)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_run_modules_that_exist(page):
    modules = set(re.findall(r"-m (workflow_scripts(?:\.\w+)+|tests(?:\.\w+)+|benchmarks(?:\.\w+)+)", text_of(page)))
    modules = {module for module in modules if not module.endswith((".STAGE.STEP", ".STAGE"))}
    assert [name for name in modules if not ROOT.joinpath(*name.split(".")).with_suffix(".py").exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_named_targets_of_make_exist(page):
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", text_of(page), re.MULTILINE))
    assert named - targets == set()


def test_named_rules_exist():
    rules = {
        name
        for file in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]
        for name in re.findall(r"^rule (\w+):", text_of(file), re.MULTILINE)
    }
    stages = "data|features|train|infer|encoders|score|saliency|report|submit|synthetic|models"
    for page in PAGES:
        named = set(re.findall(rf"`((?:{stages})_[a-z]+)`", text_of(page)))
        if page.name != "CHANGELOG.md":  # which names what there was, too
            assert named - rules - {"train_fixed"} == set(), page  # a folder of CT-RATE


def test_the_architecture_lists_every_package():
    packages = {path.name for path in CODE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    listed = set(re.findall(r"^\| `workflow_scripts/(\w+)`", text_of(ROOT / "docs/architecture.md"), re.MULTILINE))
    assert listed == packages


def test_the_classes_that_the_architecture_names_exist():
    source = "".join(file.read_text(encoding="utf-8") for file in CODE.rglob("*.py"))
    page = text_of(ROOT / "docs/architecture.md")
    names = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z]\w+)?)`", page)) - {"Counting", "Snakefile"}
    assert len(names) > 8 and {name for name in names if f"class {name}" not in source} == set()


def test_the_glossary_explains_every_column_of_the_table():
    from dataclasses import fields

    from workflow_scripts.core.rows import MetricValue

    page = text_of(ROOT / "docs/glossary.md")
    columns = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`[^|]+) \|", page, re.MULTILINE))))
    assert {field.name for field in fields(MetricValue)} <= columns
