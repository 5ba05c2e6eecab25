"""Which source files a step really runs: the closure of its imports within this package.

Rules declare the hash of these files as a parameter: editing a line reruns the steps that use it and no others, while
a fresh clone or a touched file reruns nothing.
"""

import ast
import re
from functools import cache
from pathlib import Path

from workflow_scripts.core.files import sha256_of, sha256_of_file

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parents[2]


def sources(module: str) -> list[str]:
    """Files of `module` and of every module of this package that it imports, directly or not; relative paths.

    Data tables beside a module (`.yaml`, `.csv`, `.jinja`) count as part of it.

    Raises:
        ModuleNotFoundError: there is no such module in the package.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = _file_of(name)
            waiting += _imports_of(found[name])
    files = set(found.values()).union(*map(_tables_of, found.values()))
    return sorted(str(file.relative_to(ROOT)) for file in files)


def identity(module: str) -> str:
    """The name of `module` and a hash over the content of its sources."""
    content = "\n".join(f"{file} {_hash_of(ROOT / file)}" for file in sources(module))
    return f"{module} {sha256_of(content.encode())[:16]}"


@cache
def _hash_of(file: Path) -> str:
    return sha256_of_file(file)


@cache
def _tables_of(file: Path) -> frozenset[Path]:
    """Data files beside `file` that it names."""
    text = file.read_text(encoding="utf-8")
    return frozenset(data for data in file.parent.glob("*.*") if data.suffix != ".py" and f'"{data.name}"' in text)


@cache
def _file_of(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(f"{module} is not a module of {PACKAGE}")


# Whole files are not parsed: that would take a fifth of a second whenever Snakemake starts, twice in every cluster job.
_IMPORT = re.compile(rf"^[ \t]*((?:from|import)[ \t]+{PACKAGE}\b(?:[^\n(]*\([^)]*\)|[^\n]*))", re.MULTILINE)


@cache
def _imports_of(file: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for statement in _IMPORT.findall(file.read_text(encoding="utf-8")):
        node = ast.parse(statement).body[0]
        if isinstance(node, ast.ImportFrom):
            names.add(node.module)
        names |= {f"{node.module}.{a.name}" if isinstance(node, ast.ImportFrom) else a.name for a in node.names}
    return tuple(sorted(name for name in names if name.startswith(f"{PACKAGE}.") and _is_module(name)))


@cache
def _is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
