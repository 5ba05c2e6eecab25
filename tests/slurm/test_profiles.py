"""What the cluster profiles say, without a cluster."""

import pytest
import yaml

from tests.workflow.runs import checkout, snakemake
from workflow_scripts import ROOT


def profile(name):
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def test_the_offline_profile_differs_by_telling_its_jobs_that_there_is_no_hub():
    assert profile("slurm-offline") == {"precommand": "export HF_HUB_OFFLINE=1"} | profile("slurm")


@pytest.mark.workflow
def test_a_cluster_run_is_planned_with_capped_memory(tmp_path):
    folder = checkout(tmp_path)
    given = ("--configfile", "config/medgemma-flare.yaml", "--resources", "mem_mb=40000")
    output = snakemake(folder, "-n", "--workflow-profile", "profiles/slurm", *given)
    assert "Tuning tuned on stored features [2 CPU, 1 GPU, 40000 MB, 720 min]" in output
