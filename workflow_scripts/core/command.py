"""Running a step from the command line: its flags are its function's parameters, and a known failure is one sentence.

`run_step(write_outcomes)` makes a flag of each keyword parameter, with the parameter's type and the text that the
docstring's `Args:` gives it. Models of the configuration are passed as JSON. A known failure ends with exit code 1 and
no traceback; a full or read-only disk is a known failure too, whichever library met it.
"""

import sys
from collections.abc import Callable
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from workflow_scripts.core.files import BadFile, disk_fault


class Refused(Exception):
    """A step cannot do its work; the message says why and what to do."""


def run_step(step: Callable[..., str | None]) -> None:
    """Call `step` with the flags of the command line; print what it returns, or a known failure as one sentence."""
    import tyro

    registry = tyro.constructors.ConstructorRegistry()
    registry.primitive_rule(_json_model)
    try:
        with registry:
            summary = tyro.cli(step, config=(tyro.conf.FlagConversionOff, tyro.conf.ConsolidateSubcommandArgs))
        if summary:
            print(summary)
    except (Refused, BadFile) as error:
        _stop(error)
    except (OSError, SafetensorError, RuntimeError) as error:
        if (fault := disk_fault(error)) is None:
            raise
        _stop(fault)


def _json_model(info: Any) -> Any:
    """How tyro reads a model of the configuration, or a parameter that may lack one: as one argument of JSON."""
    import tyro

    kind = info.type
    if get_origin(kind) in (Union, UnionType) and len(get_args(kind)) == 2 and NoneType in get_args(kind):
        kind = next(part for part in get_args(kind) if part is not NoneType)
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return None

    def read(arguments: list[str]) -> BaseModel:
        try:
            model: BaseModel = kind.model_validate_json(arguments[0])
            return model
        except ValidationError as error:
            fault = error.errors()[0]
            place = ".".join(map(str, fault["loc"]))
            raise ValueError(f"not the JSON of {kind.__name__}: {place}: {fault['msg']}") from None

    return tyro.constructors.PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=read,
        is_instance=lambda value: value is None or isinstance(value, kind),
        str_from_instance=lambda value: ["None" if value is None else value.model_dump_json()],
    )


def _stop(message: object) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)
