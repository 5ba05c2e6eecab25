"""The course and the how-to pages use the words that all documents use."""

import json

import pytest

from tests.core.test_words import NOT_IN_PROSE, module, wrong_names
from workflow_scripts import ROOT

PYTHON = sorted((ROOT / "docs").rglob("*.py"))
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / "docs").rglob("*.ipynb")])


def name_of(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("file", PYTHON, ids=name_of)
def test_names_of_the_documents_modules_are_plain(file):
    assert wrong_names(file, module(file)[0]) == []
    assert [hit for text in module(file)[1] for hit in NOT_IN_PROSE.findall(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_pages_are_plain(page):
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    assert NOT_IN_PROSE.findall(text) == []
