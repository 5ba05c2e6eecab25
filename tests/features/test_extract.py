"""Features are computed once an image and equal what the model computes."""

import shutil

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from tests.conftest import make_row
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import open_image
from workflow_scripts.core.tables import FEATURES, ROWS, read_table, write_table
from workflow_scripts.features.extract import extract
from workflow_scripts.models.loading import load
from workflow_scripts.models.vision_features import FeatureStore


def images_of(split):
    return {i["sha256"]: i["path"] for row in read_table(split, ROWS)["images"].to_pylist() for i in row}


def test_each_image_is_there_once(split, features):
    hashes = read_table(features, FEATURES)["sha256"].to_pylist()
    assert sorted(hashes) == sorted(images_of(split))


@torch.inference_mode()
def test_stored_features_are_the_models_own(split, root, tiny, features):
    loaded = load(tiny)
    for sha, path in images_of(split).items():
        pixels = loaded.family.pixels(loaded.processor, [open_image(root, path)])
        torch.testing.assert_close(
            FeatureStore(features).read([sha]), loaded.family.pooled_features(loaded.model, pixels)
        )


def test_an_unknown_image_is_refused(features):
    with pytest.raises(BadFile, match="has no features of image"):
        FeatureStore(features).read(["0" * 64])


def test_a_truncated_shard_is_refused(features, tmp_path):
    shutil.copytree(features.parent, tmp_path / "copy")
    shard = next((tmp_path / "copy").rglob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:40])
    store = FeatureStore(tmp_path / "copy" / features.name)
    with pytest.raises(BadFile, match="not a readable feature shard"):
        store.read(read_table(features, FEATURES)["sha256"].to_pylist()[:1])


def test_a_kept_image_is_not_computed_again(split, root, tiny, features, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("workflow_scripts.features.extract.compute", never)
    extract(split, root, tiny, features, batch=3, threads=1, store=features.parent / "store")


def test_a_changed_image_alone_is_computed_again(root, tiny, tmp_path):
    copy, store = shutil.copytree(root, tmp_path / "tree"), tmp_path / "store"
    write_table(tmp_path / "before.parquet", [make_row(copy, number) for number in range(8)], ROWS)
    extract(tmp_path / "before.parquet", copy, tiny, tmp_path / "before/index.parquet", 3, 1, store)
    image = Image.open(copy / "3.png").convert("RGB")
    image.putpixel((0, 0), (1, 2, 3))
    image.save(copy / "3.png")
    write_table(tmp_path / "after.parquet", [make_row(copy, number) for number in range(8)], ROWS)
    extract(tmp_path / "after.parquet", copy, tiny, tmp_path / "after/index.parquet", 3, 1, store)
    sizes = [len(safe_open(shard, "pt").metadata()["images"].split()) for shard in store.rglob("*.safetensors")]
    assert sorted(sizes) == [1, 8]
    assert len(FeatureStore(tmp_path / "after/index.parquet").read(list(images_of(tmp_path / "after.parquet")))) == 8


def test_a_damaged_shard_is_computed_again(split, root, tiny, tmp_path):
    extract(split, root, tiny, tmp_path / "index.parquet", 3, 1, tmp_path / "store")
    shard = next((tmp_path / "store").rglob("*.safetensors"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-40])
    extract(split, root, tiny, tmp_path / "index.parquet", 3, 1, tmp_path / "store")
    assert shard.read_bytes() == whole
