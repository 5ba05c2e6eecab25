"""The course: committed notebooks are what their sources say, and run from them; the quiz marks itself."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_reference import module
from tests.workflow.runs import checkout
from workflow_scripts import ROOT

COURSE = ROOT / "docs/course"
SOURCES = sorted((COURSE / "sources").glob("*.py"))
SWITCH = 'course = open_course("config/config.yaml")\n# MedGemma (one GPU, HF_TOKEN): "config/minicourse.yaml"'

architecture = module(COURSE / "architecture.py")


def name_of(path):
    return path.stem


def notebook_of(source: Path) -> dict:
    return json.loads((COURSE / source.with_suffix(".ipynb").name).read_text(encoding="utf-8"))


def cells_of_source(source: Path) -> list[tuple[str, str]]:
    """Kind and text of the cells of a source in jupytext's percent format."""
    text = source.read_text(encoding="utf-8").removeprefix("# %%")
    cells = []
    for part in re.split(r"^# %%", text, flags=re.MULTILINE):
        head, _, body = part.partition("\n")
        markdown = "[markdown]" in head
        lines = [re.sub(r"^# ?", "", line) for line in body.splitlines()] if markdown else body.splitlines()
        cells.append(("markdown" if markdown else "code", "\n".join(lines).strip()))
    return cells


def outputs_of(notebook: dict) -> list[dict]:
    return [output for cell in notebook["cells"] if cell["cell_type"] == "code" for output in cell["outputs"]]


def kinds_shown(notebook: dict) -> list[set[str]]:
    """The kinds of the tables and images of a notebook, in its order; what is printed may differ by run."""
    return [set(output["data"]) for output in outputs_of(notebook) if "data" in output]


def test_there_are_the_six_modules_a_conclusion_and_a_quiz():
    names = [source.stem.partition("_")[2] for source in SOURCES]
    assert names == [
        *("background", "architecture", "data", "fine_tuning", "inference", "evaluation", "conclusion", "quiz")
    ]


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_notebook_holds_its_source(source):
    cells = [(cell["cell_type"], "".join(cell["source"]).strip()) for cell in notebook_of(source)["cells"]]
    assert cells == cells_of_source(source), "run: python docs/course/build.py"


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_a_notebook_was_executed_and_is_small_and_of_no_machine(source):
    notebook = notebook_of(source)
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    kinds = [kind for output in outputs_of(notebook) for kind in output.get("data", {})]
    assert "text/html" in kinds, "no table is shown"
    assert not [output for output in outputs_of(notebook) if output.get("name") == "stderr"]
    text = (COURSE / source.with_suffix(".ipynb").name).read_text(encoding="utf-8")
    assert len(text) < 1_000_000
    assert not re.search(r"(?<![\w./])/(?:home|root|tmp|work|Users|opt)/", text)
    assert not re.search(r"https?://(?!www\.w3\.org|vega)", "".join(map(json.dumps, outputs_of(notebook))))


@pytest.mark.parametrize("source", SOURCES, ids=name_of)
def test_one_line_switches_to_medgemma(source):
    assert source.read_text(encoding="utf-8").count(SWITCH) == 1
    assert (ROOT / "config/minicourse.yaml").exists()


def test_images_are_shown_with_words_for_those_who_do_not_see_them():
    shown = [
        output
        for source in SOURCES
        for output in outputs_of(notebook_of(source))
        if {"image/png", "image/svg+xml"} & set(output.get("data", {}))
    ]
    assert len(shown) >= 8
    for output in shown:
        assert len("".join(output["data"]["text/plain"])) > 30
        assert all(len(of_kind["alt"]) > 30 for of_kind in output["metadata"].values())


def test_the_drawing_is_what_its_script_draws():
    model = architecture.architecture_of(architecture.read_config())
    drawn = architecture.drawing(model, "MedGemma 1.5 4B", rank=16)
    assert (COURSE / "architecture.svg").read_text(encoding="utf-8") == drawn, "run: python docs/course/architecture.py"
    for words in ("64 × 64 = 4,096", "16 × 16 = 256 vectors", "896 × 896", "Decoder layer, 34 times", "of width 2,560"):
        assert words in drawn, words


