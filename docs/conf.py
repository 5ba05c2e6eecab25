"""Settings of the site of these documents, `make docs`. Sphinx reads the Markdown as it stands: it is read alone, too.

The source folder is the checkout: README and the pages below docs/ link to each other, and every such link and anchor
is checked. Notebooks of the course are read with the outputs that they hold; none is executed here.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

project = "flarebench"
copyright = ""
version = release = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "notebooks"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/**.md", "docs/**.ipynb"]
exclude_patterns = [".venv", ".git", ".snakemake", "results", "benchmarks", "tests", "workflow_scripts"]

myst_heading_anchors = 4
myst_links_external_new_tab = False
suppress_warnings = ["myst.header"]  # a notebook's first heading may follow one of its outputs

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "flarebench"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["site.css"]

NAVIGATION = {
    "docs/index": {
        "Start": ["What it is <../README>", "tutorial", "course/index"],
        "How to": [
            *("howto/own-data", "howto/own-model", "howto/own-judge", "howto/sweeps", "howto/groups", "howto/cluster"),
            *("howto/rubrics", "howto/few-shot", "howto/explanation-maps"),
            *("howto/volumes", "howto/dicom", "howto/signals", "howto/clinical", "howto/clinical-text"),
            *("howto/limited-disk", "howto/offline", "running", "cluster", "serving", "routing", "predictions"),
            *("submission", "publishing", "extending"),
        ],
        "Reference": ["configuration", "models", "access", "columns", "formulas", "glossary", "reruns"],
        "Explanation": [
            *("architecture", "decisions", "data", "training", "inference", "metrics", "report", "figures"),
            "performance",
        ],
        "The project": ["../CONTRIBUTING", "../CHANGELOG", "../SECURITY"],
    },
    "docs/course/index": {
        "Modules": [
            *("1_background", "2_architecture", "3_data", "4_fine_tuning", "5_inference", "6_evaluation"),
            *("7_conclusion", "8_quiz"),
        ]
    },
}
"""Pages by their place in the menu. It stands here so that the pages stay plain Markdown."""


def add_navigation(app: Sphinx, name: str, text: list[str]) -> None:
    """Append the menu to a page that holds one."""
    for caption, pages in NAVIGATION.get(name, {}).items():
        text[0] += "\n".join(["", "```{toctree}", ":hidden:", f":caption: {caption}", "", *pages, "```", ""])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
