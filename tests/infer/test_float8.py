"""Answers in 8-bit floating point: refused where they cannot be, and never taken for others."""

import pytest

from workflow_scripts.core.command import Refused
from workflow_scripts.core.rows import Prediction
from workflow_scripts.core.tables import read_rows
from workflow_scripts.infer import answer as step
from workflow_scripts.models import loading
from workflow_scripts.models.fused.float8 import Float8Linear

BASE, EIGHT = (step.GroupMember(system=name, fp8=name == "eight") for name in ("base", "eight"))


def run(split, root, tiny, features, out, *members):
    step.answer(
        split=split, model=tiny, root=root, features=features, members=list(members), max_new_tokens={"counting": 6},
        batch=8, threads=1, store=out.parent / "answers", out=out,
    )  # fmt: skip
    return read_rows(out, Prediction)


def test_a_device_that_does_not_compute_them_is_named_before_anything_is_read(split, root, tiny, features, tmp_path):
    with pytest.raises(Refused, match="needs a GPU, an H100 or newer, and this job computes on the CPU"):
        run(split, root, tiny, features, tmp_path / "out.parquet", EIGHT)
    with pytest.raises(Refused, match="this job computes on the CPU"):
        loading.load(tiny, fp8=True)


def test_one_load_holds_weights_of_one_kind(split, root, tiny, features, tmp_path):
    with pytest.raises(Refused, match="base, eight: one load holds weights in 8 bits or in full"):
        run(split, root, tiny, features, tmp_path / "out.parquet", BASE, EIGHT)


def test_they_share_no_cached_answer_with_others(split, root, tiny, features, tmp_path, monkeypatch, capsys):
    for module in (step, loading):  # a CPU computes the same products, slowly
        monkeypatch.setattr(module, "check_float8", lambda folder: None)
    base = run(split, root, tiny, features, tmp_path / "base.parquet", BASE)
    capsys.readouterr()
    eight = run(split, root, tiny, features, tmp_path / "eight.parquet", EIGHT)
    said = capsys.readouterr().out
    assert f"answers of eight: 0 cached, {len(base)} to generate" in said and "8-bit floating point" in said
    assert [row.uid for row in eight] == [row.uid for row in base]
    run(split, root, tiny, features, tmp_path / "again.parquet", EIGHT)
    assert f"answers of eight: {len(base)} cached, 0 to generate" in capsys.readouterr().out


def test_every_projection_of_the_language_model_is_held_so(tiny, monkeypatch):
    monkeypatch.setattr(loading, "check_float8", lambda folder: None)
    loaded = loading.load(tiny, fp8=True)
    held = [module for module in loaded.base.modules() if isinstance(module, Float8Linear)]
    assert len(held) == 7 * loaded.base.config.text_config.num_hidden_layers
    assert not any(isinstance(module, Float8Linear) for module in loaded.base.model.vision_tower.modules())
