"""The recipes of docs/extending.md: its code blocks, taken from the page, do what it says."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import torch
import yaml
from llguidance import LLMatcher, grammar_from
from PIL import Image
from transformers import VipLlavaConfig, VipLlavaForConditionalGeneration

from tests.conftest import make_row
from tests.models.tiny.llava import PATCH, SIDE, build_processor
from tests.workflow import step_server
from workflow_scripts import ROOT
from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.config.workflow import load_configuration
from workflow_scripts.core.manifest import take_inventory, write_manifest
from workflow_scripts.core.rows import JudgedPair, MetricValue, Outcome, Prediction, QuarantinedRow, ReportScore, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.models.record import write_record

PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^`([^`\n]+)`:\n\n```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
JUDGES = re.findall(r"^```yaml\n(judges:.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SCORING = '{"resamples": 100}'


def block(path, language="python"):
    [text] = [text for name, written, text in BLOCKS if (name, written) == (path, language)]
    return text


def run(*command, path, code=0):
    """Run Python with `path` before all other packages; return what it printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
    done = subprocess.run(
        [step_server.python(), *map(str, command)], cwd=path[0], env=environment, capture_output=True, text=True
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def step(module, *flags, path, code=0):
    return run("-m", f"workflow_scripts.{module}", *flags, path=path, code=code)


def identities(path, *modules):
    """The code that each step's rule names, as the package in `path` computes it."""
    program = (
        "import sys; from workflow_scripts.cache.fingerprints import identity;"
        "print(*[identity(f'workflow_scripts.{module}') for module in sys.argv[1:]], sep='\\n')"
    )
    return dict(zip(modules, run("-c", program, *modules, path=path).splitlines(), strict=True))


@pytest.fixture
def site(tmp_path):
    """A folder of installed packages that holds the page's, with its entry point."""
    site = tmp_path / "site"
    for name, _, text in BLOCKS:
        if name.startswith("flarebench_yes_no/"):
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).write_text(text)
    project = tomllib.loads(block("pyproject.toml", "toml"))["project"]
    about = site / f"flarebench_yes_no-{project['version']}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    points = [f"[{group}]\n{name} = {value}\n" for group, names in project["entry-points"].items()
              for name, value in names.items()]  # fmt: skip
    (about / "entry_points.txt").write_text("".join(points))
    return site


QUESTIONS = {"training": ["yes", "no", "Yes", "Y", True, "perhaps"], "validation-public": ["no", "yes", "NO", "yes"]}
ANSWERS = ["No.", "The answer is yes.", "I see no reason for yes.", "There is an effusion."]


@pytest.fixture
def dataset(tmp_path):
    """A dataset whose questions ask for yes or no, with its manifest."""
    root = tmp_path / "data"
    for folder, answers in QUESTIONS.items():
        place = root / folder / "Xray/lab"
        (place / "imagesTr").mkdir(parents=True)
        records = []
        for number, answer in enumerate(answers):
            name = f"imagesTr/{folder}-{number}.png"
            Image.new("L", (32, 24), 40 * number + len(folder)).save(place / name)
            record = {"TaskType": "Yes/No", "Modality": "Xray", "ImageName": name, "Question": "Is there an effusion?"}
            records.append(record | {"Answer": answer})
        (place / "lab_questions.json").write_text(json.dumps(records))
    write_manifest(tmp_path / "manifest.json", take_inventory(root, {"source": "local"}))
    return root, tmp_path / "manifest.json"


TABLES = ("rows", "quarantine", "images", "conventions")


def convert(dataset, out, path):
    root, manifest = dataset
    tables = [word for name in TABLES for word in (f"--{name}", out / f"{name}.parquet")]
    step("data.convert", "--root", root, "--manifest", manifest, *tables, "--workdir", out / "work", "--jobs", 1,
         "--policies", "{}", path=path)  # fmt: skip
    return read_rows(out / "rows.parquet", Row), read_rows(out / "quarantine.parquet", QuarantinedRow)


