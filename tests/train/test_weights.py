"""Weights trained in full: what changes and what is published, SGD, best and last checkpoints, and held-out answers."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import make_row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.recipes import Evaluation, Lora, Recipe, Sampling
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.config.workflow import Publication
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.record import adapter_content, read_record
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.train import tune as module
from workflow_scripts.train.merge import core_name, merge
from workflow_scripts.train.push import card_text
from workflow_scripts.train.rows import Collator, hold_back, model_inputs, training_row
from workflow_scripts.train.weights import open_projections

RECIPE = Recipe(
    quantisation="none",
    weights="attention",
    optimiser="sgd",
    momentum=0.9,
    learning_rate=5e-2,
    max_grad_norm=10.0,
    schedule="cosine",
    warmup=0.1,
    epochs=None,
    steps=6,
    batch=2,
    micro_batch=2,
    save_every=2,
    evaluation=Evaluation(every=2, rows=2, samples=2, keep="last"),
)


def run(folder, split, root, tiny, features, recipe=RECIPE, **options):
    """Tune as the step does; the trained tensors."""
    places = {name: folder / name for name in ("adapter", "checkpoints")} | {"history": folder / "history.parquet"}
    inputs = {"split": split, "root": root, "model": tiny, "features": features}
    module.tune(recipe=recipe, prompt=Prompt(), **inputs, **places, threads=1, **options)
    return load_file(folder / "adapter/weights.safetensors")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, split, root, tiny, features):
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, split, root, tiny, features)


def weights_of(model):
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def test_the_four_projections_of_every_language_layer_change_and_nothing_else_is_published(undisturbed, tiny):
    base = weights_of(load(tiny).base)
    attention = {
        name
        for name in base
        if "language_model.layers" in name and name.split(".")[-2] in ("q_proj", "k_proj", "v_proj", "o_proj")
    }
    folder, trained = undisturbed
    assert set(trained) == attention and len(attention) == 2 * 4
    for name, weight in trained.items():
        assert weight.dtype == torch.float32 and not torch.equal(weight, base[name]), name
    files = {file.name for file in (folder / "adapter").iterdir()}
    assert {"weights.json", "README.md", "tokenizer.json", "provenance.json"} <= files
    assert not files & {"adapter_config.json", "model.safetensors", "training_args.bin"}
    assert not (folder / "checkpoints").exists() or not list((folder / "checkpoints").glob("*/checkpoint-*"))


def test_a_base_with_the_weights_laid_over_it_is_the_trained_model(undisturbed, tiny):
    folder, trained = undisturbed
    base, loaded = weights_of(load(tiny).base), load(tiny, adapter=folder / "adapter")
    assert not loaded.adapted
    for name, weight in weights_of(loaded.base).items():
        assert torch.equal(weight, trained.get(name, base[name])), name


def test_merged_weights_are_the_base_with_the_trained_tensors_in_it(undisturbed, tiny, tmp_path):
    folder, trained = undisturbed
    merge(model=tiny, adapter=folder / "adapter", out=tmp_path / "merged")
    merged = {core_name(name): weight for name, weight in load_file(tmp_path / "merged/model.safetensors").items()}
    base = load_file(read_record(tiny)[1] / "model.safetensors")
    expected = {core_name(name): weight for name, weight in base.items()}
    expected |= {core_name(name): weight.to(expected[core_name(name)].dtype) for name, weight in trained.items()}
    assert merged.keys() == expected.keys()
    assert all(torch.equal(merged[name], weight) for name, weight in expected.items())
    assert json.loads((tmp_path / "merged/provenance.json").read_text())["merged_tensors"] == len(trained)


def test_weights_of_another_base_or_damaged_ones_are_refused(undisturbed, tiny, tmp_path):
    folder, trained = undisturbed
    record = json.loads((folder / "adapter/weights.json").read_text())
    place = tmp_path / "other"
    place.mkdir()
    save_file(trained, place / "weights.safetensors")
    (place / "weights.json").write_text(json.dumps(record | {"revision": "e" * 40}))
    with pytest.raises(BadFile, match=r"holds weights of tiny at e{40}, and the model is at"):
        load(tiny, adapter=place)
    with pytest.raises(Refused, match=r"was trained on tiny at e{40}"):
        merge(model=tiny, adapter=place, out=tmp_path / "merged")
    (place / "weights.json").write_text(json.dumps(record))
    save_file({"model.nothing.weight": torch.ones(2)}, place / "weights.safetensors")
    with pytest.raises(BadFile, match=r"model\.nothing\.weight is no weight of this model"):
        load(tiny, adapter=place)
    (place / "weights.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    with pytest.raises(BadFile, match="cannot be loaded as weights"):
        load(tiny, adapter=place)


def test_a_cache_key_names_the_weights_and_which_they_are(undisturbed, tmp_path):
    folder, trained = undisturbed
    content = adapter_content(folder / "adapter")
    assert content["settings"] == {"full": "attention"}
    place = tmp_path / "changed"
    place.mkdir()
    (place / "weights.json").write_bytes((folder / "adapter/weights.json").read_bytes())
    save_file({name: weight + 1 for name, weight in trained.items()}, place / "weights.safetensors")
    assert adapter_content(place) != content


def test_sgd_with_momentum_makes_the_steps_that_its_formula_gives(tmp_path, split, root, tiny, features):
    """Two steps without clipping, warm-up or schedule: v = μv + g, w = w − ηv, gradients by a plain forward pass."""
    steady = {"schedule": "constant", "warmup": 0.0, "max_grad_norm": 1e9, "evaluation": None, "steps": 2, "batch": 8}
    recipe = RECIPE.model_copy(update=steady | {"micro_batch": 8, "learning_rate": 1e-2})
    trained = run(tmp_path, split, root, tiny, features, recipe)
    loaded = load(tiny)
    names = open_projections(loaded, "attention")
    rows = [training_row(row, Prompt(), loaded) for row in read_rows(split, Row)]
    batch = Collator(loaded, root, FeatureStore(features))(rows)
    parameters = dict(loaded.base.named_parameters())
    velocity = {name: torch.zeros_like(parameters[name]) for name in names}
    for _ in range(2):
        loaded.base.zero_grad()
        loaded.base(**model_inputs(dict(batch), loaded)).loss.backward()
        with torch.no_grad():
            for name in names:
                velocity[name] = 0.9 * velocity[name] + parameters[name].grad
                parameters[name] -= 1e-2 * velocity[name]
    for name in names:
        torch.testing.assert_close(trained[name], parameters[name].detach(), atol=1e-6, rtol=1e-4)


def test_a_killed_run_of_full_weights_ends_as_an_undisturbed_one_with_its_answers(
    undisturbed, tmp_path, split, root, tiny, features, monkeypatch
):
    step = module.FeatureTrainer.training_step

    def dies(self, *arguments, **options):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        return step(self, *arguments, **options)

    monkeypatch.setattr(module.FeatureTrainer, "training_step", dies)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, split, root, tiny, features)
    (checkpoint,) = (tmp_path / "checkpoints").glob("*/checkpoint-4")
    assert set(load_file(checkpoint / "model.safetensors")) == set(undisturbed[1])
    monkeypatch.setattr(module.FeatureTrainer, "training_step", step)
    resumed = run(tmp_path, split, root, tiny, features)
    for name, weight in undisturbed[1].items():
        torch.testing.assert_close(resumed[name], weight, atol=1e-6, rtol=1e-5)
    for table, kind in (("history.parquet", TrainingStep), ("samples.parquet", SampleAnswer)):
        steps = [[row.step for row in read_rows(folder / table, kind)] for folder in (tmp_path, undisturbed[0])]
        assert steps[0] == steps[1]


def greedy(loaded: Loaded, row, root):
    """The answer of the library alone, by pixels."""
    family, processor = loaded.family, loaded.processor
    example = training_row(row, Prompt(), loaded)
    prompt = example["labels"].count(-100)
    cut = example | {name: example[name][:prompt] for name in ("input_ids", "labels")} | {"length": prompt}
    inputs = model_inputs(Collator(loaded, root, None)([cut]), loaded)
    del inputs["labels"]
    with torch.no_grad():
        ids = loaded.base.generate(**inputs, do_sample=False, max_new_tokens=8)[0, prompt:]
    assert family.reads_images
    return processor.tokenizer.decode(ids, skip_special_tokens=True)


def test_held_out_answers_stand_at_each_evaluation_and_the_last_are_those_of_the_published_weights(
    undisturbed, split, root, tiny
):
    folder = undisturbed[0]
    rows = read_rows(split, Row)
    held = {rows[place].uid for place in hold_back(rows, 2, RECIPE.seed)[1]}
    answers = read_rows(folder / "samples.parquet", SampleAnswer)
    assert {answer.step for answer in answers} == {2, 4, 6}
    assert {answer.uid for answer in answers} <= held and len({answer.uid for answer in answers}) == min(2, len(held))
    loaded = load(tiny, adapter=folder / "adapter")
    for answer in answers:
        row = next(row for row in rows if row.uid == answer.uid)
        assert (answer.question, answer.reference) == (row.question, row.answer)
        if answer.step == 6:
            assert answer.text == greedy(loaded, row, root)


def test_the_held_out_loss_is_the_mean_over_all_answer_tokens_however_many_rows_are_computed_at_once(
    tmp_path, root, tiny, features
):
    """Settings of other batches are compared by it; the rows' answers have 1 to 20 digits."""
    rows = [make_row(root, number, answer="7" * (1 + number)) for number in range(20)]
    write_rows(tmp_path / "rows.parquet", rows, Row)
    evaluation = Evaluation(every=1, rows=4)
    still = {"learning_rate": 1e-12, "steps": 1, "batch": 4, "evaluation": evaluation}
    losses = []
    for at_once in (1, 4):
        folder = tmp_path / str(at_once)
        recipe = RECIPE.model_copy(update=still | {"micro_batch": at_once})
        run(folder, tmp_path / "rows.parquet", root, tiny, features, recipe)
        history = read_rows(folder / "history.parquet", TrainingStep)
        losses += [entry.evaluation_loss for entry in history if entry.evaluation_loss is not None]
    loaded, total, tokens = load(tiny), 0.0, 0
    for place in hold_back(rows, 4, RECIPE.seed)[1]:
        batch = Collator(loaded, root, FeatureStore(features))([training_row(rows[place], Prompt(), loaded)])
        labels = batch["labels"][0]
        with torch.no_grad():
            logits = loaded.base(**model_inputs(dict(batch), loaded)).logits[0]
        total += torch.nn.functional.cross_entropy(logits[:-1], labels[1:], ignore_index=-100, reduction="sum").item()
        tokens += int((labels != -100).sum())
    assert losses == pytest.approx([total / tokens] * 2, abs=1e-5)


