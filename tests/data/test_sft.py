"""Conversations: one prompt for training and inference, pinned per task; opened by datasets and trained on by TRL."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.roots import png
from tests.workflow import step_server
from workflow_scripts.core.images import open_image, portable_image
from workflow_scripts.core.rows import Image as ImageOfRow
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.data.sft import conversation, conversations, image_file
from workflow_scripts.models.prompts import chat

SNAPSHOTS = {
    ("moles", "classification"): (
        "[image] Which diagnosis fits this image? Options: A) Nevus B) Melanoma C) Keratosis D) Carcinoma E) Angioma "
        "F) Lentigo G) Scar H) Unknown",
        "A",
    ),
    ("density", "classification"): (
        "[image] [image] Which diagnosis fits this image? Options: A) Benign B) Malignant C) Both",
        "Both",
    ),
    ("periapex", "multi_label"): (
        "[image] Which findings are present? Choose from: Caries; Crown; Endodontic Treatment, Restorative Treatment, "
        "and Complications; Periapical Lesion. List all that apply, separated by semicolons.",
        "Crown; Endodontic Treatment, Restorative Treatment, and Complications",
    ),
    ("massfind", "detection"): (
        "[image] Locate the mass. Return the bounding boxes as [x_min, y_min, x_max, y_max].",
        "[[48, 44, 96, 80]]",
    ),
    ("fetal", "detection"): (
        "[image] Locate the fetal head. Return the bounding boxes as [x, y, width, height].",
        "[[40, 40, 56, 44]]",
    ),
    ("chromosomes", "instance_detection"): (
        "[image] Identify and locate all chromosomes. Return a JSON mapping class identifiers to their bounding box "
        "coordinates in [x, y, width, height] format.",
        '{"1": [[0, 0, 40, 44]], "x": [[12, 60, 32, 40]]}',
    ),
    ("cells", "counting"): ("[image] What is the stained cell count for this microscope image?", "5"),
    ("resorption", "regression"): ("[image] Estimate the bone resorption in percent from this image.", "77.7%"),
    ("chestreport", "report"): (
        "[image] [image] Write the findings of this chest X-ray.",
        "Heart size is normal. No acute cardiopulmonary abnormality.",
    ),
}


def text_of(turn: dict) -> str:
    return " ".join("[image]" if part["type"] == "image" else part["text"] for part in turn["content"])


@pytest.fixture(scope="session")
def split(toy, toy_root, tmp_path_factory) -> Path:
    """A few rows of every toy subset and task, with their zips."""
    chosen, seen = [], {}
    for row in toy.rows:
        key = (row.subset, row.task)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= 3 and row.folder == "training":
            chosen.append(row)
    path = tmp_path_factory.mktemp("split") / "rows.parquet"
    write_rows(path, chosen, Row)
    return path


def write(split: Path, root: Path, place: Path, *more: object) -> Path:
    """Run the step; returns the JSONL."""
    command = [step_server.python(), "-m", "workflow_scripts.data.sft", "--split", split, "--root", root]
    subprocess.run([*map(str, command), "--out", str(place / "sft.jsonl"), *map(str, more)], check=True)
    return place / "sft.jsonl"


@pytest.mark.parametrize(("subset", "task"), SNAPSHOTS)
def test_the_prompt_of_each_task_is_pinned(toy, subset, task):
    turns = [
        conversation(row, None, "messages")["messages"] for row in toy.rows if (row.subset, row.task) == (subset, task)
    ]
    assert {tuple(turn["role"] for turn in pair) for pair in turns} == {("user", "assistant")}
    assert SNAPSHOTS[subset, task] in [(text_of(user), text_of(assistant)) for user, assistant in turns]


def test_training_and_inference_share_the_prompt(toy):
    for row in toy.rows[::40]:
        inference = chat(row.question, len(row.images), "You read images.")
        assert conversation(row, "You read images.", "messages")["messages"][:-1] == inference
        assert conversation(row, "You read images.", "prompt-completion")["prompt"] == inference
        assert [turn["role"] for turn in inference] == ["system", "user"]


def test_image_paths_lead_from_the_jsonl_to_the_files(split, toy_root, tmp_path):
    lines = [json.loads(line) for line in write(split, toy_root, tmp_path).read_text().splitlines()]
    rows = read_rows(split, Row)
    assert [line["uid"] for line in lines] == [r.uid for r in rows]
    for line, row in zip(lines, rows, strict=True):
        assert len(line["images"]) == len(row.images)
        for name, image in zip(line["images"], row.images, strict=True):
            assert not Path(name).is_absolute()
            with Image.open(tmp_path / name) as opened:
                assert opened.size == (image.width, image.height)
    assert any(".zip!" in image.path for row in rows for image in row.images)


OPEN = """
import sys
from datasets import load_dataset
from trl import DatasetMixtureConfig, get_dataset
from trl.scripts.utils import DatasetConfig
for file in sys.argv[2:]:
    by_trl = get_dataset(DatasetMixtureConfig([DatasetConfig(path="parquet", data_files=file)]))["train"]
    for rows in (load_dataset("parquet", data_files=file, split="train", cache_dir=sys.argv[1]), by_trl):
        print(len(rows), *(image.size for row in rows for image in row["images"]))