def test_an_eighth_task_goes_from_a_question_file_to_the_table_of_metrics(site, dataset, tmp_path):
    path = (site, ROOT)
    rows, quarantine = convert(dataset, tmp_path, path)
    assert {row.task for row in rows} == {"yes_no"} and {row.expected.labels for row in rows} == {("yes", "no")}
    assert [row.answer for row in rows if row.folder == "training"] == ["yes", "no", "yes", "yes", "yes"]
    assert [(entry.source_row, entry.reason) for entry in quarantine] == [(5, "wrong_answer_type")]

    train, split = tmp_path / "train.parquet", tmp_path / "split.parquet"
    for file, folder in ((train, "training"), (split, "validation-public")):
        write_rows(file, [row for row in rows if row.folder == folder], Row)
    uids = [row.uid for row in read_rows(split, Row)]
    answers = [Prediction(uid, "ours", text, "stop") for uid, text in zip(uids, ANSWERS, strict=True)]
    write_rows(tmp_path / "ours.parquet", answers, Prediction)
    step("infer.baseline", "--baseline", "majority", "--train", train, "--split", split, "--system", "majority",
         "--out", tmp_path / "majority.parquet", path=path)  # fmt: skip
    outcomes = []
    for system in ("ours", "majority"):
        outcomes.append(tmp_path / f"{system}.outcomes.parquet")
        step("score.outcomes", "--split", split, "--predictions", tmp_path / f"{system}.parquet", "--system", system,
             "--out", outcomes[-1], path=path)  # fmt: skip
    assert [row.outcome for row in read_rows(outcomes[0], Outcome)] == ["valid", "malformed", "malformed", "malformed"]
    metrics = tmp_path / "metrics.parquet"
    step("score.metrics", "--outcomes", *outcomes, "--scoring", SCORING, "--out", metrics, path=path)
    values = {
        (row.system, row.reading): row.value
        for row in read_rows(metrics, MetricValue)
        if (row.task, row.subset, row.metric) == ("yes_no", "lab", "yes_no_accuracy")
    }
    assert values == {
        ("ours", "strict"): 0.25,
        ("ours", "lenient"): 0.75,
        ("majority", "strict"): 0.5,
        ("majority", "lenient"): 0.5,
    }


def test_the_page_s_grammar_is_one_and_the_configuration_knows_the_task(site):
    program = (
        "from workflow_scripts.core.tasks import load_part;"
        "from workflow_scripts.core.config.workflow import Inference;"
        "assert Inference().max_new_tokens['yes_no'] == 4; Inference(max_new_tokens={'yes_no': 2});"
        "print(load_part('yes_no', 'grammar').grammar(None, (), 4), end='')"
    )
    grammar = run("-c", program, path=(site, ROOT))
    assert grammar == 'start: "yes" | "no"\n'
    assert not LLMatcher.validate_grammar(grammar_from("lark", grammar))


STEPS = ("data.convert", "infer.answer", "infer.baseline", "score.outcomes", "score.metrics", "score.comparisons")


def test_an_edited_part_of_an_added_task_reruns_the_steps_that_load_it(site):
    before = identities((site, ROOT), *STEPS)
    metrics = site / "flarebench_yes_no/metrics.py"
    metrics.write_text(metrics.read_text() + "\n# a line\n")
    after = identities((site, ROOT), *STEPS)
    assert {name for name in STEPS if before[name] != after[name]} == {"score.metrics", "score.comparisons"}


def test_a_task_without_grammar_and_baselines_is_planned_and_baselines_say_that_they_cannot(site, dataset, tmp_path):
    for part in ("grammar", "baselines"):
        (site / f"flarebench_yes_no/{part}.py").unlink()
    path = (site, ROOT)
    assert set(identities(path, *STEPS)) == set(STEPS)
    convert(dataset, tmp_path, path)
    rows = tmp_path / "rows.parquet"
    output = step("infer.baseline", "--baseline", "majority", "--train", rows, "--split", rows, "--system", "majority",
                  "--out", tmp_path / "majority.parquet", path=path, code=1)  # fmt: skip
    assert "error: task 'yes_no' has no baselines" in output and "Traceback" not in output


