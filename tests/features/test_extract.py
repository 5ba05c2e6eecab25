"""Features are computed once an image and equal what the model computes."""

import os
import shutil
from multiprocessing import active_children

import pytest
import torch
from PIL import Image

from tests.conftest import make_row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import BadImage, open_image
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import FeaturePlace
from workflow_scripts.features import extract as module
from workflow_scripts.features.extract import extract
from workflow_scripts.models.loading import load
from workflow_scripts.models.vision_features import FeatureStore


def images_of(split):
    return {image.sha256: image.path for row in read_rows(split, Row) for image in row.images}


def write_split(path, root):
    write_rows(path, [make_row(root, number) for number in range(8)], Row)
    return path


def flip(path, place=-1):
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.fixture
def run(root, tiny, tmp_path):
    """The step with the folders of a test."""
    return lambda split, index="index.parquet", **changes: extract(
        **{
            "split": split,
            "root": root,
            "model": tiny,
            "index": tmp_path / index,
            "batch": 3,
            "threads": 1,
            "store": tmp_path / "store",
        }
        | changes
    )


@pytest.fixture
def computed(monkeypatch):
    """The numbers of images that were computed, call by call."""
    sizes = []
    compute = module.compute
    monkeypatch.setattr(
        module, "compute", lambda loaded, images, *rest: (sizes.append(len(images)), compute(loaded, images, *rest))[1]
    )
    return sizes


def test_each_image_is_there_once(split, features):
    assert [place.sha256 for place in read_rows(features, FeaturePlace)] == sorted(images_of(split))


@torch.inference_mode()
def test_stored_features_are_the_models_own(split, root, tiny, features):
    loaded = load(tiny)
    for sha, path in images_of(split).items():
        pixels = loaded.family.pixels(loaded.processor, open_image(root, path))
        own = loaded.family.features(loaded.model, loaded.processor, pixels, [(112, 96)])
        torch.testing.assert_close(FeatureStore(features).read([sha]), own)


def test_an_unknown_image_is_refused(features):
    with pytest.raises(BadFile, match="has no features of image"):
        FeatureStore(features).read(["0" * 64])


@pytest.mark.parametrize("fault", ["cut", "flipped"])
def test_a_damaged_shard_is_refused(features, tmp_path, fault):
    shutil.copytree(features.parent, tmp_path / "copy")
    (shard,) = (tmp_path / "copy").rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:40]) if fault == "cut" else flip(shard)
    store = FeatureStore(tmp_path / "copy" / features.name)
    with pytest.raises(BadFile, match=r"not a readable feature shard .*; delete .*index\.parquet and run again"):
        store.read([read_rows(features, FeaturePlace)[0].sha256])
    with pytest.raises(BadFile, match="not a readable feature shard"):
        store.verify()


def test_a_shard_is_checked_once_a_process(features, monkeypatch):
    checks = []
    monkeypatch.setattr(
        "workflow_scripts.models.vision_features.fault_of_file", lambda file: checks.append(file) or None
    )
    store = FeatureStore(features)
    store.verify()
    store.verify()
    store.read([place.sha256 for place in read_rows(features, FeaturePlace)])
    assert len(checks) == 1


def test_a_stored_image_is_not_computed_again(split, run, computed, monkeypatch):
    run(split)
    monkeypatch.setattr(module, "load", None)  # nor is the model loaded
    run(split)
    assert computed == [8]


def test_a_changed_image_alone_is_computed_again(root, run, computed, tmp_path):
    copy = shutil.copytree(root, tmp_path / "root")
    run(write_split(tmp_path / "before.parquet", copy), root=copy)
    image = Image.open(copy / "3.png").convert("RGB")
    image.putpixel((0, 0), (1, 2, 3))
    image.save(copy / "3.png")
    after = write_split(tmp_path / "after.parquet", copy)
    run(after, "after/index.parquet", root=copy)
    assert computed == [8, 1]
    assert len(FeatureStore(tmp_path / "after/index.parquet").read(list(images_of(after)))) == 8 * 16


@pytest.mark.parametrize("damaged", ["features.safetensors", "entry.json"])
def test_a_damaged_shard_is_reported_and_computed_again(split, run, computed, tmp_path, capsys, damaged):
    run(split)
    (file,) = (tmp_path / "store").rglob(damaged)
    shard = file.with_name("features.safetensors")
    whole = shard.read_bytes()
    flip(file, 200)
    run(split)
    assert computed == [8, 8]
    assert "is not what was stored" in capsys.readouterr().err
    assert shard.read_bytes() == whole
    run(split)
    assert computed == [8, 8]