"""


def test_datasets_and_trl_open_the_parquet_from_another_folder(split, toy_root, tmp_path):
    """With images inside, and with their paths; in one process, which is mostly imports."""
    files = [tmp_path / "embedded.parquet", tmp_path / "paths.parquet"]
    write(split, toy_root, tmp_path, "--parquet", files[0])
    write(split, toy_root, tmp_path, "--parquet", files[1], "--embed", False)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-c", OPEN, str(tmp_path / "cache"), *map(str, files)]
    environment = os.environ | {"HF_DATASETS_CACHE": str(tmp_path / "cache of trl"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = read_rows(split, Row)
    sizes = [(image.width, image.height) for row in rows for image in row.images]
    assert done.stdout.strip().splitlines()[-4:] == 4 * [" ".join(map(str, [len(rows), *sizes]))]


@pytest.mark.parametrize("layout", ["messages", "prompt-completion"])
def test_datasets_opens_the_parquet_with_its_images(split, toy_root, tmp_path, layout):
    from datasets import load_dataset

    write(split, toy_root, tmp_path, "--parquet", tmp_path / "sft.parquet", "--layout", layout)
    opened = load_dataset("parquet", data_files=str(tmp_path / "sft.parquet"), split="train", cache_dir=tmp_path / "c")
    rows = read_rows(split, Row)
    assert opened.column_names == [
        "uid",
        *(["messages"] if layout == "messages" else ["prompt", "completion"]),
        "images",
    ]
    for item, row in zip(opened, rows, strict=True):
        for image, known in zip(item["images"], row.images, strict=True):
            expected = np.asarray(open_image(toy_root, known.path))
            assert np.array_equal(np.asarray(image.convert("RGB")), expected)


def test_datasets_opens_the_jsonl_with_its_images(split, toy_root, tmp_path):
    from datasets import Image as ImageColumn
    from datasets import List, load_dataset

    lines = write(split, toy_root, tmp_path)
    opened = load_dataset("json", data_files=str(lines), split="train", cache_dir=str(tmp_path / "cache"))
    opened = opened.map(lambda item: {"images": [str(lines.parent / name) for name in item["images"]]})
    opened = opened.cast_column("images", List(ImageColumn()))
    assert opened[0]["images"][0].size == (112, 112)
    assert opened[0]["messages"][-1]["role"] == "assistant"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["messages", "prompt-completion"])
def test_trl_trains_on_the_parquet_unchanged(split, toy_root, tmp_path, tiny, layout):
    from datasets import load_dataset
    from transformers import AutoModelForImageTextToText, AutoProcessor
    from trl import SFTConfig, SFTTrainer

    write(split, toy_root, tmp_path, "--parquet", tmp_path / "sft.parquet", "--layout", layout)
    rows = load_dataset("parquet", data_files=str(tmp_path / "sft.parquet"), split="train", cache_dir=tmp_path / "c")
    trainer = SFTTrainer(
        AutoModelForImageTextToText.from_pretrained(tiny.with_suffix("")),
        args=SFTConfig(
            output_dir=str(tmp_path / "out"),
            max_steps=3,
            per_device_train_batch_size=4,
            max_length=None,
            use_cpu=True,
            report_to=[],
            remove_unused_columns=False,
            save_strategy="no",
        ),
        processing_class=AutoProcessor.from_pretrained(tiny.with_suffix("")),
        train_dataset=rows,
    )
    assert np.isfinite(trainer.train().training_loss)


def test_images_that_decoders_read_differently_are_embedded_as_they_are_seen(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    frames = [Image.new("RGB", (8, 4), colour) for colour in ("red", "blue")]
    for name, image, save in (
        ("turned.jpg", Image.new("RGB", (8, 4), "red"), {"exif": exif}),
        ("grey16.png", Image.fromarray(np.arange(32, dtype=np.uint16).reshape(4, 8) * 2000), {}),
        ("palette.png", Image.new("RGB", (8, 4), "red").convert("P"), {}),
        ("keyed.png", Image.new("RGB", (8, 4), "red"), {"transparency": (255, 0, 0)}),
        ("animated.webp", frames[0], {"save_all": True, "append_images": frames[1:], "lossless": True}),
        ("rare.tiff", Image.new("RGB", (8, 4), "red"), {}),
    ):
        image.save(tmp_path / name, **save)
        portable = portable_image(tmp_path, name)
        assert portable.media_type == "image/png"
        with Image.open(io.BytesIO(portable.data)) as embedded:
            assert (embedded.mode, embedded.info.get("transparency")) == ("RGB", None)
            assert np.array_equal(np.asarray(embedded), np.asarray(open_image(tmp_path, name)))


def test_an_image_on_which_decoders_agree_is_embedded_as_it_is(tmp_path):
    Image.new("RGB", (8, 4), "red").save(tmp_path / "plain.jpg")
    (tmp_path / "plain.png").write_bytes(png(0))
    assert portable_image(tmp_path, "plain.png") == ("image/png", png(0))
    assert portable_image(tmp_path, "plain.jpg") == ("image/jpeg", (tmp_path / "plain.jpg").read_bytes())


def test_conversations_come_one_by_one(split, toy_root, tmp_path):
    items = conversations(read_rows(split, Row), None, "messages", lambda image: image.path)
    assert next(items)["images"]


def test_an_image_of_a_whole_range_is_written_as_it_is_seen(tmp_path):
    Image.fromarray(np.arange(192, dtype=np.uint16).reshape(12, 16) * 300).save(tmp_path / "a.png")
    image = ImageOfRow("a.png#range", "f" * 64, 16, 12)
    written = image_file(image, tmp_path, tmp_path / "images")
    assert written == tmp_path / "images" / "ff" / f"{'f' * 64}.png"
    with Image.open(written) as opened:
        assert np.array_equal(np.asarray(opened), np.asarray(open_image(tmp_path, image.path)))
