"""Running a step from the command line: its flags are its function's parameters, and a known failure is one sentence.

`run_step(write_outcomes)` makes a flag of each keyword parameter, with the parameter's type and the text that the
docstring's `Args:` gives it. Models of the configuration are passed as JSON. A known failure ends with exit code 1 and
no traceback; a full or read-only disk is a known failure too, whichever library met it.
"""

import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType, NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError

from workflow_scripts.core.files import BadFile, disk_fault


class _Missing(MetaPathFinder):
    """Answers for packages as if they were not installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = packages

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is not imported here", name=name)
        return None


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Inside, packages that are not imported yet cannot be: for imports of a library that does without them.

    Some libraries import whatever is installed, which takes seconds of every job.
    """
    finder = _Missing(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def spare_pandas() -> None:
    """Keep pyarrow from importing pandas, which it does at its first array to recognise a Series.

    It looks once: this process makes no data frame. Libraries that come with torch import pandas themselves.
    """
    if "pyarrow" in sys.modules and not {"pandas", "torch"} & sys.modules.keys():
        import pyarrow as pa

        with without("pandas"):
            pa.array([0])


class Refused(Exception):
    """A step cannot do its work; the message says why and what to do."""


def run_step(step: Callable[..., str | None], *, garbage: bool = True) -> None:
    """Call `step` with the flags of the command line; print what it returns, or a known failure as one sentence.

    Args:
        step: a function of keyword parameters.
        garbage: whether Python searches for reference cycles, in what is made from now on. A step of many rows, which
            hold none, is a tenth faster without.
    """
    import tyro

    if step.__module__ == "__main__":
        spare_pandas()
        gc.freeze()
        (gc.enable if garbage else gc.disable)()
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


def end_with_parent() -> None:
    """In a worker process: end it as soon as the process that started it has ended, killed ones too.

    A worker of `concurrent.futures` waits for tasks for ever, with its memory and its GPU, once nobody is left to give
    it any.
    """
    # Imported by every worker, and by few steps.
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    if (parent := parent_process()) is None:
        return

    def end_after(sentinel: int) -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=end_after, args=(parent.sentinel,), daemon=True).start()
