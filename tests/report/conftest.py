"""A scored split and its page, shared by the tests of the page."""

import pytest

from tests.report.splits import scored_split
from workflow_scripts.report.page import write_page


@pytest.fixture(scope="session")
def split(tmp_path_factory):
    """The arguments of a page of 35 rows, which is written."""
    arguments = scored_split(tmp_path_factory.mktemp("split"))
    write_page(**arguments)
    return arguments


@pytest.fixture(scope="session")
def page(split) -> str:
    return split["out"].read_text(encoding="utf-8")
