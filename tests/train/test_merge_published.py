"""A published adapter is merged by the names of today, whatever its own are."""

import torch
from safetensors.torch import load_file

from tests.models.adapters import renamed, write_adapter
from tests.models.test_adapters import OLD_NAMES
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.record import read_record
from workflow_scripts.train.card import name_base
from workflow_scripts.train.merge import merge


def test_full_weights_of_a_published_adapter_are_those_of_the_same_adapter_with_the_names_of_today(tiny, tmp_path):
    ours = write_adapter(tiny, tmp_path / "ours")
    old = renamed(ours, tmp_path / "old", OLD_NAMES["transformers 4.50"])
    name_base(ours, read_record(tiny)[0])
    fetch(spec=Checkpoint(family="adapter", checkpoint=str(old)), record=tmp_path / "theirs.json")
    merge(model=tiny, adapter=ours, out=tmp_path / "today")
    merge(model=tiny, adapter=tmp_path / "theirs.json", out=tmp_path / "then")
    expected, given = (load_file(tmp_path / name / "model.safetensors") for name in ("today", "then"))
    assert expected.keys() == given.keys()
    assert all(torch.equal(expected[name], given[name]) for name in expected)
