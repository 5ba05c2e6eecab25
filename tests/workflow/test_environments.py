"""Every way to install brings what model judges need, by a command that leaves torch alone."""

import re
import subprocess

import yaml

from workflow_scripts import ROOT

JUDGES = "pip install --no-deps -r envs/requirements-judges.txt"


def test_every_guide_installs_the_judges_packages_by_a_command_of_their_own():
    for name in ("README.md", "docs/cluster.md", "envs/requirements-gpu.txt", "CONTRIBUTING.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").replace("#", " ").split())
        assert JUDGES in text, name


def test_the_script_of_the_conda_environment_installs_files_that_are_there(tmp_path):
    """Snakemake copies it, and runs the copy in the new environment with the checkout first on PYTHONPATH."""
    python = tmp_path / "bin/python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n')
    python.chmod(0o755)
    script = ROOT / "envs/flarebench.post-deploy.sh"
    environment = {"PATH": f"{python.parent}:/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:/elsewhere"}
    subprocess.run(["bash", script], cwd=tmp_path, env=environment, check=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [
        f"-m pip install -r {ROOT}/envs/requirements.txt -c {ROOT}/envs/constraints.txt",
        f"-m pip install --no-deps -r {ROOT}/envs/requirements-judges.txt",
    ]
    files = [word for call in calls for word in re.findall(r"\S+\.txt", call)]
    assert all((ROOT / file).is_file() for file in files)


def test_the_conda_file_names_no_file_beside_it():
    """It is copied before it is read: pip would look for the other beside the copy."""
    dependencies = yaml.safe_load((ROOT / "envs/flarebench.yaml").read_text())["dependencies"]
    assert all(isinstance(entry, str) and "-r" not in entry.split() for entry in dependencies)
    assert "python =3.12" in dependencies and "pip" in dependencies


def test_snakemake_finds_the_script_by_its_name():
    rules = (ROOT / "rules/common.smk").read_text(encoding="utf-8")
    assert 'CONDA = "../envs/flarebench.yaml"' in rules
    assert (ROOT / "envs/flarebench.yaml").with_suffix(".post-deploy.sh").is_file()
