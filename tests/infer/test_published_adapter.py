"""A published adapter answers beside its base in one job, with the features that are its own."""

import pytest

from tests.models.adapters import renamed, write_adapter
from tests.models.test_adapters import OLD_NAMES
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.core.rows import Prediction
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.record import read_record
from workflow_scripts.train.card import name_base
from workflow_scripts.train.merge import merge


@pytest.fixture(scope="module")
def ours(tiny, tmp_path_factory):
    """An adapter of all linear layers, those of the vision tower among them, with the names of today."""
    adapter = write_adapter(tiny, tmp_path_factory.mktemp("adapter") / "ours")
    name_base(adapter, read_record(tiny)[0])
    return adapter


@pytest.fixture(scope="module")
def theirs(ours, tmp_path_factory):
    """Its record, as of one that somebody published years ago."""
    folder = tmp_path_factory.mktemp("published")
    renamed(ours, folder / "lora", OLD_NAMES["transformers 4.50"])
    fetch(spec=Checkpoint(family="adapter", checkpoint=str(folder / "lora")), record=folder / "theirs.json")
    return folder / "theirs.json"


@pytest.fixture(scope="module")
def answers_of(split, root, tmp_path_factory):
    """Texts of a group's answers by system, and what the job printed."""
    folder = tmp_path_factory.mktemp("answers")

    def ask(model, features, **members):
        out = folder / f"{'+'.join(members)}.parquet"
        answer(
            split=split,
            model=model,
            root=root,
            features=features,
            members=[GroupMember(system=name, adapter=adapter) for name, adapter in members.items()],
            max_new_tokens=dict.fromkeys(tasks(), 6),
            batch=4,
            threads=1,
            store=folder / "store",
            out=out,
        )
        texts: dict[str, dict[str, str]] = {name: {} for name in members}
        for row in read_rows(out, Prediction):
            texts[row.system][row.uid] = row.text
        return texts

    return ask


def test_base_and_adapter_share_a_load_and_each_has_its_own_images(
    tiny, features, ours, theirs, answers_of, split, root, tmp_path, capsys
):
    """Of full weights of the same sums, whose tower's features are computed as those of any model."""
    merge(model=tiny, adapter=ours, out=tmp_path / "full", dtype="float32")
    full = tmp_path / "full.json"
    fetch(spec=Checkpoint(family="gemma3", checkpoint=str(tmp_path / "full")), record=full)
    index = tmp_path / "index.parquet"
    extract(split=split, root=root, model=full, index=index, batch=4, threads=1, store=tmp_path / "store")
    expected = answers_of(full, index, full=None)["full"]
    both = answers_of(tiny, features, base=None, theirs=theirs)
    alone = answers_of(tiny, features, alone=None)["alone"]
    assert both["theirs"] == expected
    assert both["base"] == alone != expected
    capsys.readouterr()
    assert answers_of(tiny, features, again=ours)["again"] != alone
    assert "8 to generate" in capsys.readouterr().out  # its file has other bytes: other names
    answers_of(tiny, features, theirs=theirs)
    assert "8 cached, 0 to generate" in capsys.readouterr().out