def test_an_image_that_changed_since_conversion_is_refused(root, run, tmp_path):
    copy = shutil.copytree(root, tmp_path / "root")
    split = write_split(tmp_path / "rows.parquet", copy)
    shutil.copyfile(copy / "1.png", copy / "3.png")
    with pytest.raises(BadImage, match=r"^3\.png is not the image that was converted .*: convert again$"):
        run(split, root=copy)
    assert not list((tmp_path / "store").rglob("*.safetensors"))
    with pytest.raises(BadImage, match=r"^3\.png is not the image that was converted .*: convert again$"):
        run(split, root=copy, threads=3)  # in processes of their own
    assert active_children() == []  # nobody waits for them later


@pytest.mark.parametrize("part", ["device", "dtype", "libraries"])
def test_features_of_another_runtime_are_others(split, run, computed, monkeypatch, part):
    run(split)
    runtime = module.identity_of_runtime()
    monkeypatch.setattr(module, "identity_of_runtime", lambda: runtime | {part: "another"})
    run(split)
    assert computed == [8, 8]


def test_features_of_other_files_of_the_model_are_others(split, run, computed, tiny, tmp_path):
    from workflow_scripts.models.record import write_record

    run(split)
    folder = shutil.copytree(tiny.with_suffix(""), tmp_path / "models/tiny")
    write_record(tmp_path / "models/tiny.json", "tiny", "gemma3", folder, None)
    run(split, model=tmp_path / "models/tiny.json")
    assert computed == [8]  # the same bytes in another place are the same model
    (folder / "chat_template.jinja").write_text("another")
    write_record(tmp_path / "models/tiny.json", "tiny", "gemma3", folder, None)
    run(split, model=tmp_path / "models/tiny.json")
    assert computed == [8, 8]


def test_shards_have_the_modes_of_the_umask(split, run, tmp_path):
    before = os.umask(0o002)
    try:
        run(split)
    finally:
        os.umask(before)
    for path in (tmp_path / "store").rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o775 if path.is_dir() else 0o664), path


@pytest.fixture
def damaged(tiny, tmp_path):
    """The record of a model, one weight of whose tower is no number."""
    from safetensors.torch import load_file, save_file

    from workflow_scripts.models.record import write_record

    folder = shutil.copytree(tiny.with_suffix(""), tmp_path / "models/damaged")
    weights = load_file(folder / "model.safetensors")
    next(tensor for name, tensor in weights.items() if "patch_embedding.weight" in name).view(-1)[0] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    write_record(folder.with_suffix(".json"), "damaged", "gemma3", folder, None)
    return folder.with_suffix(".json")


def test_features_that_are_not_finite_are_refused_and_not_stored(split, run, damaged, tmp_path):
    with pytest.raises(Refused, match=r"^\d\.png: its features are not finite in float32: .* checkpoint again"):
        run(split, model=damaged)
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_batches_are_computed_again_until_the_greatest_score_is_kept(split, run, monkeypatch):
    rises, calls = [True], []
    monkeypatch.setattr(module, "risen", lambda loaded: torch.ones(1) if rises[0] else None)
    monkeypatch.setattr(module, "keep_greatest", lambda loaded: rises.__setitem__(0, False))
    features_of = module._Batch._features
    monkeypatch.setattr(module._Batch, "_features", lambda batch: (calls.append(1), features_of(batch))[1])
    run(split)
    assert len(calls) == 3 + 2  # the first batch, and the second, which was begun by then


def test_features_of_a_tower_in_8_bits_are_others_and_need_a_gpu(split, run, computed, tiny, tmp_path):
    from workflow_scripts.models.record import read_record, write_record

    folder = shutil.copytree(tiny.with_suffix(""), tmp_path / "models/tiny")
    plain = write_record(tmp_path / "models/plain.json", "plain", "gemma3", folder, None)
    eight = write_record(tmp_path / "models/eight.json", "eight", "gemma3", folder, None, vision_fp8=True)
    assert plain.content != eight.content and "vision_fp8" not in plain.content
    assert read_record(tmp_path / "models/eight.json")[0].vision_fp8
    run(split)
    with pytest.raises(Refused, match="vision_fp8 cannot be followed: few passes are for a GPU; set it to false"):
        run(split, model=tmp_path / "models/eight.json")
    assert computed == [8]


def test_features_do_not_depend_on_the_batch_or_shard(split, run, tmp_path, monkeypatch, capsys):
    run(split, batch=8)
    monkeypatch.setattr(module, "SHARD", 3)
    run(split, "other/index.parquet", batch=2, store=tmp_path / "other/store", threads=3)
    hashes = sorted(images_of(split))
    whole, parted = (FeatureStore(tmp_path / index).read(hashes) for index in ("index.parquet", "other/index.parquet"))
    torch.testing.assert_close(whole, parted)
    assert len(list((tmp_path / "other/store").rglob("*.safetensors"))) == 3
    assert "vision tower: the library's (few passes are for a GPU)" in capsys.readouterr().out