@pytest.fixture
def checkout(tmp_path):
    """A copy of the package, to be edited."""
    folder = tmp_path / "checkout"
    shutil.copytree(
        ROOT / "workflow_scripts", folder / "workflow_scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    return folder


def applied(text, change):
    """`text` after a block of a page whose lines begin with a space, `-` or `+`; its old lines occur once."""
    lines = change.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(old) == 1, f"not once in the file:\n{old}"
    return text.replace(old, new)


def test_a_metric_of_the_page_reaches_the_table_and_reruns_scoring_alone(checkout, root, tmp_path):
    before = identities((checkout,), *STEPS)
    name = "workflow_scripts/tasks/counting/metrics.py"
    (checkout / name).write_text(block(name))
    after = identities((checkout,), *STEPS)
    assert {name for name in STEPS if before[name] != after[name]} == {"score.metrics", "score.comparisons"}

    rows = [make_row(root, number) for number in range(4)]
    write_rows(tmp_path / "split.parquet", rows, Row)
    texts = ["0", "1", "3", "about 3"]
    answers = [Prediction(row.uid, "ours", text, "stop") for row, text in zip(rows, texts, strict=True)]
    write_rows(tmp_path / "ours.parquet", answers, Prediction)
    step("score.outcomes", "--split", tmp_path / "split.parquet", "--predictions", tmp_path / "ours.parquet",
         "--system", "ours", "--out", tmp_path / "outcomes.parquet", path=(checkout,))  # fmt: skip
    step("score.metrics", "--outcomes", tmp_path / "outcomes.parquet", "--scoring", SCORING,
         "--out", tmp_path / "metrics.parquet", path=(checkout,))  # fmt: skip
    values = read_rows(tmp_path / "metrics.parquet", MetricValue)
    assert {row.value for row in values if row.metric == "exact_counts"} == {0.5}
    assert "mae" in {row.metric for row in values}


def test_the_judges_of_the_page_are_configurations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "replies.jsonl").touch()
    assert len(JUDGES) == 2
    for text in JUDGES:
        load_configuration(DEFAULT | yaml.safe_load(text), "extending.md")


REPLY = {
    "reference_findings": [{"id": "R1", "finding": "effusion", "clinical_significance": "urgent"}],
    "predicted_findings": [{"id": "P1", "finding": "effusion", "clinical_significance": "urgent"}],
    "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}],
    "errors": {"false_findings": [], "missing_findings": [], "attribute_errors": []},
}


@pytest.fixture
def reports(root, tmp_path):
    """A split of one report, and a system's answer to it."""
    row = make_row(root, 1, task="report", task_raw="Report Generation", question="Write a report.",
                   answer="There is an effusion.", answer_raw='"There is an effusion."', number=None)  # fmt: skip
    write_rows(tmp_path / "split.parquet", [row], Row)
    write_rows(tmp_path / "ours.parquet", [Prediction(row.uid, "ours", "An effusion.", "stop")], Prediction)
    return ["--split", tmp_path / "split.parquet", "--predictions", tmp_path / "ours.parquet"]


def judged(reports, spec, tmp_path, path):
    """Judgements and scores of the split by a judge called `mine`."""
    judgements = tmp_path / "mine.parquet"
    step("score.judge", *reports, "--name", "mine", "--spec", json.dumps(spec), "--store", tmp_path / "store",
         "--out", judgements, path=path)  # fmt: skip
    step("score.reports", *reports, "--judgements", judgements, "--out", tmp_path / "scores.parquet",
         "--findings", tmp_path / "findings.parquet", path=path)  # fmt: skip
    scores = read_rows(tmp_path / "scores.parquet", ReportScore)
    return read_rows(judgements, JudgedPair), {
        (score.metric, score.stratum): score.value for score in scores if score.judge == "mine"
    }


def test_recorded_replies_score_as_the_page_says(reports, tmp_path):
    [spec] = yaml.safe_load(JUDGES[1])["judges"].values()
    (tmp_path / "replies.jsonl").write_text(
        "".join(
            json.dumps({"reference": "There is an effusion.", "hypothesis": text, "reply": json.dumps(REPLY)}) + "\n"
            for text in ("An effusion.", "There is an effusion.")
        )
    )
    pairs, scores = judged(reports, spec | {"path": str(tmp_path / "replies.jsonl")}, tmp_path, (ROOT,))
    assert {pair.status for pair in pairs} == {"valid"}
    assert scores["crimson", None] == scores["crimson", "abnormal"] == 1.0


