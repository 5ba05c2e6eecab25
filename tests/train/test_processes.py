"""Training as real processes: killed at random moments, and shared by two."""

import json
import math
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from workflow_scripts import ROOT
from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.training_rows import TrainingStep

pytestmark = pytest.mark.extended
RECIPE = Recipe(lora=Lora(r=4, alpha=4, dropout=0.0), learning_rate=5e-3, epochs=None, steps=150, batch=4, save_every=3)


def command(folder, split, root, tiny, features, recipe=RECIPE, launcher=("-m",), module="workflow_scripts.train.tune"):
    return [
        *(sys.executable, *launcher, module),
        *("--recipe", recipe.spec(), "--prompt", Prompt().spec(), "--split", str(split), "--root", str(root)),
        *("--model", str(tiny), "--features", str(features), "--adapter", str(folder / "adapter")),
        *("--history", str(folder / "history.parquet"), "--checkpoints", str(folder / "checkpoints"), "--threads", "1"),
    ]


def finish(run, **options):
    done = subprocess.run(run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def losses(folder):
    return np.array([step.loss for step in read_rows(folder / "history.parquet", TrainingStep)])


def steps_done(log):
    """Steps of the training that a log shows; None before the first."""
    shown = re.findall(rf"(\d+)/{RECIPE.steps} \[", log.read_text())
    return int(shown[-1]) if shown else None


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, split, root, tiny, features):
    folder = tmp_path_factory.mktemp("whole")
    started = time.monotonic()
    finish(command(folder, split, root, tiny, features))
    return folder, time.monotonic() - started


@pytest.mark.extended
def test_killed_at_ten_random_moments_it_ends_with_the_same_adapter(undisturbed, tmp_path, split, root, tiny, features):
    whole, seconds = undisturbed
    moments = random.Random(7)
    run = command(tmp_path, split, root, tiny, features)
    kills = 0
    while kills < 10:
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(run, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
            # Half of the kills meet the loading, half the steps. No run gets far enough for ten to end the training,
            # however much faster the machine has become since the undisturbed one.
            until = time.monotonic() + moments.uniform(0.1, 0.5) * seconds if kills % 2 else math.inf
            first, more = None, 15 if kills % 2 else moments.randint(1, 9)
            while process.poll() is None and time.monotonic() < until:
                if (step := steps_done(tmp_path / "log")) is not None:
                    first = step if first is None else first
                    if step >= first + more:
                        break
                time.sleep(0.02)
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        assert not (tmp_path / "adapter").exists()
    assert list(tmp_path.glob("checkpoints/*/checkpoint-*"))
    finish(run)
    expected = load_file(whole / "adapter" / "adapter_model.safetensors")
    again = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert expected.keys() == again.keys()
    for name, weight in expected.items():
        assert (again[name] - weight).abs().max() <= 1e-6, name


def in_two_processes() -> tuple[str, ...]:
    """How two processes are started: on two GPUs as the rule does; `accelerate` starts one process on a CPU."""
    if torch.cuda.device_count() > 1:
        launcher = ("-m", "accelerate.commands.launch", "--num_processes", "2", "--num_machines", "1")
        return (*launcher, "--mixed_precision", "no", "--dynamo_backend", "no", "--module")
    return ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--module")


@pytest.mark.parametrize(
    "module", [pytest.param("workflow_scripts.train.tune", marks=pytest.mark.extended), "tests.train.tune_in_parts"]
)
def test_two_processes_train_to_the_same_smoothed_loss(undisturbed, tmp_path, split, root, tiny, features, module):
    """Also where the rows of one process exceed its token budget and those of the other do not."""
    run = command(tmp_path, split, root, tiny, features, launcher=in_two_processes(), module=module)
    output = finish(run, timeout=500)
    if module.endswith("in_parts"):
        steps = re.findall(r"process (\d) of 2: (\d) parts", output)
        assert {process for process, _ in steps} == {"0", "1"} and {parts for _, parts in steps} == {"1", "2"}
    smooth = np.ones(10) / 10
    one, two = (np.convolve(losses(folder), smooth, "valid") for folder in (undisturbed[0], tmp_path))
    assert np.abs(two / one - 1).max() < 0.01, json.dumps([one.tolist(), two.tolist()])
