"""The toy dataset has FLARE's shape and variants, is the same for the same seed, and its images decide the answers."""

import json
from collections import Counter

import pytest

from tests.conftest import VQA
from workflow_scripts.core.config.datasets import SyntheticDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import take_inventory
from workflow_scripts.core.tasks import tasks
from workflow_scripts.synthetic.dataset import draw_dataset


def _raw(root):
    return {path: json.loads(path.read_text()) for path in sorted(root.glob("*/*/*/*.json"))}


def _records(root):
    for content in _raw(root).values():
        yield from content if isinstance(content, list) else next(v for v in content.values() if isinstance(v, list))


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(tmp_path):
    roots = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        draw_dataset(SyntheticDataset(seed=seed, scale=0.05), tmp_path / name)
        roots.append(take_inventory(tmp_path / name, {})["files"])
    assert roots[0] == roots[1]
    assert roots[0] != roots[2]


def test_at_full_scale_there_are_about_1900_and_450_rows(tmp_path):
    counts = draw_dataset(SyntheticDataset(), tmp_path / "root")
    assert 1700 <= counts["training"] <= 1900
    assert 420 <= counts["validation-public"] + counts["validation_public"] <= 460


def test_flares_variants_are_met(toy_root):
    folders = {path.name for path in toy_root.iterdir() if path.is_dir()}
    assert folders == {"training", "validation-public", "validation_public"}
    assert len({path.parts[-2] for path in toy_root.glob("*/*/*")}) == 8
    assert len({path.name for path in toy_root.glob("training/*/*")}) == 12
    assert list(toy_root.glob("training/*/*/*.zip"))
    assert list(toy_root.glob("training/*/*/imagesTr"))
    contents = _raw(toy_root).values()
    roots = {"" if isinstance(c, list) else next(k for k, v in c.items() if isinstance(v, list)) for c in contents}
    assert roots == {"", "questions", "data", "annotations", "items"}
    records = list(_records(toy_root))
    spellings, modalities = {r["TaskType"] for r in records}, {r["Modality"] for r in records}
    assert {"Classification", "classification", "Cell Counting", "Counting", "Report_Generation"} <= spellings
    assert {"X-ray", "X-Ray", "microscopy", "Microscopy", "Fundus", "Digital Camera"} <= modalities
    assert {str, list} == {type(r["ImageName"]) for r in records}
    assert max(len(r["ImageName"]) for r in records if isinstance(r["ImageName"], list)) >= 4


def test_every_task_of_flare_is_there_in_both_folders(toy):
    for folder in ("training", "validation-public"):
        assert {row.task for row in toy.rows if row.folder == folder} == set(tasks()) - VQA


def test_no_answer_of_a_choice_is_all_there_is(toy):
    answers: dict[str, Counter] = {}
    for row in toy.rows:
        if row.task == "classification" and row.folder == "training":
            answers.setdefault(row.subset, Counter())[row.answer] += 1
    for counted in answers.values():
        assert len(counted) > 1
        assert max(counted.values()) < 0.8 * sum(counted.values())


def test_a_folder_with_something_else_in_it_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BadFile, match="was not drawn by this step"):
        draw_dataset(SyntheticDataset(scale=0.05), tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_the_scale_benchmark_has_flares_size():
    from benchmarks.data_scale import IMAGES, ROWS, shapes

    assert (sum(s.rows for s in shapes()), sum(s.images for s in shapes())) == (ROWS, IMAGES) == (58_112, 50_996)
    assert len({s.name for s in shapes()}) == 19
    assert len({s.modality for s in shapes()}) == 8
