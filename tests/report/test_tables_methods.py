"""The methods section says what the files of the results say, and "not recorded" for the rest."""

import json
from dataclasses import replace

import pytest

from tests.conftest import make_row
from tests.report.rows import filled
from workflow_scripts.core.files import BadFile, write_json
from workflow_scripts.core.rows import LeftOutRow, QuarantinedRow, Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.report.lineage import lineage
from workflow_scripts.report.methods.section import REARRANGEMENTS, methods_text
from workflow_scripts.report.results import results_of
from workflow_scripts.score.comparisons import TESTS_PER_RESAMPLE

COMMIT = "c" * 40
CONFIGURATION = {
    "datasets": {"flare": {"source": "hub", "repo": "lab/flare_*x*"}},
    "splits": {
        "train": {"dataset": "flare", "folder": "training", "limit": 50},
        "validation": {"dataset": "flare", "folder": "validation-public", "only": ["marks"]},
    },
    "models": {"m": {"source": "hub", "family": "gemma3", "checkpoint": "google/medgemma", "revision": COMMIT}},
    "recipes": {"qlora": {"epochs": None, "steps": 30, "seed": 5, "evaluation": {"every": 10, "patience": 3}}},
    "engines": {"lab": {"url": "http://lab:8000/v1"}},
    "systems": {
        "base": {"model": "m"},
        "tuned": {"model": "m", "recipe": "qlora", "train": "train", "prompt": {"system": "Be <b>brief</b>."}},
        "served": {"model": "m", "engine": "lab", "served_as": "base"},
        "majority": {"baseline": "majority", "train": "train"},
        "theirs": {"predictions": "theirs.jsonl"},
    },
    "judges": {
        "rules": {"backend": "rule_based"},
        "green": {"backend": "green"},
        "chat": {"backend": "openai", "metric": "crimson", "url": "http://j/v1", "model": "chat-1", "revision": "May"},
    },
    "evaluate": ["validation"],
    "scoring": {"resamples": 200, "confidence": 0.9, "seed": 3},
}


@pytest.fixture
def bare(tmp_path):
    """A results folder with a configuration and nothing else."""
    write_json(tmp_path / "configuration.json", CONFIGURATION)
    return tmp_path


@pytest.fixture
def results(bare, root):
    """A results folder with what jobs record."""
    rows = [make_row(root, n) for n in range(6)]
    write_rows(bare / "splits/train/rows.parquet", rows[:4], Row)
    write_rows(bare / "splits/validation/rows.parquet", [replace(row, task="report") for row in rows[4:]], Row)
    write_rows(bare / "splits/train/left_out.parquet", [filled(LeftOutRow, reason="leaked_image")] * 2, LeftOutRow)
    write_rows(bare / "splits/validation/left_out.parquet", [], LeftOutRow)
    write_rows(bare / "data/flare/rows.parquet", rows, Row)
    lost = [filled(QuarantinedRow, reason=reason) for reason in ("duplicate", "missing_image", "missing_image")]
    write_rows(bare / "data/flare/quarantine.parquet", lost, QuarantinedRow)
    write_json(bare / "data/flare/manifest.json", {"source": {"revision": "d" * 40}, "files": []})
    write_json(bare / "models/m.json", {"name": "m", "revision": COMMIT})
    write_json(bare / "models/judges/green.json", {"name": "green", "revision": "e" * 40})
    folder = bare / "systems/tuned"
    write_json(folder / "adapter/provenance.json", {"rows": 4, "gpus": [], "packages": {"torch": "2.13", "peft": "1"}})
    write_json(folder / "speed.json", {"seconds": 90.0, "device": "NVIDIA H100", "peak_gib": 21.25})
    write_rows(folder / "history.parquet", [filled(TrainingStep, step=step) for step in (10, 30)], TrainingStep)
    return bare


def section(results, name):
    systems = list(CONFIGURATION["systems"])
    text = methods_text(results, "validation", systems, lineage(results, "validation", systems))
    return text.split(f"## {name}\n\n")[1].split("\n\n")[0]


def test_the_data_are_counted_with_what_was_left_out_and_quarantined(results):
    data = section(results, "Data")
    assert "split `validation`: 2 questions on 2 cases (2 report), drawn from the folder `validation-public`" in data
    assert f"the dataset lab/flare\\_\\*x\\* (commit {'d' * 40}), subsets marks alone." in data
    assert "Of 9 source rows of the dataset 6 were converted; 3 were quarantined: 2 missing image and 1 dup" in data
    assert "split `train`: 4 questions on 4 cases (4 counting)" in data and "at most 50 rows" in data
    assert data.endswith("Left out of it were 2 rows (2 leaked image).") and "not recorded" not in data


