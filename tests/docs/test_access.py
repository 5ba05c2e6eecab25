"""The access page follows its facts; what it says can be run is shipped, and what it cannot run can be imported."""

import importlib.util
import re

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.scoring import PublishedNumbers
from workflow_scripts.core.config.workflow import load_configuration

SPEC = importlib.util.spec_from_file_location("access", ROOT / "docs/access.py")
access = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(access)
FACTS = access.read_access()
ROWS = [row for table in FACTS.tables for row in table.rows]


def test_the_page_follows_its_facts():
    assert access.PAGE.read_text(encoding="utf-8") == access.access_text(), "run: python docs/access.py"


def test_every_row_stands_once_with_its_access():
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) and {row.access for row in ROWS} == {"public", "gated", "private"}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_that_can_be_run_names_a_shipped_configuration(row):
    if row.configuration is not None:
        assert (ROOT / "config" / row.configuration).is_file()
    assert row.link is None or row.link.startswith("https://")


@pytest.mark.parametrize("row", [row for row in ROWS if row.numbers], ids=lambda row: row.name)
def test_the_numbers_of_every_row_can_be_imported(row):
    published = PublishedNumbers.model_validate(access.published_of(FACTS, row)).root
    assert {name: entry.numbers[0].value for name, entry in published.items()} == {
        number.system: number.value for number in row.numbers
    }


def test_the_example_of_the_page_is_a_section_of_a_configuration():
    (block,) = re.findall(r"```yaml\n(.*?)```", access.PAGE.read_text(encoding="utf-8"), re.DOTALL)
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    configuration = load_configuration(raw | yaml.safe_load(block), "the page")
    assert [entry.numbers[0].subset for entry in configuration.published.values()] == ["EyePACS"] * 4


def test_a_private_row_with_a_configuration_is_refused():
    facts = next(row for row in ROWS if row.access == "private").model_dump() | {"configuration": "vqa.yaml"}
    with pytest.raises(ValueError, match="private rows have no configuration"):
        access.Row.model_validate(facts)
