"""YAML blocks of the documents are parts of a valid configuration: every key, value and entry is one."""

import re

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from tests.docs.blocks import PAGES
from workflow_scripts import ROOT
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.config.workflow import Configuration

GENERATED = {"docs/configuration.md", "docs/columns.md", "docs/access.md"}
_BLOCK = re.compile(r"^(?P<space> *)```yaml\n(?P<text>.*?)^(?P=space)```$", re.MULTILINE | re.DOTALL)

WITHIN = {
    ("docs/howto/few-shot.md", "shots"): ModelSystem,
    ("docs/howto/few-shot.md", "samples"): ModelSystem,
    ("docs/howto/sweeps.md", "evaluation"): Recipe,
    ("docs/howto/sweeps.md", "sampling"): Recipe,
    ("docs/howto/volumes.md", "images"): NiftiDataset,
    ("docs/howto/dicom.md", "groups"): DicomDataset,
}
"""Blocks that show keys of one entry, by page and key: the entry's model."""

ENTRIES = {("docs/tutorial.md", "bounded"): "systems"}
"""Blocks that show an entry of a section without the section."""

OF_OTHERS = "# trl sft"
"""How a block begins that configures another program."""


def yaml_blocks():
    """Each block with its page and line, without its indentation."""
    for page in PAGES:
        name, text = str(page.relative_to(ROOT)), page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text) if name not in GENERATED else ():
            lines = match["text"].splitlines(keepends=True)
            block = "".join(line[len(match["space"]) :] or "\n" for line in lines)
            if not block.startswith(OF_OTHERS):
                yield pytest.param(name, block, id=f"{name}:{text[: match.start('text')].count(chr(10)) + 1}")


BLOCKS = list(yaml_blocks())


def validate(page, text):
    """Check each key of a block as the value of a configuration's section, or of the entry that it stands in."""
    for key, value in yaml.safe_load(text).items():
        model = WITHIN.get((page, key), Configuration)
        section = ENTRIES.get((page, key), key)
        assert section in model.model_fields, f"{page}: {key!r} is no key of {model.__name__}"
        entry = {key: value} if (page, key) in ENTRIES else value
        TypeAdapter(model.model_fields[section].rebuild_annotation()).validate_python(entry)


@pytest.mark.parametrize(("page", "text"), BLOCKS)
def test_a_block_is_part_of_a_valid_configuration(page, text):
    validate(page, text)


def test_every_exception_is_still_on_its_page():
    keys = {(page, key) for page, text in (block.values for block in BLOCKS) for key in yaml.safe_load(text)}
    assert {*WITHIN, *ENTRIES} <= keys and len(BLOCKS) > 50


@pytest.mark.parametrize(
    "text",
    [
        "sytems: {a: {model: b}}\n",
        "systems: {a: {modl: b}}\n",
        "splits: {a: {dataset: b, folder: testin}}\n",
        "inference: {max_new_tokens: {counts: 3}}\n",
    ],
)
def test_a_wrong_key_or_value_is_seen(text):
    with pytest.raises((AssertionError, ValidationError)):
        validate("docs/page.md", text)
