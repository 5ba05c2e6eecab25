"""The memory that docs/models.md states is what the architectures give."""

import pytest

from benchmarks.model_memory import CHECKPOINTS, HEAD, line
from workflow_scripts import ROOT


@pytest.mark.extended
def test_the_table_of_memory_is_printed_by_its_script():
    page = (ROOT / "docs/models.md").read_text(encoding="utf-8")
    assert f"{HEAD}\n" + "\n".join(map(line, CHECKPOINTS)) in page
