"""Links of the documents lead to files and headings that exist, on the site and where the pages lie."""

import json
import re
import unicodedata
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.docs.blocks import PAGES
from workflow_scripts import ROOT

NOTEBOOKS = sorted((ROOT / "docs/course").glob("*.ipynb"))
ALL = [*PAGES, ROOT / "CHANGELOG.md", *NOTEBOOKS]
_FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page's Markdown without its code blocks; of a notebook, the text cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return _FENCED.sub("", text)


def links(page: Path) -> list[str]:
    """Links and images of a page that lead into the repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [unquote(target) for target in targets if not re.match(r"https?:|mailto:", target)]


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as GitHub and MyST make them."""
    return {slug(heading) for heading in re.findall(r"^#{1,6} +(.+?) *$", prose(page), re.MULTILINE)}


def slug(heading: str) -> str:
    """`What is a "row"?` → `what-is-a-row`."""
    words = re.sub(r"`|\*|\[|\]\([^)]*\)", "", heading).lower()
    signs = (sign for sign in words if sign in " -_" or unicodedata.category(sign)[0] in "LN")
    return "".join(signs).replace(" ", "-")


@pytest.mark.parametrize("page", ALL, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_their_anchors_exist(page):
    wrong = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", [*(ROOT / "docs").rglob("*.md")], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_reached_from_another(page):
    sources = [other for other in ALL if other != page]
    reached = {(other.parent / link.partition("#")[0]).resolve() for other in sources for link in links(other)}
    assert page in reached, "no page links to it"


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("A row of a question file", "a-row-of-a-question-file"),
        ("Where do I change …?", "where-do-i-change-"),
        ("Columns of `table.csv` and `metrics.parquet`", "columns-of-tablecsv-and-metricsparquet"),
        ("CRIMSON's and GREEN's own models", "crimsons-and-greens-own-models"),
        ("Why not a notebook and RadEval?", "why-not-a-notebook-and-radeval"),
    ],
)
def test_a_heading_has_the_name_that_github_gives_it(heading, anchor):
    assert slug(heading) == anchor


def test_a_link_without_a_target_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One\n\n[a](#one) [b](#two) [c](none.md) ![d](none.png) [e](https://x.org)\n\n```\n[f](g.md)\n```\n"
    )
    assert links(page) == ["#one", "#two", "none.md", "none.png"]
    with pytest.raises(AssertionError):
        test_links_and_their_anchors_exist(page)
