"""A model's image size is what its family sees, everywhere alike, and part of every key."""

import inspect
import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import make_row
from workflow_scripts.core.config.models import Checkpoint, HubModel
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import Image as ShownImage
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.features.extract import extract
from workflow_scripts.models.families.family import Family
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.images.size import squared, with_squares
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import read_record
from workflow_scripts.models.vision_features import FeatureStore


@pytest.fixture(scope="module")
def small(tiny, tmp_path_factory):
    """The record of the tiny model whose images are squares of 24 pixels first."""
    record = tmp_path_factory.mktemp("small") / "small.json"
    model = HubModel(family="gemma3", checkpoint=str(tiny.with_suffix("")), image={"size": 24})
    fetch(spec=model.to_fetch(), record=record)
    return record


def test_the_family_sees_the_square_that_pillow_makes(tiny, small, root):
    plain, resizing = load(tiny), load(small)
    with Image.open(root / "0.png") as image:
        rgb = image.convert("RGB")
    expected = plain.family.pixels(plain.processor, rgb.resize((24, 24), Image.Resampling.LANCZOS))
    assert torch.equal(resizing.family.pixels(resizing.processor, rgb), expected)
    assert not torch.equal(plain.family.pixels(plain.processor, rgb), expected)


def test_an_image_is_padded_with_black_to_a_square_before_it_is_resized(tiny, root):
    plain = load(tiny)
    family = with_squares(plain.family, 24, pad=True)
    with Image.open(root / "0.png") as image:
        rgb = image.convert("RGB").crop((0, 0, 112, 91))
    pixels = np.zeros((112, 112, 3), dtype=np.uint8)
    pixels[10:101] = np.asarray(rgb)  # of 21 rows of padding, 10 above
    square = Image.fromarray(pixels).resize((24, 24), Image.Resampling.LANCZOS)
    assert torch.equal(family.pixels(plain.processor, rgb), plain.family.pixels(plain.processor, square))
    tall = squared(rgb.transpose(Image.Transpose.TRANSPOSE), None, pad=True)
    assert np.array_equal(np.asarray(tall), pixels.transpose(1, 0, 2))


def test_features_are_those_of_images_that_were_resized_before_and_lie_apart(tiny, small, root, tmp_path):
    """One set of features of full images with the size set, one of squares on the disk without it."""
    squares = tmp_path / "squares"
    squares.mkdir()
    with Image.open(root / "0.png") as image:
        image.convert("RGB").resize((24, 24), Image.Resampling.LANCZOS).save(squares / "0.png")
    rows = {}
    for name, folder, side in (("full", root, (112, 96)), ("square", squares, (24, 24))):
        shown = ShownImage("0.png", sha256_of_file(folder / "0.png"), *side)
        rows[name] = make_row(root, 1, images=(shown,))
        write_rows(tmp_path / f"{name}.parquet", [rows[name]], Row)
    options = {"store": tmp_path / "store", "batch": 1, "threads": 1}
    stores = {}
    for name, split, folder, record in (
        ("set", "full", root, small),
        ("unset", "full", root, tiny),
        ("oracle", "square", squares, tiny),
    ):
        index = tmp_path / f"{name}.index.parquet"
        extract(split=tmp_path / f"{split}.parquet", root=folder, model=record, index=index, **options)
        stores[name] = FeatureStore(index)
    full, square = ([rows[name].images[0].sha256] for name in ("full", "square"))
    assert torch.equal(stores["set"].read(full), stores["oracle"].read(square))
    assert not torch.equal(stores["set"].read(full), stores["unset"].read(full))
    assert stores["set"].identity != stores["unset"].identity == stores["oracle"].identity


def test_the_size_is_part_of_what_a_model_is_and_none_changes_nothing(tiny, small, tmp_path):
    """`content` enters the keys of features, adapters and answers."""
    record = tmp_path / "plain.json"
    fetch(spec=Checkpoint(family="gemma3", checkpoint=str(tiny.with_suffix(""))), record=record)
    plain, resizing = read_record(record)[0], read_record(small)[0]
    assert plain.content == read_record(tiny)[0].content and "image_size" not in plain.content
    assert json.loads(resizing.content) == json.loads(plain.content) | {"image_size": 24}
    model = HubModel(family="gemma3", checkpoint=str(tiny.with_suffix("")), image={"pad": True})
    fetch(spec=model.to_fetch(), record=tmp_path / "padded.json")
    padded = read_record(tmp_path / "padded.json")[0]
    assert json.loads(padded.content) == json.loads(plain.content) | {"image_pad": True}
    assert load(tmp_path / "padded.json").family.pad


def test_every_question_about_sizes_is_answered_for_the_square():
    seen = []

    class Curious(type(load_family("gemma3"))):
        def image_tokens(self, processor, size):
            seen.append(size)
            return size[0]

        def check_images(self, processor, sizes):
            seen.extend(sizes)

    family = with_squares(Curious(), 448)
    assert family.image_tokens(None, (30, 20)) == 448
    family.check_images(None, [(1, 2), (3, 4)])
    assert seen == [(448, 448)] * 3
    padding = with_squares(Curious(), None, pad=True)
    assert padding.image_tokens(None, (30, 20)) == 30 and seen[-1] == (30, 30)
    assert family.lora_targets == Curious.lora_targets and with_squares(family, None) is family


def test_no_question_about_sizes_passes_by():
    """A method that `Family` gains has to say what becomes of sizes and images here."""
    before = type(with_squares(load_family("gemma3"), 448)).__mro__[1]
    for name, method in inspect.getmembers(Family, inspect.isfunction):
        if {"size", "sizes", "image"} & inspect.signature(method).parameters.keys():
            assert name in vars(before), name


def test_a_family_with_a_size_reaches_the_processes_that_prepare_images(tiny):
    family = pickle.loads(pickle.dumps(with_squares(load_family("gemma3"), 24)))  # noqa: S301 - our own
    assert (family.side, family.pad) == (24, False)