def test_a_tuned_system_is_described_by_its_recipe_and_where_it_ran(results):
    text = section(results, "Systems")
    assert f"`base` is google/medgemma (commit {COMMIT}, family gemma3), as published, without a system prompt." in text
    assert "with the system prompt “Be &lt;b&gt;brief&lt;/b&gt;.”" in text
    assert "Training on the rows of `train` (4) was by QLoRA: the base was loaded in 4 bits" in text
    assert "rank 16 (alpha 16, dropout 0)" in text and "with a frozen vision tower" in text
    assert "seed 5; 30 steps, the last logged step being 30." in text
    assert "every 10 steps, and the best checkpoint was taken; training stopped after 3 evaluations" in text
    assert (
        "It ran on NVIDIA H100 for 1.5 minutes, with a peak of 21.2 GiB of memory. Libraries: PyTorch 2.13 and PEFT 1."
        in text
    )
    assert "`majority` is a baseline that looks at no image: it gives the commonest answer" in text
    assert "`theirs` stands for imported predictions; how they were generated is not recorded here." in text


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"vision_tower": "adapted"}, "converted with the vision tower that was adapted in its training"),
        (
            {"vision_tower": "clip", "clip": {"checkpoint": "openai/clip", "revision": "f" * 40}},
            "converted with stock CLIP in the place of its adapted vision tower, as its authors' loader has it",
        ),
        (
            {"image": {"size": 448, "pad": True}},
            "each image padded with black to a square and resized to 448 × 448 pixels (Lanczos) first",
        ),
        ({"image": {"pad": True}}, "each image padded with black to a square first"),
    ],
)
def test_a_model_is_named_with_its_vision_tower_and_with_what_is_done_to_images(bare, model, said):
    models = {"m": CONFIGURATION["models"]["m"] | {"family": "llava", "checkpoint": "microsoft/llava-med"} | model}
    systems = {name: entry for name, entry in CONFIGURATION["systems"].items() if name != "served"}
    write_json(bare / "configuration.json", CONFIGURATION | {"models": models, "systems": systems})
    known = f"`base` is microsoft/llava-med (commit {COMMIT}, family llava)"
    stands_on = lineage(bare, "validation", list(systems))
    assert f"{known}, {said}, as published" in methods_text(bare, "validation", list(systems), stands_on)
    written = results_of("validation", ["base", "majority"], [], [], bare, stands_on)
    assert written["systems"]["base"]["model"] == models["m"] and written["systems"]["majority"]["model"] is None


def test_products_in_8_bits_are_named(bare):
    systems = {"base": {"model": "m"}, "eight": {"model": "m", "fp8": True}}
    write_json(bare / "configuration.json", CONFIGURATION | {"systems": systems})
    text = methods_text(bare, "validation", list(systems), lineage(bare, "validation", list(systems)))
    assert "Answers of `base` were decoded greedily, with the base at its own precision" in text
    assert "Answers of `eight` were decoded greedily. The language model's matrix products of `eight` were" in text
    assert "computed in 8-bit floating point (e4m3, scaled by row and by output channel)" in text


def test_answers_judges_and_statistics_are_those_of_the_configuration(results):
    answers, judges, statistics = (section(results, name) for name in ("Answers", "Judges", "Statistics"))
    assert "Answers of `base` and `tuned` were decoded greedily" in answers
    assert "`served` answered behind an OpenAI-compatible server at temperature 0" in answers
    assert "The hardware that answers were generated on is not recorded." in answers
    assert f"`green`: StanfordAIMI/GREEN-radllama2-7b (commit {'e' * 40}); prompt and formula of GREEN" in judges
    assert "`chat`: chat-1 (revision May) behind a server; prompt and formula of CRIMSON" in judges
    assert "neither CRIMSON's nor GREEN's own judge" in judges
    assert "Intervals of 90%" in statistics and "200 bootstrap resamples" in statistics and "Seed 3." in statistics
    assert "with 2,000 rearrangements" in statistics and REARRANGEMENTS == TESTS_PER_RESAMPLE


def test_what_no_file_says_is_not_recorded_and_not_invented(bare):
    data, systems = section(bare, "Data"), section(bare, "Systems")
    for unknown in (
        "split `validation`: number of rows not recorded",
        "(commit not recorded)",
        "How many rows were left out of it is not recorded.",
        "How many source rows were converted and quarantined is not recorded.",
    ):
        assert unknown in data
    for unknown in (
        "of `train` (number not recorded)",
        "number of steps not recorded",
        "The hardware of this training is not recorded; its duration is not recorded; its peak of memory is not",
        "Versions of libraries are not recorded.",
    ):
        assert unknown in systems
    assert "GREEN-radllama2-7b (commit not recorded)" in section(bare, "Judges")


def test_a_configuration_of_another_version_is_named(bare):
    (bare / "configuration.json").write_text(json.dumps(CONFIGURATION | {"new": 1}))
    with pytest.raises(BadFile, match=r"configuration\.json is not a configuration of this version .*run the workflow"):
        section(bare, "Data")
