"""Going on after a killed main process: what is refused, and what is ended. The cluster's part is in tests/slurm."""

import os
import subprocess
import sys

import pytest

from workflow_scripts.cache.fingerprints import ROOT
from workflow_scripts.cli.resume import RECORD, record_run, resume
from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import read_json, write_json


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_without_a_run_is_refused(folder):
    with pytest.raises(Refused, match="no run was started in"):
        resume(elsewhere=False)


def test_a_living_run_is_left_alone(folder):
    record_run()
    with pytest.raises(Refused, match=f"is alive \\(process {os.getpid()}\\)"):
        resume(elsewhere=False)


def test_a_run_of_another_host_is_refused_by_name(folder):
    record_run()
    write_json(RECORD, read_json(RECORD) | {"host": "login2"})
    with pytest.raises(Refused, match="was started on login2: resume it there"):
        resume(elsewhere=False)


def test_steps_of_this_folder_are_ended_and_no_others(folder, tmp_path_factory):
    step = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "workflow_scripts.data.download"]
    here = subprocess.Popen(step, cwd=folder)
    there = subprocess.Popen(step, cwd=tmp_path_factory.mktemp("elsewhere"))
    program = f"import pathlib, workflow_scripts.cli.resume as r; r.end_steps(pathlib.Path({str(folder)!r}))"
    with here, there, subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as end:
        assert here.wait(20) < 0 and end.wait(20) == 0
        assert there.poll() is None
        there.kill()
