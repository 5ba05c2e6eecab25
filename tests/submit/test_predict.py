"""A packed container, moved away from the workflow and cut off from the network, writes the workflow's predictions.

The checkout and its results are out of reach, the container's folder and the inputs are mounted read-only, and the
process is in a network namespace without routes.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.workflow.runs import ROOT, checkout, planned, snakemake

pytestmark = [pytest.mark.extended, pytest.mark.workflow]  # three minutes

CUT = ("unshare", "--user", "--map-root-user", "--net", "--mount")
"""A network namespace without routes, and one of mounts, in which folders become read-only."""

LIMIT = 900
"""Seconds that `predict.sh` may take for 45 rows: stated in the configuration, and checked by the script itself."""

SYSTEMS = ("tuned", "bounded", "by_task", "by_question")
PROMPT = 'It\'s "brief",\n$HOME `pwd` \\ é.'


def configuration() -> dict[str, object]:
    """Like config/smoke.yaml, with a split that is handed in: a tuned system, one bounded by grammars, two routers."""
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw["results"] = "results"
    raw["datasets"] = {"toy": {"source": "local", "path": "toy", "policies": {"no_answer": "keep"}}}
    raw["splits"]["hidden"] = {"dataset": "toy", "folder": "testing"}
    raw["systems"] = {
        "tuned": raw["systems"]["tuned"],
        "bounded": {"model": "tiny", "constrained": True, "prompt": {"system": PROMPT}},
    }
    experts = {"experts": {"counting": "tuned", "report": "tuned", "detection": "tuned"}, "default": "bounded"}
    raw["systems"] |= {
        "by_task": {"route": {"by": "rule", **experts}},
        "by_question": {"route": {"by": "classifier", "train": "train", **experts}},
    }
    raw["submit"] = ["hidden"]
    return raw | {"container": {"seconds": LIMIT}}


def write_testing(root: Path) -> None:
    """Add a testing split to a drawn dataset: its validation rows without their answers, and records with defects."""
    for split in ("validation-public", "validation_public"):
        shutil.copytree(root / split, root / "testing", dirs_exist_ok=True)
    for file in (root / "testing").rglob("*.json"):
        content = json.loads(file.read_text())
        for record in records_in(content):
            record["Answer"] = None
        file.write_text(json.dumps(content))
    extra = [
        {"TaskType": "Counting", "ImageName": "imagesVal/absent.png", "Question": "How many?"},
        {"TaskType": "Segmentation", "ImageName": "imagesVal/absent.png", "Question": "Which pixels?"},
    ]
    folder = next(folder for folder in sorted((root / "testing").glob("*/*")) if folder.is_dir())
    (folder / "extra.json").write_text(json.dumps(extra))


def records_in(content: object) -> list[dict]:
    return content if isinstance(content, list) else next(v for v in content.values() if isinstance(v, list))


def keys_in(root: Path) -> set[str]:
    """The challenge's key of every record of a folder's question files."""
    records = [record for file in root.rglob("*.json") for record in records_in(json.loads(file.read_text()))]
    return {f"{record['ImageName']}||{record['Question']}" for record in records}


def make_command(*variables: str) -> list[str]:
    """The command of Snakemake that `make container` runs."""
    done = subprocess.run(
        ["make", "--dry-run", "container", "CORES=2", *variables], cwd=ROOT, capture_output=True, text=True, check=True
    )
    command = done.stdout.strip().splitlines()[-1]
    words = subprocess.run(
        ["sh", "-c", f'printf "%s\\n" {command}'], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words[0] == ".venv/bin/snakemake"
    return words[1:]


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """A checkout in which the challenge's files were written and containers packed; then nobody can find it."""
    place = tmp_path_factory.mktemp("submission")
    folder = checkout(place / "checkout")
    (folder / "mine.yaml").write_text(yaml.safe_dump(configuration(), sort_keys=False))
    command = [sys.executable, "-m", "workflow_scripts.synthetic.dataset", "--spec"]
    command += ['{"source": "synthetic", "seed": 7, "scale": 0.1}', "--out", "toy", "--manifest", "toy.json"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    write_testing(folder / "toy")
    shutil.copytree(folder / "toy/testing", place / "inputs/testing")
    snakemake(folder, "challenge", "--configfile", "mine.yaml")
    snakemake(folder, *make_command(f"SYSTEM={', '.join(SYSTEMS)}", "CONFIG=mine.yaml", "OUT=packed"))
    again = planned(folder, *make_command(f"SYSTEM={', '.join(SYSTEMS)}", "CONFIG=mine.yaml", "OUT=packed"))
    answers = {name: (folder / f"results/predictions/hidden/{name}.json").read_bytes() for name in SYSTEMS}
    for name in SYSTEMS:
        shutil.copytree(folder / "packed" / name, place / "fresh" / name)
    folder.rename(place / "away")
    return SimpleNamespace(place=place, answers=answers, again=again)


def predict(workflow, name: str) -> SimpleNamespace:
    """Run the container of a system as the challenge does: `sh predict.sh` in its folder, with no network."""
    trial = subprocess.run([*CUT, "true"], capture_output=True, text=True)
    if trial.returncode:
        pytest.skip(f"this kernel gives no namespaces: {trial.stderr.strip()}")
    context, inputs = workflow.place / "fresh" / name, workflow.place / "inputs"
    outputs, scratch = (workflow.place / f"{folder}-{name}" for folder in ("outputs", "scratch"))
    for folder in (outputs, scratch):
        folder.mkdir()
    mounts = "".join(
        f"mount --bind '{folder}' '{folder}' && mount -o remount,bind,ro '{folder}' && " for folder in (context, inputs)
    )
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "HOME": "/nowhere", "LANG": "C.UTF-8"}
    environment |= {"INPUTS": str(inputs), "OUTPUTS": str(outputs), "TMPDIR": str(scratch)}
    done = subprocess.run(
        [*CUT, "sh", "-c", f"{mounts} cd '{context}' && exec sh predict.sh"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return SimpleNamespace(printed=done.stdout, outputs=outputs, scratch=scratch, context=context, inputs=inputs)


@pytest.fixture(scope="module", params=SYSTEMS)
def predicted(request, workflow):
    return request.param, predict(workflow, request.param)


def test_the_predictions_are_the_workflows_byte_for_byte(workflow, predicted):
    name, run = predicted
    assert (run.outputs / "predictions.json").read_bytes() == workflow.answers[name]
    assert len(json.loads(workflow.answers[name])) > 40


def test_the_systems_do_not_answer_alike_and_routers_mix_them(workflow):
    assert len({workflow.answers[name] for name in ("tuned", "bounded", "by_task")}) == 3


def test_it_keeps_to_the_stated_time_and_says_so(predicted):
    timing = json.loads((predicted[1].outputs / "timing.json").read_text())
    assert timing["limit_seconds"] == LIMIT and timing["within_limit"] and 0 < timing["seconds"] <= LIMIT
    assert timing["answered_per_second"] > 0
    assert re.search(rf"{timing['answered']} questions answered in {timing['seconds']} s", predicted[1].printed)


def test_every_record_of_the_inputs_is_answered_or_listed(predicted):
    _, run = predicted
    answered = json.loads((run.outputs / "predictions.json").read_text())
    listed = json.loads((run.outputs / "unanswered.json").read_text())
    keys = {f"{record['ImageName']}||{record['Question']}" for record in answered}
    files = {entry["file"]: json.loads((run.inputs / entry["file"]).read_text()) for entry in listed}
    records = [records_in(files[entry["file"]])[entry["row"]] for entry in listed]
    missing = {f"{record['ImageName']}||{record['Question']}" for record in records}
    assert keys | missing == keys_in(run.inputs) and not keys & missing
    reasons = {entry["reason"] for entry in listed if entry["file"].endswith("/extra.json")}
    assert reasons == {"missing_image", "unknown_task"}


def test_nothing_is_written_elsewhere(predicted):
    _, run = predicted
    assert {path.name for path in run.outputs.iterdir()} == {"predictions.json", "unanswered.json", "timing.json"}
    assert list(run.scratch.iterdir()) == []
    assert not list(run.context.rglob("__pycache__")) and not list(run.context.rglob("*.seen.json"))


def test_packing_again_has_nothing_to_do(workflow):
    assert workflow.again == {}
