"""The toy model made anew is as good as the one that ships: every task's base score, side by side in one run."""

import subprocess
import sys

import pytest
import yaml

from tests.workflow.runs import checkout, snakemake
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.tables import read_rows

pytestmark = [pytest.mark.extended, pytest.mark.workflow]

MARGIN = 0.12
"""Largest difference of a score between 0 and 1; errors of numbers may differ by this share of the larger one twice."""


def test_every_task_scores_alike(tmp_path):
    folder = checkout(tmp_path / "checkout")
    subprocess.run(
        [sys.executable, "-m", "workflow_scripts.synthetic.pretraining", "--out", str(tmp_path / "remade")],
        cwd=folder,
        check=True,
    )
    raw = yaml.safe_load((folder / "config/config.yaml").read_text())
    raw["models"]["remade"] = {"source": "hub", "family": "gemma3", "checkpoint": str(tmp_path / "remade"), "gpus": 0}
    raw["systems"] = {"shipped": {"model": "tiny"}, "remade": {"model": "remade"}}
    (folder / "config/remade.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    snakemake(folder, "--configfile", "config/remade.yaml")
    rows = read_rows(folder / "results/scores/validation/metrics.parquet", MetricValue)
    primary = [row for row in rows if row.primary and row.subset == "macro"]
    values = {(row.task, row.system): row.value for row in primary}
    tasks = {task for task, _ in values}
    assert len(tasks) == 7
    for task in tasks:
        shipped, remade = values[task, "shipped"], values[task, "remade"]
        scale = max(1.0, 2 * max(shipped, remade))
        assert abs(shipped - remade) <= MARGIN * scale, f"{task}: {shipped:.3f} shipped, {remade:.3f} remade"
