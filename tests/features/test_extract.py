"""Features are computed once an image and equal what the model computes."""

import pytest
import torch

from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import open_image
from workflow_scripts.core.tables import FEATURES, ROWS, read_table
from workflow_scripts.features.extract import extract
from workflow_scripts.models.features import FeatureStore
from workflow_scripts.models.loading import load


def images_of(split):
    return {i["sha256"]: i["path"] for row in read_table(split, ROWS)["images"].to_pylist() for i in row}


def test_each_image_is_there_once(split, features):
    hashes = read_table(features, FEATURES)["sha256"].to_pylist()
    assert sorted(hashes) == sorted(images_of(split))


@torch.inference_mode()
def test_stored_features_are_the_models_own(split, tree, tiny, features):
    loaded = load(tiny)
    for sha, path in images_of(split).items():
        pixels = loaded.family.pixels(loaded.processor, [open_image(tree, path)])
        torch.testing.assert_close(
            FeatureStore(features).read([sha]), loaded.family.pooled_features(loaded.model, pixels)
        )


def test_an_unknown_image_is_refused(features):
    with pytest.raises(BadFile, match="has no features of image"):
        FeatureStore(features).read(["0" * 64])


def test_a_truncated_shard_is_refused(features, tmp_path):
    for file in features.parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    shard = next(tmp_path.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:40])
    store = FeatureStore(tmp_path / features.name)
    with pytest.raises(BadFile, match="not a readable feature shard"):
        store.read(read_table(features, FEATURES)["sha256"].to_pylist()[:1])


def test_a_finished_shard_is_kept(split, tree, tiny, features, monkeypatch):
    def never(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("workflow_scripts.features.extract.compute", never)
    extract(split, tree, tiny, features, batch=3, threads=1)
