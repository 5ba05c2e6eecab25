"""Every shell and Python block of the documents says how it is known to work."""

import re

import pytest

from tests.docs.blocks import BLOCKS, PAGES, blocks_of
from workflow_scripts import ROOT

KINDS = {"run", "run, and fails", "planned", "run by", "not run"}


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_a_block_runs_in_a_test_or_says_why_it_cannot(block):
    remedy = "write a comment before it, as tests/docs/blocks.py says: <!-- run -->, <!-- not run: REASON -->, …"
    assert block.kind in KINDS, f"{block.name}: nothing says how the block is known to work; {remedy}"
    assert block.detail or block.kind == "run", f"{block.name}: {block.kind} wants a reason or a file"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.kind == "run by"], ids=lambda block: block.name)
def test_what_runs_a_block_is_there_and_names_what_it_runs(block):
    runner = ROOT / block.detail
    assert runner.is_file(), block.detail
    text = re.sub(r"\s+", " ", runner.read_text(encoding="utf-8"))
    if runner.suffix == ".py":
        words = re.findall(r"[\w./-]{6,}", block.text)
        assert any(word in text for word in words), f"{block.detail} names nothing of {block.name}"
    else:  # a script or a workflow of CI: the commands themselves
        missing = [command for command in block.commands if command not in text]
        assert missing == [], f"{block.detail} does not run {missing}"


def test_most_blocks_are_run_and_no_page_is_forgotten():
    assert len(BLOCKS) > 45 and len(PAGES) > 25
    assert sum(block.kind != "not run" for block in BLOCKS) > 0.7 * len(BLOCKS)


@pytest.mark.parametrize(
    ("text", "kind", "detail"),
    [
        ("```sh\nls\n```\n", None, ""),
        ("<!-- run -->\n\n```sh\nls\n```\n", "run", ""),
        ("<!-- not run: needs a GPU -->\n```sh\nls\n```\n", "not run", "needs a GPU"),
        ("1. x\n\n   <!-- planned: a\n   cluster -->\n\n   ```sh\n   ls\n   ```\n", "planned", "a cluster"),
        ("<!-- run, and fails: a wrong key -->\n\n```sh\nls\n```\n", "run, and fails", "a wrong key"),
        ("<!-- all blocks run by: tests/x.py -->\n\ntext\n\n```sh\nls\n```\n", "run by", "tests/x.py"),
        ("<!-- a remark -->\n\n```sh\nls\n```\n", None, ""),
        ("<!-- run -->\n\nOther words.\n\n```sh\nls\n```\n", None, ""),
    ],
)
def test_what_a_page_says_of_a_block_is_read(text, kind, detail):
    [block] = blocks_of(ROOT / "README.md", text)
    assert (block.kind, block.detail, block.text) == (kind, detail, "ls\n")


def test_the_commands_of_a_block_are_joined_and_rid_of_comments():
    [block] = blocks_of(ROOT / "README.md", "```sh\na  b \\\n    --c 'd#e'   # why\n\n# only why\nf\n```\n")
    assert block.commands == ["a b --c 'd#e'", "f"]


def test_data_blocks_need_not_say_anything():
    assert blocks_of(ROOT / "README.md", "```yaml\na: 1\n```\n\n```json\n{}\n```\n\n```\nplain\n```\n") == []
