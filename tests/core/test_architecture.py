"""The house: data flows one way, and planning stays light."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workflow_scripts.cache.fingerprints import ROOT, sources

STAGES = ("data", "features", "train", "infer", "score", "report")
SHARED = ("core", "models", "engines")
FILES = sorted((ROOT / "workflow_scripts").rglob("*.py"))


def imported(file):
    """Modules of the package that a file imports anywhere, by its syntax tree."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in names if name.startswith("workflow_scripts.") and module_file(name).exists()}


def module_file(name):
    path = ROOT / Path(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_room_imports_the_shared_rooms_and_itself(file):
    room = file.relative_to(ROOT / "workflow_scripts").parts[0]
    allowed = (
        {*SHARED, room} if room in STAGES else {"core", "models", "engines"} if room == "engines" else {"core", room}
    )
    assert {name.split(".")[1] for name in imported(file)} <= allowed


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_library_code_imports_snakemake_or_allows_remote_code(file):
    text = file.read_text()
    assert "import snakemake" not in text and "from snakemake" not in text
    assert "trust_remote_code" not in text


def test_nothing_that_snakemake_parses_imports_torch():
    program = (
        "import sys; sys.argv = ['snakemake', '-n', '--quiet', 'all'];"
        "from snakemake.cli import parse_args, args_to_api;"
        "parser, args = parse_args(['-n', '--quiet', 'all', '--cores', '1']); args_to_api(args, parser);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_sources_of_a_step_are_what_it_imports_and_nothing_of_other_stages():
    files = sources("workflow_scripts.infer.gather")
    assert "workflow_scripts/infer/gather.py" in files
    assert "workflow_scripts/core/tables.py" in files
    assert not any("/train/" in file or "/report/" in file or "tiny" in file for file in files)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_sources_of_a_module_hold_whatever_its_syntax_tree_imports(file):
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert {str(module_file(name).relative_to(ROOT)) for name in imported(file)} <= set(sources(module))


def test_a_template_beside_a_module_counts_as_its_source():
    assert "workflow_scripts/report/page.html.jinja" in sources("workflow_scripts.report.page")


def test_a_line_of_an_imported_module_changes_the_identity_of_a_step(tmp_path):
    shutil.copytree(ROOT / "workflow_scripts", tmp_path / "workflow_scripts")
    program = (
        "from workflow_scripts.cache.fingerprints import identity; print(identity('workflow_scripts.infer.gather'))"
    )

    def told():
        return subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True).stdout

    before, used = told(), tmp_path / "workflow_scripts/core/tables.py"
    assert before.startswith("workflow_scripts.infer.gather ")
    used.touch()
    (tmp_path / "workflow_scripts/report/page.py").write_text("")
    assert told() == before
    used.write_text(used.read_text() + "\n# a line\n")
    assert told() != before
