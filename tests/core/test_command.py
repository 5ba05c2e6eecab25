"""Steps from the command line: models of the configuration are one argument of JSON, needed or not."""

import os
import shutil
import subprocess
import sys

import pytest

from workflow_scripts import PACKAGE, ROOT
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.section import Section


class Corner(Section):
    """A model of two kinds of values."""

    name: str
    size: int = 3


def place(*, corner: Corner, other: Corner | None = None, several: list[Corner] | None = None) -> str:
    """Say what came.

    Args:
        corner: one.
        other: one more, or none.
        several: any number.
    """
    return f"{corner!r} {other!r} {several!r}"


@pytest.fixture
def said(monkeypatch, capsys):
    """A function: what a step prints with these arguments, and its exit code."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["step", *arguments])
        code = 0
        try:
            run_step(place)
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return run


def test_a_model_that_may_be_absent_is_json_too(said):
    corner, other = Corner(name="a b"), Corner(name="c", size=4)
    assert said("--corner", corner.model_dump_json()) == (0, f"{corner!r} None None\n")
    given = said("--corner", corner.model_dump_json(), "--other", other.model_dump_json())
    assert given == (0, f"{corner!r} {other!r} None\n")
    both = [corner.model_dump_json(), other.model_dump_json()]
    assert said("--corner", both[0], "--several", *both) == (0, f"{corner!r} None {[corner, other]!r}\n")


@pytest.mark.parametrize("flag", ["--corner", "--other"])
def test_wrong_json_names_the_place(said, flag):
    arguments = {"--corner": '{"name": "a"}'} | {flag: '{"name": "a", "size": "large"}'}
    code, output = said(*(part for pair in arguments.items() for part in pair))
    assert code != 0 and "not the JSON of Corner: size" in " ".join(output.replace("│", " ").split())


STEP = """\
import gc
AT_IMPORT = gc.isenabled()
from workflow_scripts import PACKAGE, ROOT
from workflow_scripts.core.command import run_step

def step() -> str:
    \"\"\"Say whether garbage is looked for.\"\"\"
    return f"{AT_IMPORT} {gc.isenabled()} {gc.get_freeze_count() > 10_000}"

if __name__ == "__main__":
    run_step(step, garbage=%s)
"""


@pytest.mark.parametrize("garbage", [True, False])
def test_garbage_is_looked_for_in_what_a_step_makes_and_not_in_what_it_imports(garbage, tmp_path):
    shutil.copytree(ROOT / PACKAGE / "core", tmp_path / PACKAGE / "core")
    shutil.copyfile(ROOT / PACKAGE / "__init__.py", tmp_path / PACKAGE / "__init__.py")
    (tmp_path / PACKAGE / "step.py").write_text(STEP % garbage)
    done = subprocess.run(
        [sys.executable, "-m", f"{PACKAGE}.step"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"False {garbage} True\n"
    done = subprocess.run(
        [sys.executable, "-c", f"import gc, {PACKAGE}.step; print(gc.isenabled())"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True\n"  # whoever imports the package decides for itself


def test_a_program_of_another_package_goes_on_looking_for_garbage(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/__init__.py").write_text(f"import {PACKAGE}")
    (tmp_path / "theirs/program.py").write_text("import gc; print(gc.isenabled())")
    done = subprocess.run(
        [sys.executable, "-m", "theirs.program"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "True\n"
