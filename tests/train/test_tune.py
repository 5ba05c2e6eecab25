"""Tuning learns, publishes an adapter that PEFT loads alone, and a killed run ends as an undisturbed one."""

import json
import os
import shutil
import signal

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.recipes import Evaluation, Lora, Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import BadImage
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record
from workflow_scripts.train import tune as module
from workflow_scripts.train.rows import LikeLengths

RECIPE = Recipe(
    lora=Lora(r=4, alpha=4, dropout=0.1), learning_rate=5e-3, epochs=None, steps=7, batch=3, micro_batch=1, save_every=2
)


def run(folder, split, root, tiny, features, recipe=RECIPE, **options):
    places = {name: folder / name for name in ("adapter", "checkpoints")} | {"history": folder / "history.parquet"}
    inputs = {"split": split, "root": root, "model": tiny, "features": features}
    module.tune(recipe=recipe, prompt=Prompt(), **inputs, **places, threads=1, **options)
    return load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, split, root, tiny, features):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, split, root, tiny, features)


def test_the_loss_falls_and_is_written_step_by_step(undisturbed):
    history = read_rows(undisturbed[0] / "history.parquet", TrainingStep)
    assert [entry.step for entry in history] == [1, 2, 3, 4, 5, 6, 7]
    assert history[-1].loss < history[0].loss


def test_the_adapter_is_complete_and_loads_with_peft_alone(undisturbed, tiny):
    adapter = undisturbed[0] / "adapter"
    for name in ("adapter_config.json", "README.md", "tokenizer.json", "chat_template.jinja", "processor_config.json"):
        assert (adapter / name).exists(), name
    model = PeftModel.from_pretrained(load(tiny).model, adapter)
    assert any(
        name.endswith("lora_B.default.weight") and weight.abs().max() > 0 for name, weight in model.named_parameters()
    )
    assert all("language_model.layers" in name for name in undisturbed[1])


def test_the_card_names_base_revision_data_and_recipe(undisturbed):
    card = (undisturbed[0] / "adapter" / "README.md").read_text()
    assert "library_name" in card and "training rows | 8" in card and '"learning_rate": 0.005' in card


