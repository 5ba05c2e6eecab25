"""The PaliGemma 2 family does all that Gemma 3 does: prompts, features, training, inference."""

import bitsandbytes
import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file

from tests.conftest import make_row
from tests.models.tiny.paligemma2 import PATCHES, WIDTH, build
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.models import SyntheticModel
from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.images import open_image
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.families.paligemma2 import FAMILY as paligemma2
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.train.preflight import check_rows
from workflow_scripts.train.rows import Collator, model_inputs, training_row
from workflow_scripts.train.tune import tune


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny-paligemma2"
    build(folder)
    write_record(folder.with_suffix(".json"), "tiny-paligemma2", "paligemma2", folder, None)
    return folder.with_suffix(".json")


@pytest.fixture(scope="module")
def loaded(record):
    return load(record)


@pytest.fixture(scope="module")
def index(split, root, record, tmp_path_factory):
    path = tmp_path_factory.mktemp("features") / "index.parquet"
    extract(split=split, root=root, model=record, index=path, batch=3, threads=1, store=path.parent / "store")
    return path


def images(count):
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)) for _ in range(count)]


def prompt_inputs(loaded, question, images):
    ids = torch.tensor([paligemma2.prompt_ids(loaded.processor, chat(question, images), ())])
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": paligemma2.text_inputs(loaded.processor, ids, ids, ())["token_type_ids"],
    }


# prompts


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("system", [None, "You are an expert."])
def test_prompt_ids_are_what_the_processor_makes_with_one_bos_after_the_images(loaded, count, system):
    question = "Which shape is shown? Options: A) disc B) ring"
    ids = paligemma2.prompt_ids(loaded.processor, chat(question, count, system), ())
    prefix = question if system is None else f"{system}\n{question}"
    own = loaded.processor(images=images(count), text="<image>" * count + prefix)["input_ids"][0]
    assert ids == list(own)
    assert ids.count(loaded.processor.tokenizer.bos_token_id) == 1
    assert ids.count(paligemma2.image_token_id(loaded.processor)) == PATCHES * count
    assert ids[paligemma2.bos_place(loaded.processor, [(120, 90)] * count)] == loaded.processor.tokenizer.bos_token_id


def test_prompt_is_worded_as_it_was(loaded):
    ids = paligemma2.prompt_ids(loaded.processor, chat("How many cells?", 1, "Be brief."), ())
    assert loaded.processor.tokenizer.decode(ids) == "<image>" * PATCHES + "<bos>Be brief.\nHow many cells?\n"


def test_a_training_row_has_the_ids_labels_and_token_types_of_the_processor(loaded, root, index):
    source = make_row(root, 2)
    row = training_row(source, Prompt(), loaded)
    own = loaded.processor(images=images(2), text="<image><image>" + source.question, suffix=source.answer)
    batch = Collator(loaded, root, FeatureStore(index))([row])
    for name in ("input_ids", "labels", "token_type_ids", "attention_mask"):
        assert batch[name].tolist() == [list(map(int, own[name][0]))], name


# attention


@torch.inference_mode()
def test_the_prefix_looks_ahead_and_the_suffix_does_not(loaded):
    ids = torch.tensor([paligemma2.prompt_ids(loaded.processor, chat("How many?", 0), ())])
    length = ids.shape[1]
    ids = torch.cat([ids, torch.tensor([paligemma2.answer_ids(loaded.processor, "12")])], dim=1)

    def hidden(place):
        changed = ids.clone()
        changed[0, place] += 1
        types = paligemma2.text_inputs(loaded.processor, ids, ids, (), [length])["token_type_ids"]
        before, after = (loaded.model(input_ids=x, token_type_ids=types).logits[0] for x in (ids, changed))
        return (before - after).abs().amax(-1) > 1e-6

    assert hidden(length - 2).all()
    assert hidden(length).tolist() == [False] * length + [True] * (ids.shape[1] - length)


@torch.inference_mode()
def test_padded_training_rows_have_the_logits_of_single_ones(loaded, root, index):
    rows = [training_row(make_row(root, number), Prompt(), loaded) for number in range(4)]
    collate = Collator(loaded, root, FeatureStore(index))

    def logits(part):
        batch = collate(part)
        del batch["labels"]
        return loaded.model(**model_inputs(batch, loaded)).logits

    together = logits(rows)
    assert len({row["length"] for row in rows}) > 1
    for number, row in enumerate(rows):
        torch.testing.assert_close(together[number, : row["length"]], logits([row])[0], atol=1e-5, rtol=1e-5)


# features


