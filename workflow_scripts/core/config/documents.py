"""The JSON schema and the commented reference of the configuration, generated from its models.

`python -m workflow_scripts.core.config.documents` writes both after a change; a test fails while they drift.
"""

import json
import types
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from workflow_scripts import ROOT
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.sources.cells import Cell
from workflow_scripts.core.config.workflow import Configuration
from workflow_scripts.core.files import write_text

SCHEMA = Path("config/schema.json")
REFERENCE = Path("config/reference.yaml")
EDITORS = "# yaml-language-server: $schema=schema.json\n"
"""The first line of every shipped configuration: editors then complete and check its keys."""
HEADER = (
    EDITORS
    + "# Every key of a configuration, with its default. Generated from workflow_scripts/core/config: do not edit.\n"
)


def schema_text() -> str:
    """The JSON schema of a configuration, for editors."""
    return json.dumps(Configuration.model_json_schema(), indent=2, sort_keys=True) + "\n"


def reference_text() -> str:
    """Every section as YAML; each entry of a named section is shown once for each of its kinds, one that is null by its
    keys in comments."""
    return HEADER + "\n".join(_lines(Configuration, 0)) + "\n"


def _lines(model: type[BaseModel], depth: int) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        indent = "  " * depth
        kinds = _models(field.annotation)
        if depth == 0:
            lines.append("")
        lines.append(f"{indent}# {field.description or _first_line(kinds)}")
        if typing.get_origin(field.annotation) is dict and kinds:
            lines.append(f"{indent}{name}:")
            for kind in kinds:
                lines.append(f"{indent}  # {_first_line([kind])}")
                lines.append(f"{indent}  a_{_snake(kind.__name__)}:")
                lines += _lines(kind, depth + 2)
        elif kinds and not (_optional(field.annotation) and field.default is None):
            lines.append(f"{indent}{name}:")
            lines += _lines(kinds[0], depth + 1)
        else:
            lines.append(f"{indent}{name}: {_default(field)}{_allowed(field.annotation)}")
            for line in _lines(kinds[0], depth + 1) if kinds else []:
                lines.append(f"{indent}# {line[2 * depth :]}")  # what stands there instead of null
    return lines


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "…  # required"
    return json.dumps(field.get_default(call_default_factory=True, validated_data={}), default=_plain)


def _plain(value: object) -> object:
    """A default that JSON has no form for: a cell is written as short as it may be."""
    return value.short() if isinstance(value, Cell) else list(value)  # type: ignore[call-overload]


def _allowed(kind: object) -> str:
    choices = [c for part in _parts(kind) if typing.get_origin(part) is typing.Literal for c in typing.get_args(part)]
    return f"  # one of: {', '.join(map(str, choices))}" if len(choices) > 1 else ""


def _parts(kind: object) -> list[object]:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _parts(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return [part for argument in typing.get_args(kind) for part in _parts(argument)]
    return [kind]


def _optional(kind: object) -> bool:
    return type(None) in _parts(kind)


def _models(kind: object) -> list[type[BaseModel]]:
    if typing.get_origin(kind) is dict:
        return _models(typing.get_args(kind)[1])
    models = [part for part in _parts(kind) if isinstance(part, type) and issubclass(part, BaseModel)]
    return [model for model in models if not issubclass(model, Cell)]


def _first_line(kinds: list[type[BaseModel]]) -> str:
    return (kinds[0].__doc__ or "").strip().splitlines()[0] if kinds else ""


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def write_documents() -> str:
    """Write the schema and the reference beside the shipped configurations."""
    write_text(ROOT / SCHEMA, schema_text())
    write_text(ROOT / REFERENCE, reference_text())
    return f"wrote {SCHEMA} and {REFERENCE}"


if __name__ == "__main__":
    run_step(write_documents)
