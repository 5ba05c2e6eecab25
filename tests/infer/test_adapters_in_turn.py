"""One load of a base answers with any number of adapters, one in memory at a time, as each would alone."""

import gc
import weakref

import pytest
import torch
from peft import LoraConfig, get_peft_model

from workflow_scripts.core.command import Refused
from workflow_scripts.core.rows import Prediction
from workflow_scripts.core.tables import read_rows
from workflow_scripts.infer import answer as module
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models import loading
from workflow_scripts.models.loading import exchanged, load
from workflow_scripts.models.record import FULL_WEIGHTS

SHAPES = {"small": (2, "attention", None), "large": (8, "language", None), "whole": (4, "language", ["lm_head"])}
"""Rank, projections, and modules that are trained whole."""


@pytest.fixture(scope="module")
def adapters(tiny, tmp_path_factory):
    """Adapters with random weights that touch other modules by other ranks, by name."""
    folder = tmp_path_factory.mktemp("adapters")
    for seed, (name, (rank, targets, whole)) in enumerate(SHAPES.items()):
        torch.manual_seed(seed)
        loaded = load(tiny)
        config = LoraConfig(
            r=rank, lora_alpha=rank, target_modules=loaded.family.lora_targets[targets], modules_to_save=whole
        )
        tuned = get_peft_model(loaded.model, config)
        for parameter_name, parameter in tuned.named_parameters():
            if "lora_B" in parameter_name or "modules_to_save" in parameter_name:
                torch.nn.init.normal_(parameter, std=0.3)
        tuned.save_pretrained(folder / name)
    return {name: folder / name for name in SHAPES}


@pytest.fixture(scope="module")
def run(split, root, tiny, features):
    """A function that answers the split with members and gives their texts by system."""

    def answered(out, members, store=None):
        answer(
            split=split,
            model=tiny,
            root=root,
            features=features,
            members=members,
            max_new_tokens={"counting": 6},
            batch=3,
            threads=1,
            store=store or out.with_suffix(".answers"),
            out=out,
        )
        texts: dict[str, list[str]] = {}
        for row in read_rows(out, Prediction):
            texts.setdefault(row.system, []).append(row.text)
        return texts

    return answered


@pytest.fixture(scope="module")
def members(adapters):
    """The base stands between the adapters, so that every adapter has to leave it as it was."""
    names = ["small", "large", "base", "whole", "small again"]
    return [GroupMember(system=name, adapter=adapters.get(name.split()[0])) for name in names]


def test_each_system_answers_as_it_does_alone(run, members, tmp_path, monkeypatch):
    loads = []
    original = module.load
    monkeypatch.setattr(module, "load", lambda *given, **more: loads.append(more) or original(*given, **more))
    together = run(tmp_path / "together.parquet", members)
    assert len(loads) == 1
    alone = {member.system: run(tmp_path / f"{member.system}.parquet", [member])[member.system] for member in members}
    assert together == alone
    assert len({tuple(texts) for texts in together.values()}) == 4  # base and three adapters


def test_an_adapter_leaves_memory_before_the_next_one_comes(tiny, adapters, monkeypatch):
    loaded = load(tiny, adapter=adapters["large"])
    base = {name: tensor.clone() for name, tensor in load(tiny).base.state_dict().items()}
    before = [weakref.ref(p) for name, p in loaded.model.named_parameters() if "lora_" in name]
    assert len(before) == 2 * 2 * 7
    original, present = loading.with_adapter, []

    def counted(model, place):
        gc.collect()
        present.append(sum(reference() is not None for reference in before))
        return original(model, place)

    monkeypatch.setattr(loading, "with_adapter", counted)
    loaded = exchanged(loaded, adapters["whole"])
    assert present == [0] and loaded.adapted
    loaded = exchanged(loaded, None)
    assert not loaded.adapted
    after = loaded.base.state_dict()
    assert after.keys() == base.keys() and all(torch.equal(after[name], base[name]) for name in base)


def test_an_adapter_whose_answers_are_cached_is_not_loaded(run, members, adapters, tmp_path, monkeypatch):
    store = tmp_path / "store"
    first = run(tmp_path / "first.parquet", members[:2], store)
    used = []
    original = loading.with_adapter
    monkeypatch.setattr(loading, "with_adapter", lambda model, place: used.append(place) or original(model, place))
    again = run(tmp_path / "again.parquet", members[:4], store)
    assert used == [adapters["whole"]]
    assert {name: again[name] for name in first} == first


def test_weights_trained_in_full_share_no_load(run, members, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    (full / FULL_WEIGHTS).touch()
    with pytest.raises(Refused, match="replace the base's"):
        run(tmp_path / "x.parquet", [members[0], GroupMember(system="full", adapter=full)])
