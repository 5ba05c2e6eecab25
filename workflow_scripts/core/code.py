"""Which source files a step really runs: the closure of its imports within this package.

Rules declare these files as inputs, so that editing a line reruns the steps that use it and no others.
"""

import ast
from functools import cache
from pathlib import Path

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
    files = set(found.values())
    for file in list(files):
        text = file.read_text(encoding="utf-8")
        files |= {data for data in file.parent.glob("*.*") if data.suffix != ".py" and f'"{data.name}"' in text}
    return sorted(str(file.relative_to(ROOT)) for file in files)


def _file_of(module: str) -> Path:
    path = ROOT / Path(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    raise ModuleNotFoundError(f"{module} is not a module of {PACKAGE}")


@cache
def _imports_of(file: Path) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return tuple(sorted(name for name in names if name.startswith(f"{PACKAGE}.") and _is_module(name)))


def _is_module(name: str) -> bool:
    path = ROOT / Path(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
