"""The smoke run on a real SLURM, its jobs tagged for GPUs."""

import time

import pytest

from tests.slurm.runs import gpu_tagged, jobs_of, overlaps, results, run
from tests.workflow.runs import checkout

pytestmark = [pytest.mark.slurm, pytest.mark.extended, pytest.mark.workflow]


@pytest.fixture(scope="module")
def done(cluster, undisturbed, tmp_path_factory):
    """The folder of the run; how long it took stands in the test's output."""
    folder = checkout(tmp_path_factory.mktemp("slurm"))
    started = time.monotonic()
    run(folder, *gpu_tagged(folder))
    print(f"through SLURM {time.monotonic() - started:.0f} s, without {undisturbed.seconds:.0f} s")
    return folder


def test_tables_equal_those_of_a_local_run_byte_for_byte(done, undisturbed):
    here, there = results(undisturbed.folder), results(done)
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_jobs_with_a_gpu_ran_in_the_gpu_partition_and_the_others_did_not(done):
    jobs = jobs_of(done)
    with_gpu = {"features_extract", "train_tune", "infer_answer"}
    for job in jobs:
        rule = job.what.removeprefix("rule_").partition("_wildcards")[0]
        assert job.partition == ("gpu" if rule in with_gpu else "cpu"), job
    assert {job.state for job in jobs} == {"COMPLETED"} and not overlaps(jobs)


def test_a_second_run_submits_nothing(done):
    before = len(jobs_of(done))
    assert "Nothing to be done" in run(done, *gpu_tagged(done))
    assert len(jobs_of(done)) == before