def test_a_backend_of_the_page_judges_a_pair_once(checkout, reports, tmp_path):
    name = "workflow_scripts/judges/backends/program.py"
    (checkout / name).write_text(block(name))
    for name in ("workflow_scripts/core/config/judges.py", "workflow_scripts/score/judge.py"):
        (checkout / name).write_text(applied((checkout / name).read_text(), block(name, "diff")))
    (tmp_path / "program.py").write_text(
        "import json, pathlib, sys\n"
        "pair = json.load(sys.stdin)\n"
        "assert pair['reference'] == 'There is an effusion.'\n"
        "with pathlib.Path(sys.argv[1]).open('a') as calls:\n"
        "    calls.write(pair['hypothesis'] + '\\n')\n"
        f"print({json.dumps(REPLY)!r})\n"
    )
    calls = tmp_path / "calls.txt"
    spec = {"backend": "program", "metric": "crimson", "version": "1", "freeze_references": False}
    spec |= {"command": f"{sys.executable} {tmp_path / 'program.py'} {calls}"}
    for _ in range(2):
        pairs, scores = judged(reports, spec, tmp_path, (checkout,))
        assert [(pair.backend, pair.status) for pair in pairs] == [("program", "valid")]
        assert scores["crimson", None] == 1.0
    assert calls.read_text() == "An effusion.\n"


PLACES = ("workflow_scripts/models/", "workflow_scripts/core/config/models.py")


def test_a_family_of_the_page_trains_and_answers(checkout, root, tmp_path):
    for language in ("python", "diff"):
        [(name, text)] = [
            (name, text)
            for name, written, text in BLOCKS
            if written == language
            and name.startswith(("workflow_scripts/models", "workflow_scripts/core/config/models"))
        ]
        file = checkout / name
        file.write_text(text if language == "python" else applied(file.read_text(), text))
    build_vipllava(tmp_path / "model")
    write_record(tmp_path / "model.json", "model", "vipllava", tmp_path / "model", None)
    split, index = tmp_path / "split.parquet", tmp_path / "features/index.parquet"
    write_rows(split, [make_row(root, number) for number in range(6)], Row)
    given = ["--split", split, "--root", root, "--model", tmp_path / "model.json", "--threads", 1]
    step("features.extract", *given, "--index", index, "--store", tmp_path / "store", "--batch", 4, path=(checkout,))
    recipe = Recipe(lora=Lora(r=4, alpha=8), learning_rate=1e-2, epochs=None, steps=8, batch=4).model_dump_json()
    step("train.tune", *given, "--features", index, "--recipe", recipe, "--prompt", "{}", "--adapter",
         tmp_path / "adapter", "--history", tmp_path / "history.parquet", "--checkpoints", tmp_path / "checkpoints",
         path=(checkout,))  # fmt: skip
    losses = [row.loss for row in read_rows(tmp_path / "history.parquet", TrainingStep)]
    assert losses[-1] < losses[0]
    texts = []
    for features in (["--features", index], []):
        members = json.dumps({"system": "it", "adapter": str(tmp_path / "adapter")})
        step("infer.answer", *given, *features, "--members", members, "--max-new-tokens", "counting", 6, "--batch", 4,
             "--store", tmp_path / f"answers-{len(features)}", "--out", tmp_path / "answers.parquet",
             path=(checkout,))  # fmt: skip
        texts.append([row.text for row in read_rows(tmp_path / "answers.parquet", Prediction)])
    assert texts[0] == texts[1] and len(texts[0]) == 6


def build_vipllava(folder):
    """A tiny random ViP-LLaVA."""
    processor = build_processor()
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4}
    torch.manual_seed(0)
    config = VipLlavaConfig(
        vision_config={**shape, "model_type": "clip_vision_model", "image_size": SIDE, "patch_size": PATCH,
                       "num_hidden_layers": 3},
        text_config={**shape, "model_type": "llama", "num_hidden_layers": 2, "num_key_value_heads": 2,
                     "vocab_size": len(processor.tokenizer), "eos_token_id": processor.tokenizer.eos_token_id},
        image_token_index=processor.image_token_id,
        vision_feature_layer=[-2, -3],
    )  # fmt: skip
    VipLlavaForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