@torch.inference_mode()
def test_tower_features_give_the_logits_of_the_pixels(loaded):
    inputs = prompt_inputs(loaded, "How many?", 2)
    pixels = torch.cat([paligemma2.pixels(loaded.processor, image) for image in images(2)])
    sizes = [image.size for image in images(2)]
    pooled = paligemma2.features(loaded.model, loaded.processor, pixels, sizes)
    tokens = sum(paligemma2.image_tokens(loaded.processor, size) for size in sizes)
    assert pooled.shape == (tokens, paligemma2.feature_width(loaded.model.config)) == (2 * PATCHES, WIDTH)
    plain = loaded.model(**inputs, pixel_values=pixels).logits
    given = paligemma2.encoder_outputs(loaded.model, loaded.processor, pooled, sizes)
    features = loaded.model(**inputs, **given).logits
    torch.testing.assert_close(features, plain, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_images_are_visible_to_the_model(loaded):
    inputs = prompt_inputs(loaded, "How many?", 1)
    one, other = (
        loaded.model(**inputs, pixel_values=paligemma2.pixels(loaded.processor, image)).logits[0, -1]
        for image in images(2)
    )
    assert (one - other).abs().max() > 1e-3


@torch.inference_mode()
def test_stored_features_are_the_models_own(split, root, loaded, index):
    for row in read_rows(split, Row):
        for image in row.images:
            pixels = paligemma2.pixels(loaded.processor, open_image(root, image.path))
            stored = FeatureStore(index).read([image.sha256])
            own = paligemma2.features(loaded.model, loaded.processor, pixels, [(image.width, image.height)])
            torch.testing.assert_close(stored, own)


# training


RECIPE = Recipe(
    lora=Lora(r=4, alpha=4), learning_rate=5e-3, epochs=None, steps=6, batch=4, micro_batch=2, quantisation="nf4"
)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory, split, root, record, index):
    folder = tmp_path_factory.mktemp("tuned")
    tune(
        recipe=RECIPE,
        prompt=Prompt(),
        split=split,
        root=root,
        model=record,
        features=index,
        adapter=folder / "adapter",
        history=folder / "history.parquet",
        checkpoints=folder / "checkpoints",
        threads=1,
    )
    return folder


def test_nf4_covers_the_language_model_and_nothing_else(record):
    model = load(record, quantisation="nf4").model
    quantised = {name for name, module in model.named_modules() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    assert len(quantised) == 2 * 7
    assert all("language_model" in name for name in quantised)


def test_tuning_lowers_the_loss(tuned):
    losses = [step.loss for step in read_rows(tuned / "history.parquet", TrainingStep)]
    assert len(losses) == 6
    assert losses[-1] < losses[0]


def test_the_adapter_is_of_the_language_model_and_loads_with_peft_alone(tuned, record):
    assert all("language_model.layers" in name for name in load_file(tuned / "adapter" / "adapter_model.safetensors"))
    model = PeftModel.from_pretrained(load(record).model, tuned / "adapter")
    assert any(
        name.endswith("lora_B.default.weight") and weight.abs().max() > 0 for name, weight in model.named_parameters()
    )


@pytest.fixture
def source(root):
    return make_row(root, 2)


@pytest.fixture
def row(loaded, source):
    return training_row(source, Prompt(), loaded)


def test_a_true_row_passes_the_preflight_checks(loaded, row, source):
    check_rows([source], [row], Prompt(), loaded)


def test_a_bos_before_the_images_is_refused(loaded, row, source):
    place = row["input_ids"].index(loaded.processor.tokenizer.bos_token_id)
    row["input_ids"].insert(0, row["input_ids"].pop(place))
    with pytest.raises(Refused, match="has 1 BOS tokens, expected one, at place 32"):
        check_rows([source], [row], Prompt(), loaded)


def test_a_cut_image_token_is_refused(loaded, row, source):
    del row["input_ids"][0], row["labels"][0]
    with pytest.raises(Refused, match="has 31 image tokens for 2 images"):
        check_rows([source], [row], Prompt(), loaded)


def test_labels_without_the_end_of_the_text_are_refused(loaded, row, source):
    row["input_ids"], row["labels"] = row["input_ids"][:-1], row["labels"][:-1]
    with pytest.raises(Refused, match="expected the answer and the end of"):
        check_rows([source], [row], Prompt(), loaded)


# inference


def answers(split, root, record, adapter, index, out, batch):
    answer(
        split=split,
        model=record,
        root=root,
        features=index,
        members=[GroupMember(system="system", adapter=adapter)],
        max_new_tokens={"counting": 6},
        batch=batch,
        threads=1,
        store=out.with_suffix(".answers"),
        out=out,
    )
    return read_rows(out, Prediction)


@pytest.mark.parametrize("system", ["base", "tuned"])
def test_batched_equals_one_by_one(system, split, root, record, tuned, index, tmp_path):
    adapter = tuned / "adapter" if system == "tuned" else None
    single = answers(split, root, record, adapter, index, tmp_path / "single.parquet", batch=1)
    assert len({row.text for row in single}) > 1
    assert answers(split, root, record, adapter, index, tmp_path / "batch.parquet", batch=8) == single


@torch.inference_mode()
def test_generation_follows_the_logits_that_training_computes(split, root, record, loaded, index, tmp_path):
    rows = answers(split, root, record, None, index, tmp_path / "a.parquet", batch=8)
    texts = {row.uid: row.text for row in rows}
    for source in read_rows(split, Row)[:3]:
        prompt = paligemma2.prompt_ids(loaded.processor, chat(source.question, len(source.images)), ())
        pooled = FeatureStore(index).read([image.sha256 for image in source.images])
        ids = torch.tensor([prompt])
        for _ in range(6):
            logits = loaded.model(
                input_ids=ids,
                token_type_ids=paligemma2.text_inputs(loaded.processor, ids, ids, (), [len(prompt)])["token_type_ids"],
                **paligemma2.encoder_outputs(loaded.model, loaded.processor, pooled, source.images),
            ).logits
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
        new = ids[0, len(prompt) :].tolist()
        assert loaded.processor.tokenizer.eos_token_id not in new
        assert loaded.processor.tokenizer.decode(new, skip_special_tokens=True) == texts[source.uid]


# configuration


def test_the_toy_model_is_of_the_gemma3_family_alone():
    with pytest.raises(ValidationError, match="family"):
        SyntheticModel(family="paligemma2")
