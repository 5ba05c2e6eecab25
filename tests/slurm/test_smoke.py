"""The smoke run on a real SLURM, its jobs tagged for GPUs."""

import time

import pytest

from tests.slurm.runs import gpu_tagged, jobs_of, overlaps, results, run
from tests.workflow.runs import checkout

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.workflow]


@pytest.fixture(scope="module")
def done(cluster, tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("slurm"))
    started = time.monotonic()
    run(folder, *gpu_tagged(folder))
    return folder, time.monotonic() - started


def test_it_ends_within_four_minutes_or_where_the_machine_is_busy_within_twice_the_local_run(done, undisturbed):
    print(f"through SLURM {done[1]:.0f} s, without {undisturbed.seconds:.0f} s")
    assert done[1] < max(240, 2 * undisturbed.seconds)


def test_tables_equal_those_of_a_local_run_byte_for_byte(done, undisturbed):
    here, there = results(undisturbed.folder), results(done[0])
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []


def test_jobs_with_a_gpu_ran_in_the_gpu_partition_and_the_others_did_not(done):
    jobs = jobs_of(done[0])
    with_gpu = {"features_extract", "train_tune", "infer_answer"}
    for job in jobs:
        rule = job.what.removeprefix("rule_").partition("_wildcards")[0]
        assert job.partition == ("gpu" if rule in with_gpu else "cpu"), job
    assert {job.state for job in jobs} == {"COMPLETED"} and not overlaps(jobs)


def test_a_second_run_submits_nothing(done):
    before = len(jobs_of(done[0]))
    assert "Nothing to be done" in run(done[0], *gpu_tagged(done[0]))
    assert len(jobs_of(done[0])) == before
