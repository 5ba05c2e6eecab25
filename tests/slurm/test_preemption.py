"""A GPU job is preempted on a real SLURM, and its real step goes on where it was."""

import os
import re
import shutil
import subprocess
import time

import pytest
import yaml

from tests.slurm.runs import FAKE_GPUS, begin, gpu_tagged, jobs_of, results
from tests.workflow.runs import snakemake

pytestmark = [pytest.mark.slurm, pytest.mark.extended, pytest.mark.workflow]
TUNED = "results/smoke/systems/tuned/history.parquet"
IN_A_COPY = ("--rerun-triggers", "mtime")
"""The code's place is another one, which is no reason to run everything again."""
ANSWERS = "results/smoke/predictions/validation/base/1-of-1.parquet"


@pytest.fixture
def folder(undisturbed, tmp_path):
    """A finished local run, to take outputs away from."""
    return shutil.copytree(undisturbed.folder, tmp_path / "run", symlinks=True)


def preempt(folder, process, begun, seconds=240):
    """Once `begun` is true, let a job of the urgent partition take the whole node for a moment."""
    deadline = time.monotonic() + seconds
    while not begun():
        assert time.monotonic() < deadline and process.poll() is None, (folder / "said.log").read_text()[-3000:]
        time.sleep(0.02)
    urgent = ["sbatch", "--parsable", "--partition=urgent", "--exclusive", "--chdir=/", "--output=/dev/null"]
    subprocess.run([*urgent, "--wrap", "sleep 1"], check=True, stdout=subprocess.DEVNULL)
    assert process.wait(seconds) == 0, (folder / "said.log").read_text()[-3000:]
    assert [(job.state, job.restarts) for job in jobs_of(folder)] == [("COMPLETED", 1)]


def test_training_goes_on_from_its_checkpoint_to_the_same_adapter(cluster, folder):
    arguments = longer_training(folder)
    whole = shutil.copytree(folder, folder.with_name("whole"), symlinks=True)
    snakemake(whole, TUNED, *arguments, env=os.environ | FAKE_GPUS)
    process = begin(folder, TUNED, *arguments, log=folder / "said.log")
    checkpoints = folder / "results/smoke/systems/tuned/checkpoints"
    preempt(folder, process, lambda: list(checkpoints.glob("*/checkpoint-*/trainer_state.json")))
    log = (folder / "results/smoke/logs/train_tune/tuned.log").read_text()
    steps = [int(step) for step in re.findall(r"(\d+)/20 \[", log)]
    assert min(step for step in steps if step) > 1
    mine, theirs = results(folder), results(whole)
    assert [name for name in theirs if name.startswith("systems/") and mine[name] != theirs[name]] == []


def longer_training(folder):
    shutil.rmtree(folder / "results/smoke/systems")
    arguments = (*gpu_tagged(folder), *IN_A_COPY)
    raw = yaml.safe_load((folder / arguments[1]).read_text())
    raw["recipes"]["qlora"] |= {"steps": 20, "save_every": 2}
    (folder / arguments[1]).write_text(yaml.safe_dump(raw, sort_keys=False))
    return arguments


def test_answers_go_on_behind_the_last_batch(cluster, undisturbed, folder):
    store = folder / "results/smoke/store/answers"
    for folder_of_answers in ((folder / ANSWERS).parent, store):
        shutil.rmtree(folder_of_answers)
    arguments = (ANSWERS, *gpu_tagged(folder), *IN_A_COPY, "--set-resources", "infer_answer:batch=2")
    process = begin(folder, *arguments, log=folder / "said.log")
    lines = []

    def half_answered():
        for file in store.glob("*/*.jsonl"):
            lines.append(file.read_bytes().count(b"\n"))
        return lines and lines[-1]

    preempt(folder, process, half_answered)
    log = (folder / "results/smoke/logs/infer_answer/validation.base.1-of-1.log").read_text()
    assert int(re.search(r"answers of base: (\d+) cached", log)[1]) >= lines[-1]
    assert (folder / ANSWERS).read_bytes() == (undisturbed.folder / ANSWERS).read_bytes()
