"""Rows without images are answered, alone and beside rows with images, as each by itself."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import make_row
from tests.models.tiny.paligemma2 import build
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.train.preflight import check_batch, check_rows
from workflow_scripts.train.rows import Collator, model_inputs, training_row

TEXTS = {0, 3, 4, 7}
"""Rows without images, among eight."""


@pytest.fixture(scope="module", params=["gemma3", "paligemma2"])
def record(request, tmp_path_factory):
    if request.param == "gemma3":
        return request.getfixturevalue("tiny")
    folder = tmp_path_factory.mktemp("models") / "paligemma2"
    build(folder)
    write_record(folder.with_suffix(".json"), "paligemma2", "paligemma2", folder, None)
    return folder.with_suffix(".json")


@pytest.fixture(scope="module")
def rows(root):
    rows = [make_row(root, number) for number in range(8)]
    return [replace(row, images=(), image_name="[]") if n in TEXTS else row for n, row in enumerate(rows)]


def stored(rows, root, record, folder):
    """A table of rows, and the index of their features."""
    split, index = folder / "rows.parquet", folder / "features.parquet"
    write_rows(split, rows, Row)
    extract(split=split, root=root, model=record, index=index, batch=3, threads=1, store=folder / "store")
    return split, index


def answers(rows, root, record, folder, batch):
    folder.mkdir()
    split, index = stored(rows, root, record, folder)
    out = folder / "answers.parquet"
    answer(
        split=split,
        model=record,
        root=root,
        features=index,
        members=[GroupMember(system="base")],
        max_new_tokens={"counting": 6},
        batch=batch,
        threads=1,
        store=folder / "answers",
        out=out,
    )
    return read_rows(out, Prediction)


def test_mixed_batches_answer_as_single_rows_do(rows, root, record, tmp_path):
    single = answers(rows, root, record, tmp_path / "single", 1)
    assert answers(rows, root, record, tmp_path / "mixed", 8) == single
    texts = [row for number, row in enumerate(rows) if number in TEXTS]
    alone = answers(texts, root, record, tmp_path / "texts", 8)
    assert alone == [row for row in single if row.uid in {text.uid for text in texts}]
    tokens = {number: row.prompt_tokens for number, row in enumerate(single)}
    assert max(tokens[number] for number in TEXTS) < min(tokens[number] for number in {*range(8)} - TEXTS)


def test_rows_without_images_have_no_features(rows, root, record, tmp_path):
    _, index = stored([row for number, row in enumerate(rows) if number in TEXTS], root, record, tmp_path)
    assert FeatureStore(index).identity == ""


@torch.inference_mode()
def test_training_takes_rows_without_images(rows, root, record, tmp_path):
    loaded = load(record)
    _, index = stored(rows, root, record, tmp_path)
    examples = [training_row(row, Prompt(), loaded) for row in rows]
    check_rows(rows, examples, Prompt(), loaded)
    collate = Collator(loaded, root, FeatureStore(index))
    for some in (examples[:4], [examples[number] for number in sorted(TEXTS)]):
        batch = collate(some)
        check_batch(batch, loaded)
        logits = loaded.model(**{n: x for n, x in model_inputs(batch, loaded).items() if n != "labels"}).logits
        for number, row in enumerate(some):
            inputs = {n: x for n, x in model_inputs(collate([row]), loaded).items() if n != "labels"}
            alone = loaded.model(**inputs).logits[0]
            torch.testing.assert_close(logits[number, : row["length"]], alone, atol=2e-5, rtol=1e-4)
