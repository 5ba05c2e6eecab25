"""Going on after a killed main process: what is refused, and what is ended. The cluster's part is in tests/slurm."""

import getpass
import os
import pwd
import subprocess
import sys

import pytest

from workflow_scripts import ROOT
from workflow_scripts.cli import resume as module
from workflow_scripts.cli.resume import RECORD, check_cache_folder, clear_dead_run, record_run
from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import read_json, write_json


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_without_a_run_is_refused(folder):
    with pytest.raises(Refused, match="no run was started in"):
        clear_dead_run(elsewhere=False)


def test_a_living_run_is_left_alone(folder):
    record_run()
    with pytest.raises(Refused, match=f"is alive \\(process {os.getpid()}\\)"):
        clear_dead_run(elsewhere=False)


def test_a_run_of_another_host_is_refused_by_name(folder):
    record_run()
    write_json(RECORD, read_json(RECORD) | {"host": "login2"})
    with pytest.raises(Refused, match="was started on login2: resume it there"):
        clear_dead_run(elsewhere=False)


def test_steps_of_this_folder_are_ended_and_no_others(folder, tmp_path_factory):
    step = [sys.executable, "-c", "import time; time.sleep(60)", "-m", "workflow_scripts.data.download"]
    here = subprocess.Popen(step, cwd=folder)
    there = subprocess.Popen(step, cwd=tmp_path_factory.mktemp("elsewhere"))
    program = f"import pathlib, workflow_scripts.cli.resume as r; r.end_steps(pathlib.Path({str(folder)!r}))"
    with here, there, subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as end:
        assert here.wait(20) < 0 and end.wait(20) == 0
        assert there.poll() is None
        there.kill()


def test_resuming_does_not_end_itself(folder):
    program = (
        "import pathlib, sys, time, workflow_scripts.cli.resume as r;"
        "sys.exit(bool(r._steps_in(pathlib.Path(sys.argv[-1]))))"
    )
    command = [sys.executable, "-c", program, "-m", "workflow_scripts.cli.resume", str(folder)]
    assert subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode == 0


def test_a_folder_that_snakemake_cannot_cache_in_is_named_with_the_variable_to_set(folder, monkeypatch):
    (folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    check_cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "file"))
    with pytest.raises(Refused, match=r"file cannot be written .*: set XDG_CACHE_HOME to a folder that can"):
        check_cache_folder()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(folder / "file"))
    with pytest.raises(Refused, match=r"file/\.cache cannot be written .*: set XDG_CACHE_HOME"):
        check_cache_folder()


def test_a_user_without_a_name_resumes_too(folder, monkeypatch):
    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    squeue = folder / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f'#!/bin/sh\necho "$@" >> {folder}/arguments\n')
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{squeue.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    module.name_user()
    assert getpass.getuser() == str(os.getuid())
    module.cancel_jobs(folder)
    assert f"--user={os.getuid()} " in (folder / "arguments").read_text()
    with pytest.raises(Refused, match="has neither HOME nor an entry in the password file"):
        check_cache_folder()
    monkeypatch.setenv("HOME", str(folder))
    check_cache_folder()
