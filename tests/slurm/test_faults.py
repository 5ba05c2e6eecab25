"""Each fault on a real SLURM: the run ends as docs/cluster.md says, nothing is half-written, a rerun completes."""

import shutil
import signal
import socket
import subprocess
import time

import pytest

from tests.slurm.runs import begin, jobs_of, run
from tests.workflow.runs import checkout
from workflow_scripts import ROOT

pytestmark = [pytest.mark.slurm, pytest.mark.extended, pytest.mark.workflow]
NODE = socket.gethostname().partition(".")[0]
FAULTS = ("--snakefile", "faults.smk")


def set_node(check=True, **changes):
    words = [f"{name}={value}" for name, value in changes.items()]
    subprocess.run(["scontrol", "update", f"NodeName={NODE}", *words], check=check)


def wait_for(holds, seconds=90):
    deadline = time.monotonic() + seconds
    while not (value := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return value


def of_rule(jobs, rule):
    return [job for job in jobs if job.what == f"rule_{rule}" or job.what.startswith(f"rule_{rule}_")]


@pytest.fixture(scope="module")
def ended(cluster, tmp_path_factory):
    """A run that met every fault: its folder, what it said, its exit code, its jobs, the states while drained."""
    folder = checkout(tmp_path_factory.mktemp("faults"))
    shutil.copy2(ROOT / "tests/slurm/faults.smk", folder)
    log = folder / "said.log"
    set_node(State="DRAIN", Reason="test")
    try:
        process = begin(folder, *FAULTS, log=log)
        wait_for(lambda: of_rule(jobs_of(folder), "steady"))
        time.sleep(5)
        while_drained = {job.state for job in jobs_of(folder)}
        assert process.poll() is None
    finally:
        set_node(State="RESUME")
    (job,) = wait_for(lambda: [job for job in of_rule(jobs_of(folder), "cancelled") if job.state == "RUNNING"])
    wait_for((folder / "out/cancelled.txt").exists)
    subprocess.run(["scancel", job.number], check=True)
    try:
        code = process.wait(300)
    finally:
        process.kill()
    return folder, log.read_text(), code, jobs_of(folder), while_drained


def test_the_run_goes_on_with_what_is_left_and_ends_with_an_error(ended):
    folder, said, code, jobs, _ = ended
    assert code == 1 and "Traceback" not in said
    assert (folder / "out/steady.txt").read_text() == "whole\n"
    assert len(of_rule(jobs, "steady")) == 1


def test_a_drained_node_is_waited_for(ended):
    assert ended[4] == {"PENDING"}


def test_a_job_that_exits_with_1_is_submitted_three_times_with_more_memory_each_and_leaves_no_half_output(ended):
    folder, said, _, jobs, _ = ended
    assert [(job.state, job.memory_mb) for job in of_rule(jobs, "exits")] == [
        ("FAILED", 600),
        ("FAILED", 1200),
        ("FAILED", 1800),
    ]
    assert not (folder / "out/exits.txt").exists()
    assert "Error in rule exits" in said


def test_a_job_that_segfaults_is_submitted_again(ended):
    folder, _, _, jobs, _ = ended
    assert [job.state for job in of_rule(jobs, "segfaults")] == ["FAILED", "COMPLETED"]
    assert (folder / "out/segfaults.txt").read_text() == "2\n"


def test_a_job_that_somebody_cancels_is_submitted_again(ended):
    folder, _, _, jobs, _ = ended
    assert [job.state for job in of_rule(jobs, "cancelled")] == ["CANCELLED", "COMPLETED"]
    assert (folder / "out/cancelled.txt").read_text() == "2\n"


def test_a_job_over_its_memory_gets_more(ended):
    folder, _, _, jobs, _ = ended
    first, second = of_rule(jobs, "outgrows")
    assert first.state in ("OUT_OF_MEMORY", "FAILED") and (first.memory_mb, second.memory_mb) == (800, 1600)
    assert (folder / "out/outgrows.txt").read_text() == "1600\n"


def test_a_job_over_its_time_gets_more(ended):
    folder, _, _, jobs, _ = ended
    first, second = of_rule(jobs, "overstays")
    assert first.state == "TIMEOUT" and (first.minutes, second.minutes) == (1, 2)
    assert (folder / "out/overstays.txt").read_text() == "2\n"


def test_a_refused_submission_is_shown_with_what_slurm_says_and_stops_nothing_else(ended):
    folder, said, _, jobs, _ = ended
    assert of_rule(jobs, "refused") == [] and not (folder / "out/refused.txt").exists()
    assert "SLURM sbatch failed" in said and "invalid partition specified: nowhere" in said


def test_a_job_sees_as_many_gpus_as_it_asked_for(ended):
    folder = ended[0]
    assert (folder / "out/gpu_1.txt").read_text() in ("0\n", "1\n")
    assert (folder / "out/gpu_2.txt").read_text() == "0,1\n"
    assert (folder / "out/no_gpu.txt").read_text() == "none\n"
    assert {job.partition for job in of_rule(ended[3], "with_gpus")} == {"gpu"}
    assert {job.partition for job in of_rule(ended[3], "without_gpu")} == {"cpu"}


def test_a_rerun_after_the_mend_completes_and_repeats_nothing(ended):
    folder, _, _, jobs, _ = ended
    (folder / "mended").touch()
    run(folder, *FAULTS, "--set-resources", "refused:slurm_partition=cpu")
    new = [job for job in jobs_of(folder) if job not in jobs]
    assert sorted(job.what for job in new) == ["rule_exits", "rule_refused"]
    assert (folder / "out/refused.txt").read_text() == "whole\n"


def test_a_job_whose_node_is_lost_goes_back_to_the_queue(cluster, tmp_path):
    folder = checkout(tmp_path)
    shutil.copy2(ROOT / "tests/slurm/faults.smk", folder)
    process = begin(folder, *FAULTS, "out/steady.txt", log=folder / "said.log")
    wait_for(lambda: [job for job in jobs_of(folder) if job.state == "RUNNING"])
    set_node(State="DOWN", Reason="test")
    # Refused where the node is back already: its daemon may speak to the controller first.
    set_node(State="RESUME", check=False)
    assert process.wait(120) == 0
    (job,) = jobs_of(folder)
    assert (job.state, job.restarts) == ("COMPLETED", 1)
    assert (folder / "out/steady.txt").read_text() == "whole\n"


def test_ctrl_c_cancels_the_jobs_and_leaves_no_half_output(cluster, tmp_path):
    folder = checkout(tmp_path)
    shutil.copy2(ROOT / "tests/slurm/faults.smk", folder)
    process = begin(folder, *FAULTS, "out/cancelled.txt", log=folder / "said.log")
    wait_for((folder / "out/cancelled.txt").exists)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 1
    assert wait_for(lambda: [job.state for job in jobs_of(folder)] == ["CANCELLED"])
    wait_for(lambda: not (folder / "out/cancelled.txt").exists(), 20)


def test_on_nodes_without_internet_jobs_know_that_there_is_no_hub_and_downloads_do_not(cluster, tmp_path, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    folder = checkout(tmp_path)
    shutil.copy2(ROOT / "tests/slurm/faults.smk", folder)
    run(folder, *FAULTS, "--workflow-profile", "profiles/slurm-offline", "out/computed.txt")
    assert (folder / "out/fetched.txt").read_text() == "online\n"
    assert (folder / "out/computed.txt").read_text() == "1\n"