def test_an_adapters_answers_to_held_out_rows_are_those_of_the_adapter(tmp_path, split, root, tiny, features):
    changes = {"weights": None, "lora": Lora(r=4, alpha=32), "optimiser": "adamw_torch", "momentum": 0.0, "steps": 4}
    recipe = Recipe.model_validate(RECIPE.model_dump() | {"learning_rate": 5e-2} | changes)
    places = {"adapter": tmp_path / "adapter", "checkpoints": tmp_path / "c", "history": tmp_path / "history.parquet"}
    inputs = {"split": split, "root": root, "model": tiny, "features": features}
    module.tune(recipe=recipe, prompt=Prompt(), **inputs, **places, threads=1)
    answers = [answer for answer in read_rows(tmp_path / "samples.parquet", SampleAnswer) if answer.step == 4]
    rows, tuned, base = (
        {row.uid: row for row in read_rows(split, Row)},
        load(tiny, adapter=places["adapter"]),
        load(tiny),
    )
    assert answers and [answer.text for answer in answers] == [greedy(tuned, rows[a.uid], root) for a in answers]
    assert [answer.text for answer in answers] != [greedy(base, rows[answer.uid], root) for answer in answers]


def test_answering_held_back_rows_changes_no_weight(undisturbed, tmp_path, split, root, tiny, features):
    evaluation = RECIPE.evaluation.model_copy(update={"samples": 0})
    silent = run(tmp_path, split, root, tiny, features, RECIPE.model_copy(update={"evaluation": evaluation}))
    assert all(torch.equal(silent[name], weight) for name, weight in undisturbed[1].items())
    assert read_rows(tmp_path / "samples.parquet", SampleAnswer) == []


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_best_or_the_last_checkpoint_is_published_as_the_recipe_says(
    keep, tmp_path, split, root, tiny, features, monkeypatch
):
    """The evaluated losses are given, so that the best is not the last: 2 → 1.0, 4 → 3.0, and 5, the last, → 2.0."""
    evaluation = Evaluation(every=2, rows=2, keep=keep)
    losses = {2: 1.0, 4: 3.0, 5: 2.0}
    at_step = {}
    evaluate = module.FeatureTrainer.evaluate

    def faked(self, *arguments, **options):
        metrics = evaluate(self, *arguments, **options)
        self.state.log_history[-1]["eval_loss"] = metrics["eval_loss"] = losses[self.state.global_step]
        at_step[self.state.global_step] = weights_of(self._loaded.base)
        return metrics

    monkeypatch.setattr(module.FeatureTrainer, "evaluate", faked)
    recipe = RECIPE.model_copy(update={"evaluation": evaluation, "steps": 5})
    trained = run(tmp_path, split, root, tiny, features, recipe)
    expected = at_step[2 if keep == "best" else 5]
    assert all(torch.equal(weight, expected[name]) for name, weight in trained.items())
    assert not torch.equal(at_step[2][next(iter(trained))], at_step[4][next(iter(trained))])
    history = read_rows(tmp_path / "history.parquet", TrainingStep)
    evaluated = [entry.step for entry in history if entry.evaluation_loss is not None]
    assert evaluated == [2, 4, 5]


