"""Jobs of one machine get distinct GPUs, and a killed job gives its own back."""

import os
import signal
import subprocess
import sys

import pytest

SAY = "import os, sys, time; print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True); time.sleep(float(sys.argv[1]))"


@pytest.fixture
def start(tmp_path):
    """Start a job that prints its devices and holds them; all are ended with the test."""
    running = []

    def begin(count, *, seconds=60, devices="a,b,c", **variables):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SLURM")}
        environment |= {"CUDA_VISIBLE_DEVICES": devices, "TMPDIR": str(tmp_path)} | variables
        command = [sys.executable, "-m", "workflow_scripts.cli.devices", str(count), "--"]
        command += [sys.executable, "-c", SAY, str(seconds)]
        job = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        running.append(job)
        return job

    yield begin
    for job in running:
        job.kill()
        job.wait()
        job.stdout.close()


def devices_of(job):
    """The devices that a started job says it has."""
    lines = iter(job.stdout.readline, "")
    return next(line.strip().split(",") for line in lines if not line.startswith(("GPUs of", "waiting")))


def test_parallel_jobs_get_distinct_devices_of_those_in_sight(start):
    jobs = [start(1) for _ in range(3)]
    assert sorted(device for job in jobs for device in devices_of(job)) == ["a", "b", "c"]


def test_a_job_of_several_gpus_gets_as_many(start):
    first, second = start(2), start(1)
    assert sorted(devices_of(first) + devices_of(second)) == ["a", "b", "c"]


def test_a_device_is_free_again_after_kill_9(start):
    first = start(3)
    devices_of(first)
    second = start(3)
    assert second.stdout.readline() == "waiting for 3 of 3 GPUs: other jobs hold them\n"
    os.kill(first.pid, signal.SIGKILL)
    assert devices_of(second) == ["a", "b", "c"]


def test_a_device_is_free_again_at_the_end(start):
    first = start(1, devices="a", seconds=0)
    assert devices_of(first) == ["a"]
    assert devices_of(start(1, devices="a")) == ["a"]


def test_under_slurm_the_assigned_devices_stand(start):
    first, second = start(1, SLURM_JOB_ID="7", devices="0"), start(1, SLURM_JOB_ID="8", devices="0")
    assert devices_of(first) == devices_of(second) == ["0"]


def test_a_job_that_is_told_to_use_the_cpu_takes_no_device(start):
    assert devices_of(start(1, FLAREBENCH_DEVICE="cpu", devices="")) == [""]


def test_too_few_devices_are_refused_in_one_sentence(start):
    job = start(4)
    assert job.stdout.read().startswith("error: the job asks for 4 GPUs and 3 are in sight: set the model's")
    assert job.wait() == 1


def test_a_job_without_gpus_asks_for_none(start):
    assert devices_of(start(0, devices="a")) == ["a"]


def test_a_command_gets_its_arguments_as_they_are(start):
    arguments = ["2", "--", sys.executable, "-c", "import sys; print(sys.argv[1:])", "--a_b", "c", "--", "--help"]
    command = [sys.executable, "-m", "workflow_scripts.cli.devices", *arguments]
    environment = {**os.environ, "FLAREBENCH_DEVICE": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "['--a_b', 'c', '--', '--help']\n", done.stderr
