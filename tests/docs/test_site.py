"""The site of the documents: it builds without a warning, and needs no network."""

import re
import subprocess
import sys

import pytest

from tests.docs.blocks import PAGES
from tests.docs.test_reference import module
from workflow_scripts import ROOT

conf = module(ROOT / "docs/conf.py")


def in_menu():
    """Pages that the menu lists, relative to the checkout and without an ending."""
    for name, captions in conf.NAVIGATION.items():
        folder = (ROOT / name).parent
        for page in [page for pages in captions.values() for page in pages]:
            titled = re.fullmatch(r".+ <(.+)>", page)
            yield (folder / (titled[1] if titled else page)).resolve().relative_to(ROOT)


def test_the_menu_lists_every_page_once():
    listed = sorted(map(str, in_menu()))
    pages = {str(page.relative_to(ROOT).with_suffix("")) for page in [*PAGES, ROOT / "CHANGELOG.md"]}
    notebooks = {str(path.relative_to(ROOT).with_suffix("")) for path in (ROOT / "docs/course").glob("*.ipynb")}
    assert listed == sorted((pages | notebooks) - {conf.root_doc})


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site; skipped where what builds it is not installed."""
    for name in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(name, reason="pip install -r envs/requirements-docs.txt -c envs/constraints.txt")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", "-c", "docs", ".", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == "", "the build has warnings"
    return out


@pytest.mark.extended
def test_every_page_is_built(site):
    for name in [*in_menu(), conf.root_doc]:
        assert (site / f"{name}.html").is_file(), name


LOADED = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"'](?:https?:)?//|<link\b(?![^>]*rel=\"(?:canonical|author)\")[^>]*"
    r"\bhref=[\"'](?:https?:)?//|@import\s+(?:url\()?[\"']?(?:https?:)?//|url\([\"']?(?:https?:)?//"
)
"""What a browser would fetch from elsewhere; a link that a reader may click is none of it."""


@pytest.mark.extended
def test_reading_needs_no_network(site):
    files = [path for ending in ("html", "css") for path in site.rglob(f"*.{ending}")]
    assert len(files) > 30
    for file in files:
        assert not LOADED.findall(file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://x.org/a.js">',
        "<img alt='' src='//x.org/a.png'>",
        '<link rel="stylesheet" href="https://x.org/a.css">',
        "@import 'https://x.org/a.css';",
        "a { background: url(https://x.org/a.png) }",
    ],
)
def test_what_is_fetched_from_elsewhere_is_seen(text):
    assert LOADED.search(text)
    assert not LOADED.search('<a href="https://x.org">x</a> <img src="data:image/png;base64,AA"> <script src="a.js">')
