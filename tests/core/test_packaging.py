"""What is declared is what is imported and pinned; a wheel holds the package with its data."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from workflow_scripts import ROOT
from workflow_scripts.core.provenance import workflow_version
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.tables import write_rows
from workflow_scripts.core.tasks import BUILT_IN

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DECLARED = {canonicalize_name(Requirement(text).name): Requirement(text) for text in PROJECT["dependencies"]}
EXTRAS = {
    extra: {canonicalize_name(Requirement(text).name): Requirement(text) for text in texts}
    for extra, texts in PROJECT["optional-dependencies"].items()
}
NOT_IMPORTED = {
    "accelerate",  # the command that starts a training on several GPUs
    "pandas",  # for notebooks: README, docs/decisions.md
    "pygments",  # snakemake --report
    "python-gdcm",  # pydicom decodes with it: data/dicom/codecs.py
    "snakemake",  # runs the rules
    "snakemake-executor-plugin-slurm",
}
"""Declared for what is not an import of the package."""
NEEDED_BY_REAL = {"jiter", "opentelemetry-api", "sniffio", "starlette"}
"""Pinned in requirements-real.txt because its packages need them: it is installed without dependencies."""
ELSEWHERE = {
    "radeval": "envs/requirements-judges.txt",
    "crimson-score": "envs/requirements-judges.txt",
    "triton": "comes with torch on a GPU",
}
"""Imported where they are there, and installed by another command than the package's."""


def pins(name):
    """The pinned requirements of a file by their canonical name."""
    lines = (line.split("#")[0].strip() for line in (ROOT / "envs" / name).read_text().splitlines())
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


CONSTRAINTS = pins("constraints.txt")


def imported():
    """Distributions that the package imports anywhere, by their canonical name."""
    modules = set()
    for file in (ROOT / "workflow_scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            modules |= {name.split(".")[0] for name in names}
    modules -= {*sys.stdlib_module_names, "workflow_scripts"}
    owners = importlib.metadata.packages_distributions()
    return {canonicalize_name(owners.get(module, [module])[0]) for module in modules}


def test_every_import_is_declared_and_nothing_else():
    needed = imported() - set(ELSEWHERE) - set(EXTRAS["gpu"]) - {"liger-kernel"}
    assert needed - set(DECLARED) == set()
    assert set(DECLARED) - needed == NOT_IMPORTED


@pytest.mark.parametrize(
    ("declared", "files"),
    [
        (DECLARED, ["requirements.txt"]),
        (EXTRAS["gpu"], ["requirements-gpu.txt"]),
        (EXTRAS["dev"], ["requirements-dev.txt"]),
        (EXTRAS["real"], ["requirements-real.txt"]),
    ],
    ids=["dependencies", "gpu", "dev", "real"],
)
def test_a_pin_lies_in_the_declared_range_and_every_pin_is_declared(declared, files):
    pinned = {name: version for file in files for name, version in pins(file).items() if name not in NEEDED_BY_REAL}
    assert set(pinned) == set(declared)
    assert [name for name, version in pinned.items() if version not in declared[name].specifier] == []


def test_what_the_extra_real_needs_besides_is_pinned_and_only_the_extended_tier_installs_it():
    assert set(pins("requirements-real.txt")) - set(EXTRAS["real"]) == NEEDED_BY_REAL
    rules = re.findall(r"^([^\s:#]+):(?!=)(.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert [target for target, needed in rules if "ready-real" in needed.split("##")[0]] == ["test-extended"]


def test_the_closed_set_holds_every_pin():
    wrong = {
        name: version
        for file in ("requirements.txt", "requirements-dev.txt")
        for name, version in pins(file).items()
        if CONSTRAINTS.get(name) != version
    }
    assert wrong == {}


def test_the_closed_set_is_sorted_and_names_no_place():
    lines = (ROOT / "envs/constraints.txt").read_text().splitlines()
    assert lines == sorted(lines, key=str.lower)
    for file in (ROOT / "envs").iterdir():
        assert "://" not in file.read_text() and "--index" not in file.read_text()


def test_the_closed_set_is_closed():
    """Whatever a pinned distribution needs is pinned, and what is installed is what is pinned."""
    missing = set()
    for name, version in CONSTRAINTS.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform, or of an extra
        if distribution.version.split("+")[0] != version:
            pytest.skip(f"{name} {distribution.version} is installed: this is not the pinned environment")
        for text in distribution.requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                missing |= {canonicalize_name(requirement.name)} - set(CONSTRAINTS)
    assert missing - {"pip"} == set()


def test_hooks_of_commits_use_the_pinned_tools():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    versions = {hook["repo"].rsplit("/", 1)[1]: hook["rev"].removeprefix("v") for hook in hooks}
    assert versions["ruff-pre-commit"] == CONSTRAINTS["ruff"]
    assert versions["snakefmt"] == CONSTRAINTS["snakefmt"]


def test_the_version_is_stated_once():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert workflow_version() == PROJECT["version"] == citation["version"]
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the package, built without a network."""
    pytest.importorskip("setuptools", minversion="80")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        ROOT / "workflow_scripts", source / "workflow_scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
    done = subprocess.run([sys.executable, "-m", *build], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    [file] = out.glob("flarebench-*.whl")
    return file


def test_a_wheel_holds_every_file_of_the_package_and_nothing_else(wheel):
    files = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "workflow_scripts").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == files
    assert {
        "workflow_scripts/synthetic/toy_model/model.safetensors",
        "workflow_scripts/report/page.html.jinja",
        "workflow_scripts/report/cases/start.js",
        "workflow_scripts/core/pages/base.css",
    } <= packed


def test_an_installed_package_works_from_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        f"import sys; sys.path.insert(0, {str(site)!r});"
        "import workflow_scripts; from workflow_scripts.core.provenance import circumstances;"
        "from workflow_scripts.core.tasks import load_part, tasks;"
        "from workflow_scripts.judges.rule_based.lexicon import __file__ as lexicon;"
        "from workflow_scripts.cache.fingerprints import identity;"
        "print(workflow_scripts.__file__, circumstances()['workflow'], circumstances()['git'], len(tasks()));"
        "print(identity('workflow_scripts.score.metrics'))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=empty, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    where, version, git, count = done.stdout.splitlines()[0].rsplit(" ", 3)
    assert where.startswith(str(site)) and version == PROJECT["version"]
    assert (git, count) == ("None", str(len(BUILT_IN)))
    command = [sys.executable, "-m", "workflow_scripts.synthetic.model", "--record", "models/tiny.json"]
    done = subprocess.run(command, cwd=empty, env={"PYTHONPATH": str(site)}, capture_output=True, text=True)
    assert done.returncode == 0 and (empty / "models/tiny/model.safetensors").is_file(), done.stderr


def test_the_notebook_of_the_readme_shows_the_primary_metrics(tmp_path):
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    shared = {"task": "counting", "reading": "strict", "judge": None, "stratum": None, "direction": "lower"}
    shared |= {"low": None, "high": None, "rows": 2, "clusters": 2, "valid_share": 1.0, "unread": 0}
    values = [
        MetricValue(system=system, subset="macro", metric=metric, value=value, definition="", primary=primary, **shared)
        for system, metric, value, primary in [
            ("base", "mae", 3.5, True),
            ("tuned", "mae", 1.25, True),
            ("tuned", "rmse", 9.75, False),
        ]
    ]
    write_rows(tmp_path / "results/scores/validation/metrics.parquet", values, MetricValue)
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert "counting" in shown and "3.5" in shown and "1.25" in shown and "9.75" not in shown