def test_stored_weights_are_published_with_their_answers_without_training(
    tmp_path, split, root, tiny, features, monkeypatch
):
    brief = RECIPE.model_copy(update={"steps": 2})
    first = run(tmp_path / "a", split, root, tiny, features, brief, store=tmp_path / "store")
    monkeypatch.setattr(module.FeatureTrainer, "train", lambda *_, **__: pytest.fail("trained again"))
    second = run(tmp_path / "b", split, root, tiny, features, brief, store=tmp_path / "store")
    assert all(torch.equal(second[name], weight) for name, weight in first.items())
    assert (tmp_path / "a/samples.parquet").read_bytes() == (tmp_path / "b/samples.parquet").read_bytes()


def test_balanced_rows_are_counted_in_the_provenance_and_printed(tmp_path, split, root, tiny, features, capsys):
    recipe = RECIPE.model_copy(update={"steps": 1, "evaluation": None, "sampling": Sampling(balance="task", cap=3)})
    run(tmp_path, split, root, tiny, features, recipe)
    assert "an epoch draws 3 rows from 8, in 1 groups: counting: 3 of 8" in capsys.readouterr().out
    provenance = json.loads((tmp_path / "adapter/provenance.json").read_text())
    assert provenance["sampling"] == [{"group": ["counting"], "rows": 8, "of_an_epoch": 3}]


def test_the_card_says_that_weights_were_trained_in_full(undisturbed):
    card = (undisturbed[0] / "adapter/README.md").read_text()
    assert "# Weights tuned by flarebench" in card and 'base_model_relation: "finetune"' in card
    assert 'library_name: "transformers"' in card and "lora" not in card.split("---")[1]
    assert "weights.safetensors" in card


def test_the_card_of_merged_weights_speaks_of_a_whole_checkpoint(undisturbed):
    text = card_text(undisturbed[0] / "adapter/README.md", Publication(repo="lab/tuned", what="merged"))
    assert "# Model tuned by flarebench, weights merged" in text and "weights.safetensors" not in text
    assert "base_model_relation: finetune" in text