def test_the_numbers_of_the_drawing_are_those_of_the_published_model():
    """4,300,079,472 parameters is what the published checkpoint of Gemma 3 4B, and so MedGemma's, holds."""
    assert sum(architecture.parameters_of(architecture.read_config()).values()) == 4_300_079_472


def test_the_adapter_that_is_drawn_is_the_one_that_peft_adds():
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    from workflow_scripts.models.families.gemma3 import FAMILY

    config = architecture.read_config()
    config["text_config"] |= {"num_hidden_layers": 2, "vocab_size": 64}
    config["vision_config"] |= {"num_hidden_layers": 1}
    with torch.device("meta"):
        model = Gemma3ForConditionalGeneration(Gemma3Config.from_dict(config))
        adapted = get_peft_model(model, LoraConfig(r=16, target_modules=FAMILY.lora_targets["language"]))
    added = sum(weight.numel() for name, weight in adapted.named_parameters() if "lora_" in name)
    assert added == architecture.architecture_of(config).adapter_parameters(16)


def test_no_answer_of_the_quiz_stands_in_its_files():
    text = (COURSE / "quiz.py").read_text(encoding="utf-8") + (COURSE / "sources/8_quiz.py").read_text(encoding="utf-8")
    for answer in ("4096", "4,096", "superseded", "14,901,248", "14901248"):
        assert answer not in text


DOCUMENTS = ("jupytext", "nbclient", "nbformat", "ipykernel", "IPython")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A checkout with the course, in which nothing has run; skipped where what executes notebooks is missing."""
    for name in DOCUMENTS:
        pytest.importorskip(name, reason="pip install -r envs/requirements-docs.txt -c envs/constraints.txt")
    return checkout(tmp_path_factory.mktemp("course") / "flarebench")


PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
from lessons import open_course
from quiz import QUESTIONS, mark
course = open_course("config/smoke.yaml")
right = {number: question.answer(course) for number, question in enumerate(QUESTIONS, 1)}
def other(v): return not v if isinstance(v, bool) else v + "?" if isinstance(v, str) else v * 1.1 + 1
wrong = {n: other(v) for n, v in right.items()}
typed = {n: f" {v} ".upper() if isinstance(v, str | bool) else v for n, v in right.items()}
print("MARKS", json.dumps([list(mark(course, answers)["mark"]) for answers in (right, wrong, typed, {})]))
"""


@pytest.mark.extended
@pytest.mark.workflow
def test_the_notebooks_run_from_their_sources_and_start_the_workflow_themselves(folder, tmp_path):
    environment = os.environ | {
        "FLAREBENCH_COURSE_FOLDER": str(folder),
        "FLAREBENCH_COURSE_CONFIGURATION": "config/smoke.yaml",
    }
    command = [sys.executable, "docs/course/build.py", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-6000:]
    assert (folder / "results/smoke/report/validation/table.csv").exists()
    assert sorted(path.stem for path in tmp_path.glob("*.ipynb")) == [source.stem for source in SOURCES]
    for source in SOURCES:
        written = json.loads((tmp_path / f"{source.stem}.ipynb").read_text(encoding="utf-8"))
        assert kinds_shown(written) == kinds_shown(notebook_of(source))


@pytest.mark.extended
@pytest.mark.workflow
def test_the_quiz_marks_itself(folder):
    environment = os.environ | {"FLAREBENCH_COURSE_FOLDER": str(folder)}
    command = [sys.executable, "-c", PROGRAM, str(COURSE)]
    done = subprocess.run(command, cwd=COURSE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    right, wrong, typed, nothing = json.loads(done.stdout.split("MARKS ")[1])
    assert set(right) == set(typed) == {"right"}
    assert all(mark.startswith("not yet: look at module ") for mark in wrong)
    assert set(nothing) == {"open"}
