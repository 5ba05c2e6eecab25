"""Rows of 85 slices on the tiny model: features are stored once an image, and training and answering read them."""

import resource
import time

import PIL.Image
import pytest

from tests.data.phantom import phantom
from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import ExpectedFormat, Image, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.data.volumes.windows import PRESETS, windowed
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.train.tune import tune

pytestmark = pytest.mark.slow
SLICES, TOKENS = 85, 16
"""Slices of a row, and tokens of each to the tiny model."""


def write_rows_of_slices(folder, count):
    """A split of volumes whose slices lie in `folder`."""
    rows = []
    for number in range(count):
        images = []
        for place, values in enumerate(phantom(SLICES, 48, 56, seed=number), 1):
            path = folder / f"{number}_{place}.png"
            PIL.Image.fromarray(windowed(values, PRESETS["medgemma-notebook"])).save(path)
            images.append(Image(path.name, sha256_of_file(path), 56, 48, f"slice {place}"))
        texts = {"question": "Describe the findings.", "answer": "Clear lungs.", "answer_raw": '"Clear lungs."'}
        places = {"subset": "ct", "modality": "CT", "folder": "training", "source_file": "q.json", "source_row": number}
        task = {"task": "report", "task_raw": "report", "expected": ExpectedFormat(), "image_name": "[]"}
        rows.append(Row(uid=f"ct/{number}", case_id=f"ct/{number}", images=tuple(images), **texts, **places, **task))
    write_rows(folder / "rows.parquet", rows, Row)
    return folder / "rows.parquet"


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return write_rows_of_slices(tmp_path_factory.mktemp("volumes"), 2)


@pytest.fixture(scope="module")
def index(split, tiny):
    path = split.with_name("features.parquet")
    extract(split=split, root=split.parent, model=tiny, index=path, batch=8, threads=1, store=split.parent / "store")
    return path


def answers(split, tiny, index, name, adapter=None):
    out = split.with_name(f"{name}.parquet")
    members = [GroupMember(system=name, adapter=adapter)]
    places = {"split": split, "model": tiny, "root": split.parent, "features": index, "out": out}
    answer(**places, members=members, max_new_tokens={"report": 6}, batch=2, threads=1, store=out.with_suffix(".store"))
    return read_rows(out, Prediction)


def test_features_are_stored_once_an_image_in_the_rows_order(split, index):
    store, rows = FeatureStore(index), read_rows(split, Row)
    whole = store.read([image.sha256 for image in rows[0].images])
    assert whole.shape[0] == SLICES * TOKENS
    last = store.read([rows[0].images[-1].sha256])
    assert (whole[-TOKENS:] == last).all()


def test_stored_features_answer_as_the_tower_does_and_every_slice_is_in_the_prompt(split, tiny, index):
    stored, computed = (answers(split, tiny, place, name) for place, name in ((index, "stored"), (None, "computed")))
    assert [row.text for row in stored] == [row.text for row in computed]
    assert all(SLICES * TOKENS < row.prompt_tokens < 4096 for row in stored)


def test_rows_of_85_slices_are_trained_on_in_little_memory_and_time(split, tiny, index):
    folder = split.parent
    recipe = Recipe(
        lora=Lora(r=4, alpha=4), learning_rate=5e-3, epochs=None, steps=3, batch=2, micro_batch=1, save_every=3
    )
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    tune(
        recipe=recipe,
        prompt=Prompt(),
        split=split,
        root=folder,
        model=tiny,
        features=index,
        adapter=folder / "adapter",
        history=folder / "history.parquet",
        checkpoints=folder / "checkpoints",
        threads=1,
    )
    history = read_rows(folder / "history.parquet", TrainingStep)
    assert history[-1].loss < history[0].loss
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1.5e6  # KB
    assert time.process_time() - start < 60
    tuned = answers(split, tiny, index, "tuned", folder / "adapter")
    assert len(tuned) == 2
