"""Which source files a step really runs: the closure of its imports within this package, and of the parts it loads.

Rules declare the hash of these files as a parameter: editing a line reruns the steps that use it and no others, while
a fresh clone or a touched file reruns nothing. A call of `load_part` in a module stands for the named part of every
task in the registry, those of entry points among them; one of `load_family` for the family of the model at hand.
"""

import ast
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from workflow_scripts import PACKAGE, ROOT
from workflow_scripts.core.files import sha256_of, sha256_of_file
from workflow_scripts.core.tasks import tasks

FAMILIES = f"{PACKAGE}.models.families."


def sources(module: str, family: str | None = None) -> list[str]:
    """Files of `module` and of every module of this package that it imports or loads, directly or not.

    Paths are relative to the checkout; those of other packages that register tasks are absolute. Data tables beside a
    module (`.yaml`, `.csv`, `.jinja`, `.json`) that it names count as part of it.

    Args:
        family: of the model that the module works with, whose module counts where families are loaded; None: all.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    return sorted(path for name in _modules(module, family) for path in _files_of(name))


def identity(module: str, family: str | None = None) -> str:
    """The name of `module` and a hash over the content of its sources, see `sources`."""
    files = {path: line for name in _modules(module, family) for path, line in _files_of(name).items()}
    content = "\n".join(files[path] for path in sorted(files))
    return f"{module} {sha256_of(content.encode())[:16]}"


def _modules(module: str, family: str | None) -> set[str]:
    """`module` and every module that it imports or loads, directly or not."""
    names: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in names:
            names.add(name)
            file = _file_of(name)
            waiting += _imports_of(file)
            waiting += _parts_of(file)
            waiting += _families_of(file) if family is None else _families_of(file) & {FAMILIES + family}
    return names


@cache
def _files_of(module: str) -> dict[str, str]:
    """A module's file and the data files beside it that it names: by path as it is shown, name and hash in a line."""
    file = _file_of(module)
    text = _text_of(file)
    named = [data for data in _data_beside(file.parent) if f'"{data.name}"' in text]
    return {
        str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path): f"{path.name} {sha256_of_file(path)}"
        for path in [file, *named]
    }


@cache
def _data_beside(folder: Path) -> tuple[Path, ...]:
    return tuple(data for data in folder.glob("*.*") if data.suffix != ".py")


@cache
def _text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8")


@cache
def _file_of(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    spec = None if module.startswith(f"{PACKAGE}.") else find_spec(module)
    if spec is not None and spec.origin is not None:
        return Path(spec.origin)
    raise ModuleNotFoundError(f"{module} is not a module of {PACKAGE}, nor of an installed package that adds tasks")


# Whole files are not parsed: that would take a fifth of a second whenever Snakemake starts, twice in every cluster job.
_IMPORT = re.compile(rf"^[ \t]*((?:from|import)[ \t]+{PACKAGE}\b(?:[^\n(]*\([^)]*\)|[^\n]*))", re.MULTILINE)
_FAMILY = "load_family"
_PART = re.compile(r'\bload_part\([^()]*"(\w+)"\)')


@cache
def _imports_of(file: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.parse("\n".join(_IMPORT.findall(_text_of(file)))).body:
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return tuple(sorted(name for name in names if name != PACKAGE and name in _modules_here()))


@cache
def _parts_of(file: Path) -> tuple[str, ...]:
    """Modules of the parts that `file` loads; a task of another package may lack some."""
    text = _text_of(file)
    parts = set(_PART.findall(text)) if "load_part(" in text else set()  # to look for a word takes no time
    names = (f"{task.package}.{part}" for task in tasks().values() for part in sorted(parts))
    return tuple(name for name in names if name.startswith(f"{PACKAGE}.") or find_spec(name) is not None)


@cache
def _families_of(file: Path) -> frozenset[str]:
    """Modules of the families that `file` may load: all of them, where it loads one by name."""
    if f"{_FAMILY}(" not in _text_of(file):
        return frozenset()
    folder = _file_of(FAMILIES.removesuffix(".")).parent
    return frozenset(FAMILIES + module.stem for module in folder.glob("*.py") if not module.stem.startswith("_"))


@cache
def _modules_here() -> frozenset[str]:
    """The names of all modules of this package: one walk asks the file system less than a look for each import."""
    files = (Path(folder, name) for folder, _, names in os.walk(ROOT / PACKAGE) for name in names if name[-3:] == ".py")
    names = (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files)
    return frozenset(name.removesuffix(".__init__") for name in names)
