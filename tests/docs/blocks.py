"""The code blocks of the documents, and what each page says about running them.

A comment before a block, or one for all blocks of a page at its top, says how it is known to work:

    <!-- run -->                         the block runs as it stands, in a checkout with the demo's results
    <!-- run, and fails: REASON -->      the same, and its last command is to be refused
    <!-- planned: REASON -->             its Snakemake commands are planned (`-n`) only, and why
    <!-- run by: FILE -->                that test or script runs the same commands
    <!-- not run: REASON -->             why it cannot be run
    <!-- all blocks run by: FILE -->     for a page whose blocks a test takes from it
"""

import re
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts import ROOT

LANGUAGES = ("sh", "bash", "console", "python")
"""Languages of blocks that have to say how they are known to work; yaml, json and others are data."""

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/howto").glob("*.md")),
    *sorted((ROOT / "docs/course").glob("*.md")),
]

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<comment>[^>]*?) -->\n\s*)?"
    r"^(?P<space> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=space)```$",
    re.MULTILINE | re.DOTALL,
)
_WHOLE_PAGE = re.compile(r"^<!-- all blocks (run by: [^>]*?) -->$", re.MULTILINE)
_FORM = re.compile(r"(?P<kind>run by|run, and fails|run|planned|not run)(?:: (?P<detail>.+))?", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: str  # relative to the checkout
    line: int  # of its first line
    language: str
    text: str  # without its indentation
    kind: str | None  # run, run by, "run, and fails", planned, not run; None: the page does not say
    detail: str  # a reason, or the file that runs it

    @property
    def name(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Commands of a shell block, continued lines joined, comments cut."""
        joined = self.text.replace("\\\n", " ")
        lines = [re.sub(r"(?:^|\s)#.*$", "", line).strip() for line in joined.splitlines()]
        return [re.sub(r"\s+", " ", line) for line in lines if line]


def blocks_of(page: Path, text: str | None = None) -> list[Block]:
    """The blocks of a page in one of `LANGUAGES`; `text` stands for its content where it is given."""
    text = page.read_text(encoding="utf-8") if text is None else text
    whole = _WHOLE_PAGE.search(text)
    blocks = []
    for match in _BLOCK.finditer(text):
        if match["language"] not in LANGUAGES:
            continue
        name = str(page.relative_to(ROOT))
        comment = match["comment"] or (whole[1] if whole else "")
        form = _FORM.fullmatch(" ".join(comment.split()))
        indent = len(match["space"])
        blocks.append(
            Block(
                page=name,
                line=text[: match.start("text")].count("\n") + 1,
                language=match["language"],
                text="".join(line[indent:] or "\n" for line in match["text"].splitlines(keepends=True)),
                kind=form["kind"] if form else None,
                detail=(form["detail"] or "") if form else "",
            )
        )
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