def files_with(folder, *words):
    """Names of the files below `folder` that hold one of the words."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return [file.name for file in files if any(word.encode() in file.read_bytes() for word in words)]


HUB = {"checkpoint": "google/medgemma-1.5-4b-it", "revision": "e" * 40}


@pytest.mark.parametrize("origin", ["folder", "hub"])
def test_an_adapter_names_its_base_as_others_know_it_and_no_place_of_this_machine(
    origin, tmp_path, split, root, tiny, features
):
    work = tmp_path / "somewhere/of_ours"
    folder = shutil.copytree(tiny.with_suffix(""), work / "models/mine")
    known = HUB if origin == "hub" else {"checkpoint": None, "revision": None}
    record = write_record(folder.with_suffix(".json"), "mine", "gemma3", folder, known["revision"],
                          checkpoint=known["checkpoint"])  # fmt: skip
    run(work, split, root, folder.with_suffix(".json"), features, RECIPE.model_copy(update={"steps": 1}),
        store=work / "store")  # fmt: skip
    name = HUB["checkpoint"] if origin == "hub" else "mine"
    for adapter in (work / "adapter", next((work / "store").glob("*/adapter"))):
        settings = json.loads((adapter / "adapter_config.json").read_text())
        assert (settings["base_model_name_or_path"], settings["revision"]) == (name, known["revision"])
        assert f'base_model: "{name}"' in (adapter / "README.md").read_text()
        assert f"| base | {name} at `{record.revision}` |" in (adapter / "README.md").read_text()
        assert json.loads((adapter / "provenance.json").read_text())["base"] == name
        assert files_with(adapter, str(tmp_path), "of_ours", os.uname().nodename) == []
        assert list(adapter.glob("*.bin")) == []
    assert load(folder.with_suffix(".json"), adapter=work / "adapter").adapted


def test_an_interrupted_run_ends_with_the_same_adapter(undisturbed, tmp_path, split, root, tiny, features, monkeypatch):
    step = module.FeatureTrainer.training_step

    def dies(self, *arguments, **options):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return step(self, *arguments, **options)

    monkeypatch.setattr(module.FeatureTrainer, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, split, root, tiny, features)
    assert not (tmp_path / "adapter").exists()
    monkeypatch.setattr(module.FeatureTrainer, "training_step", step)
    resumed = run(tmp_path, split, root, tiny, features)
    for name, weight in undisturbed[1].items():
        torch.testing.assert_close(resumed[name], weight, atol=1e-6, rtol=1e-5)


def test_another_recipe_never_takes_up_the_checkpoint(tmp_path, split, root, tiny, features, monkeypatch):
    step = module.FeatureTrainer.training_step
    seen = []

    def dies(self, *arguments, **options):
        seen.append(self.state.global_step)
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return step(self, *arguments, **options)

    monkeypatch.setattr(module.FeatureTrainer, "training_step", dies)
    for rate in (5e-3, 4e-3):
        seen.clear()
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, split, root, tiny, features, RECIPE.model_copy(update={"learning_rate": rate}))
        assert seen[0] == 0


def test_a_recipe_that_tunes_the_tower_trains_on_pixels(tmp_path, split, root, tiny):
    recipe = RECIPE.model_copy(update={"lora": Lora(r=4, targets="all-linear"), "steps": 2})
    assert recipe.tunes_tower
    weights = run(tmp_path, split, root, tiny, None, recipe)
    assert any(
        "vision_tower" in name and weight.abs().max() > 0 for name, weight in weights.items() if "lora_B" in name
    )


def test_evaluation_holds_back_whole_cases_and_writes_their_loss(tmp_path, split, root, tiny, features):
    recipe = RECIPE.model_copy(update={"evaluation": Evaluation(every=2, rows=2)})
    run(tmp_path, split, root, tiny, features, recipe)
    history = read_rows(tmp_path / "history.parquet", TrainingStep)
    assert [entry.step for entry in history if entry.evaluation_loss is not None][:3] == [2, 4, 6]


def test_a_signal_saves_and_the_next_run_ends_as_an_undisturbed_one(
    undisturbed, tmp_path, split, root, tiny, features, monkeypatch
):
    step = module.FeatureTrainer.training_step

    def signalled(self, *arguments, **options):
        if self.state.global_step == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(self, *arguments, **options)

    monkeypatch.setattr(module.FeatureTrainer, "training_step", signalled)
    with pytest.raises(Refused, match="SIGUSR1 after step 4: the checkpoint is saved; run again to go on"):
        run(tmp_path, split, root, tiny, features)
    monkeypatch.setattr(module.FeatureTrainer, "training_step", step)
    resumed = run(tmp_path, split, root, tiny, features)
    for name, weight in undisturbed[1].items():
        torch.testing.assert_close(resumed[name], weight, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [([float("nan")], "the loss is nan at step"), ([1.0] * 10 + [9.0] * 10, "the loss has diverged: ")],
)
def test_a_lost_run_stops_with_the_remedy(tmp_path, split, root, tiny, features, monkeypatch, losses, sentence):
    compute = module.FeatureTrainer.compute_loss
    values = iter(losses * 9)

    def faked(self, *arguments, **options):
        return compute(self, *arguments, **options) * 0 + next(values)

    monkeypatch.setattr(module.FeatureTrainer, "compute_loss", faked)
    recipe = RECIPE.model_copy(update={"steps": 25, "micro_batch": 3})
    with pytest.raises(Refused, match=f"{sentence}.*lower learning_rate"):
        run(tmp_path, split, root, tiny, features, recipe)
    assert not (tmp_path / "adapter").exists()


def test_out_of_memory_says_what_to_change(tmp_path, split, root, tiny, features, monkeypatch):
    def full(self, *_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(module.FeatureTrainer, "training_step", full)
    with pytest.raises(Refused, match="out of memory with 1 rows at once: set the recipe's micro_batch to 1 or"):
        run(tmp_path, split, root, tiny, features)


def test_a_checkpoint_that_a_kill_cut_short_is_not_taken_up(tmp_path):
    for step, state in ((2, '{"global_step": 2}'), (10, '{"global_step": 10}'), (12, '{"global_st'), (14, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert module.last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-2"]
    assert module.last_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize(("count", "batch"), [(1, 4), (4, 4), (10, 4), (64, 4), (65, 16)])
def test_an_epoch_shows_every_row_once_in_an_order_of_its_own(count, batch):
    lengths = [(7 * n) % 23 for n in range(count)]
    sampler = LikeLengths(lengths, batch, seed=1)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
    assert all(sorted(order) == list(range(count)) for order in orders)
    assert orders[0] == orders[2]
    assert count < 10 or orders[0] != orders[1]


def test_rows_at_once_and_token_budget_change_no_gradient(tmp_path, split, root, tiny, features, monkeypatch):
    recipe = RECIPE.model_copy(update={"lora": Lora(r=4, dropout=0.0), "batch": 4, "micro_batch": 4, "steps": 3})
    whole = run(tmp_path / "whole", split, root, tiny, features, recipe)
    single = run(tmp_path / "single", split, root, tiny, features, recipe.model_copy(update={"micro_batch": 1}))
    build = module.FeatureTrainer.__init__

    def budgeted(self, loaded, token_budget, **options):
        build(self, loaded, 80, **options)

    seen = []
    compute = module.FeatureTrainer.compute_loss
    monkeypatch.setattr(module.FeatureTrainer, "__init__", budgeted)
    monkeypatch.setattr(
        module.FeatureTrainer,
        "compute_loss",
        lambda self, model, inputs, *a, **k: (
            seen.append(tuple(inputs["input_ids"].shape)),
            compute(self, model, inputs, *a, **k),
        )[1],
    )
    parted = run(tmp_path / "parted", split, root, tiny, features, recipe)
    assert len(seen) > 3 and all(rows * longest <= 80 or rows == 1 for rows, longest in seen)
    for name, weight in whole.items():
        torch.testing.assert_close(single[name], weight, atol=2e-5, rtol=1e-3)
        torch.testing.assert_close(parted[name], weight, atol=2e-5, rtol=1e-3)


def test_a_line_that_is_written_a_step_later_says_what_its_own_step_gave(
    tmp_path, split, root, tiny, features, monkeypatch
):
    trainers = []
    log = module.FeatureTrainer.log
    monkeypatch.setattr(module.FeatureTrainer, "log", lambda self, *a: (trainers.append(self), log(self, *a))[1])
    lines = []
    for save_every in (1, 100):  # a step that saves writes its line at once
        recipe = RECIPE.model_copy(update={"lora": Lora(r=4, dropout=0.0), "steps": 5, "save_every": save_every})
        run(tmp_path / str(save_every), split, root, tiny, features, recipe)
        lines.append([entry for entry in trainers[-1].state.log_history if "loss" in entry])
    names = ("step", "epoch", "loss", "grad_norm", "entropy", "mean_token_accuracy", "learning_rate")
    at_once, later = ([[entry[name] for name in names] for entry in part] for part in lines)
    assert len({tuple(entry) for entry in at_once}) == 5
    for own, other in zip(at_once, later, strict=True):
        assert own == pytest.approx(other, rel=1e-5)


def test_what_the_run_took_stands_beside_its_history(undisturbed):
    speed = json.loads((undisturbed[0] / "speed.json").read_text())
    assert speed["rows_per_s"] > 0 and speed["device"] == "cpu"


def test_a_tracker_that_is_not_installed_is_one_sentence(tmp_path, split, root, tiny, features):
    with pytest.raises(Refused, match="tracking is 'no_such_tracker', which is not installed"):
        run(tmp_path, split, root, tiny, features, tracking="no_such_tracker")


# the store


@pytest.fixture
def counted(monkeypatch):
    """The number of trainings, as the length of a list."""
    trainings = []
    train = module.FeatureTrainer.train
    monkeypatch.setattr(
        module.FeatureTrainer, "train", lambda self, *a, **k: (trainings.append(1), train(self, *a, **k))[1]
    )
    return trainings


BRIEF = RECIPE.model_copy(update={"steps": 2})


def test_a_stored_adapter_is_published_without_training_and_a_damaged_one_is_trained_again(
    tmp_path, split, root, tiny, features, counted, capsys
):
    store = tmp_path / "store"
    first = run(tmp_path / "a", split, root, tiny, features, BRIEF, store=store)
    second = run(tmp_path / "b", split, root, tiny, features, BRIEF, store=store)
    assert len(counted) == 1
    assert all(torch.equal(second[name], weight) for name, weight in first.items())
    (weights,) = store.rglob("adapter_model.safetensors")
    stored = weights.read_bytes()
    weights.write_bytes(stored[:-9] + bytes([stored[-9] ^ 1]) + stored[-8:])
    capsys.readouterr()
    third = run(tmp_path / "c", split, root, tiny, features, BRIEF, store=store)
    assert len(counted) == 2
    assert "adapter_model.safetensors has another checksum" in capsys.readouterr().err
    assert all(torch.equal(third[name], weight) for name, weight in first.items())
    (weights,) = store.rglob("adapter_model.safetensors")
    assert weights.read_bytes() == stored


def test_stored_and_published_files_have_the_modes_of_the_umask(tmp_path, split, root, tiny, features):
    before = os.umask(0o027)
    try:
        run(tmp_path, split, root, tiny, features, BRIEF, store=tmp_path / "store")
        run(tmp_path / "again", split, root, tiny, features, BRIEF, store=tmp_path / "store")
    finally:
        os.umask(before)
    for folder in (tmp_path / "store", tmp_path / "adapter", tmp_path / "again/adapter"):
        for path in folder.rglob("*"):
            assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path


@pytest.mark.parametrize("part", ["device", "dtype", "kernels", "libraries"])
def test_another_runtime_is_another_adapter(tmp_path, split, root, tiny, features, counted, monkeypatch, part):
    store = tmp_path / "store"
    run(tmp_path / "a", split, root, tiny, features, BRIEF, store=store)
    runtime = module.identity_of_runtime

    def other(*a, **k):
        return runtime(*a, **k) | {part: "another"}

    monkeypatch.setattr(module, "identity_of_runtime", other)
    run(tmp_path / "b", split, root, tiny, features, BRIEF, store=store)
    assert len(counted) == 2


def test_an_adapter_that_two_kinds_of_device_worked_on_is_published_and_not_stored(
    tmp_path, split, root, tiny, features, counted, monkeypatch
):
    runtime, step = module.identity_of_runtime, module.FeatureTrainer.training_step

    def dies(self, *arguments, **options):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return step(self, *arguments, **options)

    with monkeypatch.context() as first:
        first.setattr(module, "identity_of_runtime", lambda *a, **k: runtime(*a, **k) | {"device": "another"})
        first.setattr(module.FeatureTrainer, "training_step", dies)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, split, root, tiny, features, store=tmp_path / "store")
    steps = []

    def seen(self, *arguments, **options):
        steps.append(self.state.global_step)
        return step(self, *arguments, **options)

    monkeypatch.setattr(module.FeatureTrainer, "training_step", seen)
    assert run(tmp_path, split, root, tiny, features, store=tmp_path / "store")
    assert steps[0] == 4
    assert not list((tmp_path / "store").rglob("adapter_model.safetensors"))


def test_a_damaged_shard_stops_the_training_with_the_remedy(tmp_path, split, root, tiny, features):
    shutil.copytree(features.parent, tmp_path / "copy")
    (shard,) = (tmp_path / "copy").rglob("*.safetensors")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BadFile, match=r"not a readable feature shard .*another checksum.*; delete .* and run again"):
        run(tmp_path, split, root, tiny, tmp_path / "copy" / features.name)


def test_an_image_that_changed_since_conversion_trains_no_tower(tmp_path, split, root, tiny):
    copy = shutil.copytree(root, tmp_path / "root")
    for image in copy.iterdir():
        image.write_bytes(image.read_bytes() + b"\0")
    recipe = BRIEF.model_copy(update={"lora": Lora(r=4, targets="all-linear")})
    with pytest.raises(BadImage, match=r"\.png is not the image that was converted .*: convert again"):
        run(tmp_path, split, copy, tiny, None, recipe)
