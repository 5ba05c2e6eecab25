"""kill -9 of the main process at random moments of the smoke run, and `resume` as documented."""

import os
import random
import subprocess
import sys
import time

import pytest

from tests.slurm.runs import FAKE_GPUS, begin, gpu_tagged, jobs_of, overlaps, results
from tests.workflow.runs import checkout

pytestmark = [pytest.mark.slurm, pytest.mark.extended, pytest.mark.workflow]
KILLS = int(os.environ.get("FLAREBENCH_KILLS", "3"))
RESUME = (sys.executable, "-m", "workflow_scripts.cli.resume")


def resume(folder, log):
    return subprocess.Popen(
        RESUME, cwd=folder, env=os.environ | FAKE_GPUS, stdout=log.open("a"), stderr=subprocess.STDOUT
    )


def finished_steps(log):
    return log.read_text().count("Finished jobid")


@pytest.mark.parametrize("seed", range((KILLS + 2) // 3))
def test_three_kills_end_in_the_tables_of_an_undisturbed_run(cluster, undisturbed, tmp_path, seed):
    folder, log = checkout(tmp_path), tmp_path / "said.log"
    moments = random.Random(os.environ.get("FLAREBENCH_SEED", f"{time.time()}"))
    kills = min(3, KILLS - 3 * seed)
    # Moments are drawn over the steps, for the clock of a busy machine says little; then some seconds into a step.
    steps = sorted(moments.sample(range(30), kills))
    print(f"kills after steps {steps}")
    process = begin(folder, *gpu_tagged(folder), log=log)
    for step in steps:
        while finished_steps(log) < step and process.poll() is None:
            time.sleep(0.1)
        time.sleep(moments.uniform(0.5, 12))
        process.kill()
        process.wait()
        process = resume(folder, log)
    assert process.wait(900) == 0, log.read_text()[-6000:]
    here, there = results(undisturbed.folder), results(folder)
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []
    jobs = jobs_of(folder)
    print(f"{len(jobs)} jobs, {sum(job.state == 'CANCELLED' for job in jobs)} of them cancelled")
    assert not overlaps(jobs)


def test_resume_leaves_a_living_run_and_other_jobs_of_the_folder_alone(cluster, tmp_path):
    folder, log = checkout(tmp_path), tmp_path / "said.log"
    mine = subprocess.run(
        ["sbatch", "--parsable", "--wrap", "sleep 300"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()
    process = begin(folder, *gpu_tagged(folder), log=log)
    while "has been submitted" not in (log.read_text() if log.exists() else ""):
        time.sleep(0.1)
    refused = subprocess.run(RESUME, cwd=folder, capture_output=True, text=True)
    assert refused.returncode == 1 and f"is alive (process {process.pid})" in refused.stderr
    process.kill()
    process.wait()
    subprocess.run(
        [sys.executable, "-c", f"import {RESUME[2]} as r; r.clear_dead_run(elsewhere=False)"], cwd=folder, check=True
    )
    states = {job.number: job.state for job in jobs_of(folder)}
    assert states.pop(mine) in ("PENDING", "RUNNING")
    assert set(states.values()) <= {"CANCELLED", "COMPLETED"}
    subprocess.run(["scancel", mine], check=True)
