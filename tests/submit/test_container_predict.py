"""What `predict.sh` of a packed container starts: the steps, with flags that they have, as it was configured."""

import ast
import json
import os
import re
import shutil
import subprocess
from itertools import pairwise

import pytest

from tests.submit.conftest import PROMPT
from workflow_scripts import ROOT
from workflow_scripts.submit.steps import ROUTING, STEPS

RECORDER = """#!/bin/sh
for word in "$@"; do printf '%s\\0' "$word"; done >> "$RECORD"
printf '\\1\\0' >> "$RECORD"
[ "$2" != "$FAILING" ]
"""
"""Stands for the interpreter: it writes down its arguments, and fails for the module `FAILING`."""


def run(folder, place, code=0, **variables):
    """The arguments of each command that `predict.sh` starts, as `sh` passes them on; what it leaves in TMPDIR."""
    for name in ("inputs", "tmp"):
        (place / name).mkdir(exist_ok=True)
    recorder, record = place / "python", place / "record"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    record.unlink(missing_ok=True)
    variables = {"INPUTS": place / "inputs", "OUTPUTS": place / "out", "TMPDIR": place / "tmp"} | variables
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": recorder, "RECORD": record, "FAILING": "", **variables}
    done = subprocess.run(["sh", "predict.sh"], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert list((place / "tmp").iterdir()) == []
    return [command.strip("\0").split("\0") for command in record.read_text().split("\1")[:-1]]


def steps(commands):
    """Module and arguments of each step; one that is started on devices comes after `cli.devices`."""
    for _, module, *rest in commands:
        yield module, rest
        if "-m" in rest:
            yield rest[rest.index("-m") + 1], rest[rest.index("-m") + 2 :]


@pytest.fixture(scope="module")
def started(folder, tmp_path_factory):
    return list(steps(run(folder, tmp_path_factory.mktemp("started"))))


def test_predict_runs_the_steps_that_decide_when_it_is_packed_again(started):
    assert list(dict.fromkeys(module for module, _ in started)) == list(STEPS)


def parameters_of(module):
    """The keyword parameters of a step's function, each with whether it has to be given."""
    syntax = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    calls = [node for node in ast.walk(syntax) if isinstance(node, ast.Call)]
    [name] = [call.args[0].id for call in calls if getattr(call.func, "id", "") == "run_step"]
    [function] = [node for node in syntax.body if isinstance(node, ast.FunctionDef) and node.name == name]
    pairs = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return {argument.arg: default is None for argument, default in pairs}


def test_every_flag_of_predict_is_one_of_its_step(started):
    for module, words in started:
        if module.endswith("cli.devices"):
            continue
        parameters = parameters_of(module)
        flags = {word.removeprefix("--").replace("-", "_") for word in words if re.fullmatch(r"--[a-z-]+", word)}
        assert {name for name, needed in parameters.items() if needed} <= flags <= set(parameters), module


def flags_of(module, started):
    """The first value of each flag of a step."""
    words = dict(started)[f"workflow_scripts.{module}"]
    return {word: value for word, value in pairwise(words) if word.startswith("--")}


def test_what_the_configuration_wrote_passes_the_shell_unchanged(started):
    assert json.loads(flags_of("infer.answer", started)["--members"])["prompt"]["system"] == PROMPT


def test_gpus_are_taken_and_processes_are_as_many_as_shared_memory_allows(started):
    assert dict(started)["workflow_scripts.cli.devices"][0] == "1"
    free = shutil.disk_usage("/dev/shm").free // 10**9
    threads = int(flags_of("features.extract", started)["--threads"])
    assert 1 <= threads <= min(12, 1 + free, os.cpu_count())


def test_the_stated_time_is_held_against_and_fails_no_run(started):
    flags = flags_of("submit.outcome", started)
    assert flags["--limit"] == "3600" and flags["--strict"] == "False"


def test_variables_of_the_environment_are_followed(folder, tmp_path):
    commands = list(steps(run(folder, tmp_path, THREADS="3", BATCH="7", LIMIT_SECONDS="90")))
    assert flags_of("infer.answer", commands)["--batch"] == "7"
    assert flags_of("features.extract", commands)["--threads"] == "3"
    assert flags_of("submit.outcome", commands)["--limit"] == "90"
    assert flags_of("submit.outcome", commands)["--strict"] == "True"


def test_relative_paths_are_those_of_the_folder_where_it_starts(folder, tmp_path):
    """As in `INPUTS=inputs PYTHON=.venv/bin/python sh CONTAINER/predict.sh`."""
    relative = {
        name: os.path.relpath(tmp_path / path, folder) for name, path in (("INPUTS", "inputs"), ("PYTHON", "python"))
    }
    commands = list(steps(run(folder, tmp_path, OUTPUTS=os.path.relpath(tmp_path / "out", folder), **relative)))
    assert len(commands) == len(STEPS) + 1
    assert flags_of("submit.inputs", commands)["--inputs"] == str(tmp_path / "inputs")
    assert flags_of("infer.export", commands)["--out"] == str(tmp_path / "out/predictions.json")


def test_a_step_that_fails_ends_it_and_leaves_no_older_answers(folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/predictions.json").write_text("of an earlier run")
    commands = run(folder, tmp_path, code=1, FAILING="workflow_scripts.data.convert")
    assert [module for _, module, *_ in commands][-1] == "workflow_scripts.data.convert"
    assert list((tmp_path / "out").iterdir()) == []


def test_each_expert_answers_its_questions_in_one_load_and_the_answers_are_routed(routed, tmp_path):
    started = list(steps(run(routed, tmp_path)))
    assert {module for module, _ in started} == {*STEPS, *ROUTING}
    test_every_flag_of_predict_is_one_of_its_step(started)
    words = next(words for module, words in started if module == "workflow_scripts.infer.answer")
    members = [json.loads(word) for word in words if word.startswith("{")]
    assert [(one["adapter"], one["rows"]) for one in members] == [
        ("adapters/few", "experts/few.parquet"), ("adapters/words", "experts/words.parquet"),
        (None, "experts/base.parquet"),
    ]  # fmt: skip
    gathered = [words for module, words in started if module == "workflow_scripts.infer.gather"]
    assert [words[words.index("--system") + 1] for words in gathered] == ["few", "words", "base"]
    [route] = [words for module, words in started if module == "workflow_scripts.infer.route"]
    places = [f"gathered/{name}.parquet" for name in ("few", "words", "base")]
    assert route[route.index("--predictions") + 1 : route.index("--router")] == places
