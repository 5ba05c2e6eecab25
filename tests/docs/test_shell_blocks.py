"""Blocks of the documents, run as a reader runs them: in a checkout whose demo has ended, on less data."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.clinical_layouts import cpc, grey_matters, healer
from tests.docs.blocks import BLOCKS
from tests.workflow.runs import checkout, logged_out, snakemake

SMALLER = {
    "{source: synthetic, seed: 7}": "{source: synthetic, seed: 7, scale: 0.1}",
    "epochs: 2": "epochs: 0.2",
    "detection: 48, instance_detection: 128": "detection: 16, instance_detection: 16",
}
"""What makes of the default configuration one that ends in a minute."""

FOLDER = "results/data/toy/root"
"""What stands for the reader's own data."""


def chosen(*kinds):
    return [pytest.param(block, id=block.name) for block in BLOCKS if block.kind in kinds]


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A checkout with the results of the default configuration on less data, and an environment in `.venv`."""
    folder = checkout(tmp_path_factory.mktemp("reader") / "flarebench")
    default = folder / "config/config.yaml"
    text = default.read_text(encoding="utf-8")
    for usual, smaller in SMALLER.items():
        assert usual in text, usual
        text = text.replace(usual, smaller)
    default.write_text(text, encoding="utf-8")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "FLARE").symlink_to(FOLDER)  # as docs/data.md calls a dataset's folder
    cpc(folder / "clinical/nejm-cpc")
    healer(folder / "clinical/nejm-healer")
    grey_matters(folder / "clinical/grey-matters")
    (folder / "clinical/mimic-cdm").mkdir()
    for name in ("mimic-cdm/cases.jsonl", "mimic-cdm/examples.jsonl", "human-scores.jsonl"):
        (folder / "clinical" / name).touch()  # what is only planned is not read
    snakemake(folder, env=environment(folder))
    return folder


def environment(folder: Path) -> dict[str, str]:
    """What a reader has after `. .venv/bin/activate`: no token, an own cache, this environment's commands."""
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return logged_out() | {"PATH": commands, "HF_HOME": str(folder / "hf"), "XDG_CACHE_HOME": str(folder / "cache")}


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.extended
@pytest.mark.workflow
@pytest.mark.parametrize("block", chosen("run"))
def test_a_block_runs_as_it_stands(block, finished):
    command = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    done = run([*command, block.text], finished)
    assert done.returncode == 0, f"{block.name}\n{done.stdout[-4000:]}"
    if "does nothing" in block.text:
        assert "Nothing to be done" in done.stdout


@pytest.mark.extended
@pytest.mark.workflow
@pytest.mark.parametrize("block", chosen("run, and fails"))
def test_a_block_that_is_to_be_refused_is_refused(block, finished):
    *before, last = block.commands
    assert run(["bash", "-eu", "-c", "\n".join(before)], finished).returncode == 0
    done = run(["bash", "-eu", "-c", last], finished)
    assert done.returncode == 1 and "Traceback" not in done.stdout, done.stdout[-4000:]


@pytest.mark.extended
@pytest.mark.workflow
@pytest.mark.parametrize("block", chosen("planned"))
def test_the_snakemake_commands_of_a_block_can_be_planned(block, finished):
    plans = [re.sub(r"^(?:\w+=\S+ )*snakemake", "snakemake -n", command) for command in block.commands]
    plans = [plan.replace("FOLDER", FOLDER) for plan in plans if plan.startswith("snakemake -n")]
    assert plans, f"{block.name}: no command of Snakemake to plan"
    for plan in plans:
        done = run(["bash", "-eu", "-c", plan], finished)
        assert done.returncode == 0 and "job" in done.stdout, f"{block.name}\n{plan}\n{done.stdout[-4000:]}"
