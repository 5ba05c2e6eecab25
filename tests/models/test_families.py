"""Every family, tiny and random in its real classes, goes from rows to answers of the base and of a tuned model."""

import typing
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from tests.conftest import make_row
from tests.models import tiny
from workflow_scripts.cache.fingerprints import sources
from workflow_scripts.core.config.models import READS_NO_IMAGES, Family, HubModel
from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import Image, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.families.family import arguments
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.loading import load
from workflow_scripts.models.markup import OF_FAMILY
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import read_record, write_record
from workflow_scripts.models.vision_features import FeatureStore, open_converted
from workflow_scripts.train.preflight import check_batch, check_rows
from workflow_scripts.train.rows import Collator, model_inputs, part_of, training_row
from workflow_scripts.train.tune import tune

IN_CI = ("qwen3_vl", "idefics3")
FAMILIES = [family for family in tiny.BUILDERS if family != "paligemma2"]
"""Families that are tested here; Gemma 3 and PaliGemma 2 have files of tests of their own."""

SIZES = [(112, 96), (60, 200), (150, 40), (33, 31), (96, 96), (200, 200), (64, 80), (90, 45)]


@pytest.fixture(
    scope="module",
    params=[name if name in IN_CI else pytest.param(name, marks=pytest.mark.extended) for name in FAMILIES],
)
def record(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "model"
    tiny.build(request.param, folder)
    write_record(folder.with_suffix(".json"), "model", request.param, folder, None)
    return folder.with_suffix(".json")


@pytest.fixture(scope="module")
def loaded(record):
    return load(record)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Eight images of different sizes."""
    folder = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        Pillow.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def rows(root) -> list[Row]:
    """Rows of one and of two images, and one without."""
    split = []
    for number in range(8):
        shown = [] if number == 2 else [number] if number % 2 else [number, number + 1]
        images = tuple(Image(f"{n}.png", sha256_of_file(root / f"{n}.png"), *SIZES[n]) for n in shown)
        split.append(make_row(root, number, images=images))
    return split


@pytest.fixture(scope="module")
def split(rows, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("split") / "rows.parquet"
    write_rows(path, rows, Row)
    return path


@pytest.fixture(scope="module")
def index(loaded, split, root, record, tmp_path_factory) -> Path | None:
    """Stored features; none for a family that reads no images."""
    if not loaded.family.reads_images:
        return None
    path = tmp_path_factory.mktemp("features") / "index.parquet"
    extract(split=split, root=root, model=record, index=path, batch=3, threads=1, store=path.parent / "store")
    return path


def sizes_of(row: Row) -> list[tuple[int, int]]:
    return [(image.width, image.height) for image in row.images]


def prompt_of(loaded, row: Row) -> list[int]:
    return loaded.family.prompt_ids(loaded.processor, chat(row.question, len(row.images)), sizes_of(row))


def text_of(loaded, row: Row, ids: torch.Tensor) -> dict:
    mask = torch.ones_like(ids)
    return {
        "input_ids": ids,
        "attention_mask": mask,
        **arguments(loaded.family.text_inputs(loaded.processor, ids, mask, [sizes_of(row)])),
    }


@torch.inference_mode()
def test_stored_features_give_the_logits_of_the_pixels_bit_by_bit(loaded, rows, root, index):
    family, processor = loaded.family, loaded.processor
    if not family.reads_images:
        pytest.skip("the family reads no images")
    for row in rows[:2]:
        inputs = text_of(loaded, row, torch.tensor([prompt_of(loaded, row)]))
        images = [open_converted(root, image.path, image.sha256) for image in row.images]
        pixels = torch.cat([family.pixels(processor, image) for image in images])
        plain = loaded.model(**inputs | family.pixel_inputs(processor, pixels, sizes_of(row))).logits
        features = FeatureStore(index).read([image.sha256 for image in row.images])
        assert len(features) == sum(family.image_tokens(processor, size) for size in sizes_of(row))
        assert features.shape[1] == family.feature_width(loaded.base.config)
        given = family.encoder_outputs(loaded.base, processor, features, sizes_of(row))
        assert torch.equal(loaded.model(**inputs | given).logits, plain)


@torch.inference_mode()
def test_another_image_gives_other_logits(loaded, rows, root):
    if not loaded.family.reads_images:
        pytest.skip("the family reads no images")
    inputs = text_of(loaded, rows[1], torch.tensor([prompt_of(loaded, rows[1])]))
    image = open_converted(root, rows[1].images[0].path, rows[1].images[0].sha256)
    logits = [
        loaded.model(
            **inputs
            | loaded.family.pixel_inputs(
                loaded.processor, loaded.family.pixels(loaded.processor, shown), sizes_of(rows[1])
            )
        ).logits[0, -1]
        for shown in (image, Pillow.new("RGB", image.size, (200, 10, 10)))
    ]
    assert (logits[0] - logits[1]).abs().max() > 1e-3


def test_training_rows_pass_the_preflight_checks(loaded, rows, root, index):
    examples = [training_row(row, Prompt(system="Be brief."), loaded) for row in rows]
    check_rows(rows, examples, Prompt(system="Be brief."), loaded)
    for features in (FeatureStore(index) if index else None, None):
        check_batch(Collator(loaded, root, features)(examples[:3]), loaded)


@torch.inference_mode()
def test_padded_rows_and_parts_of_a_batch_have_the_logits_of_single_rows(loaded, rows, root, index):
    examples = [training_row(row, Prompt(), loaded) for row in rows[:4]]
    for features in (FeatureStore(index) if index else None, None):
        collate = Collator(loaded, root, features)

        def logits(batch):
            return loaded.model(**{n: x for n, x in model_inputs(batch, loaded).items() if n != "labels"}).logits

        batch = collate(examples)
        together, part = logits(batch), logits(part_of(batch, [3, 1]))
        for number, row in enumerate(examples):
            alone = logits(collate([row]))[0]
            torch.testing.assert_close(together[number, : row["length"]], alone, atol=2e-5, rtol=1e-4)
        for place, number in enumerate((3, 1)):
            length = examples[number]["length"]
            torch.testing.assert_close(part[place, :length], together[number, :length], atol=2e-5, rtol=1e-4)


def answers(loaded, split, root, record, adapter, index, out, batch):
    answer(
        split=split,
        root=root,
        model=record,
        features=index,
        members=[GroupMember(system="it", adapter=adapter)],
        max_new_tokens={"counting": 6},
        batch=batch,
        threads=1,
        store=out.with_suffix(".answers"),
        out=out,
    )
    return [row.text for row in read_rows(out, Prediction)]


@pytest.fixture(scope="module")
def tuned(loaded, tmp_path_factory, split, root, record, index) -> Path:
    """The folder of an adapter after 30 steps."""
    folder = tmp_path_factory.mktemp("tuned")
    tune(
        recipe=Recipe(
            lora=Lora(r=4, alpha=8, dropout=0), learning_rate=1e-2, epochs=None, steps=30, batch=4, quantisation="nf4"
        ),
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


def test_loss_falls_over_30_steps_on_a_4_bit_base(tuned):
    losses = [step.loss for step in read_rows(tuned / "history.parquet", TrainingStep) if step.loss is not None]
    assert len(losses) == 30 and np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


@pytest.mark.parametrize("system", ["base", "tuned"])
def test_answers_are_those_of_the_plain_forward_and_no_batch_changes_them(
    system, loaded, split, rows, root, record, tuned, index, tmp_path
):
    adapter = tuned / "adapter" if system == "tuned" else None
    single = answers(loaded, split, root, record, adapter, index, tmp_path / "single.parquet", 1)
    assert answers(loaded, split, root, record, adapter, index, tmp_path / "batch.parquet", 8) == single
    if loaded.family.stores_features is False:
        assert answers(loaded, split, root, record, adapter, None, tmp_path / "computed.parquet", 8) == single
    network = load(record, adapter=adapter)
    stops = network.base.generation_config.eos_token_id
    for row, text in list(zip(rows, single, strict=True))[:3]:
        ids = torch.tensor([prompt_of(network, row)])
        length = ids.shape[1]
        given = {}
        if network.family.reads_images and row.images:
            features = FeatureStore(index).read([image.sha256 for image in row.images])
            given = network.family.encoder_outputs(network.base, network.processor, features, sizes_of(row))
        for _ in range(6):
            with torch.inference_mode():
                logits = network.model(**text_of(network, row, ids) | given).logits
            ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
            if int(ids[0, -1]) in ([stops] if isinstance(stops, int) else stops):
                break
        assert network.processor.tokenizer.decode(ids[0, length:], skip_special_tokens=True) == text


def test_the_adapter_leaves_the_vision_tower_alone_and_changes_answers(
    loaded, split, root, record, tuned, index, tmp_path
):
    network = load(record, adapter=tuned / "adapter")
    tower = network.family.vision_tower(network.base)
    assert tower is None or not any("lora" in name for name, _ in tower.named_parameters())
    base = answers(loaded, split, root, record, None, index, tmp_path / "base.parquet", 8)
    assert answers(loaded, split, root, record, tuned / "adapter", index, tmp_path / "tuned.parquet", 8) != base


def test_words_of_markup_are_known_where_no_tokenizer_is(loaded, record):
    special = {token.content for token in loaded.processor.tokenizer.added_tokens_decoder.values() if token.special}
    family = read_record(record)[0].family
    assert {word for word in special if not OF_FAMILY[family].fullmatch(word)} == set()


def test_the_configuration_knows_of_each_family_what_its_module_says():
    for name in typing.get_args(Family):
        family = load_family(name)
        entry = HubModel(family=name, checkpoint="some/thing", revision="0" * 40)
        assert entry.stores_features == (family.stores_features and family.reads_images), name
        assert (name in READS_NO_IMAGES) == (not family.reads_images), name
        assert name in OF_FAMILY, name


def test_a_families_module_counts_in_the_fingerprint_of_its_own_models_alone():
    qwen, gemma = (sources("workflow_scripts.infer.answer", name) for name in ("qwen2_5_vl", "gemma3"))
    folder = "workflow_scripts/models/families"
    assert {f"{folder}/qwen2_5_vl.py", f"{folder}/qwen3_vl.py"} <= set(qwen) and f"{folder}/gemma3.py" not in qwen
    assert f"{folder}/gemma3.py" in gemma and not any("qwen" in file for file in gemma)
    assert set(qwen) | set(gemma) <= set(sources("workflow_scripts.infer.answer"))
