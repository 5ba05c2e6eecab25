"""What pydantic says of a wrong configuration, as one sentence that names the place and the allowed values."""

import difflib
import types
import typing
from typing import Any

from pydantic import BaseModel


def sentence_of(fault: Any, root: type[BaseModel]) -> str:
    """One pydantic fault of `root` as a sentence with the place and, for a wrong key, the allowed ones."""
    if fault["type"] == "value_error" and not fault["loc"]:
        return str(fault["ctx"]["error"])
    model, place = _walk(fault["loc"], root)
    where = ".".join(place)
    if fault["type"] == "extra_forbidden":
        allowed = sorted(model.model_fields) if model else []
        close = difflib.get_close_matches(place[-1], allowed, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        return (
            f"{where}: unknown key{hint} Allowed: {', '.join(allowed)}"
            if hint
            else (f"{where}: unknown key; allowed: {', '.join(allowed)}")
        )
    if fault["type"] == "missing":
        return f"{where}: required key is missing"
    if fault["type"] in ("tuple_type", "list_type"):
        return f"{where}: expected a list, as in [a, b] (given: {fault['input']!r})"
    if fault["type"] in ("dict_type", "model_type", "model_attributes_type"):
        return f"{where}: expected a mapping, as in {{key: value}} (given: {fault['input']!r})"
    if fault["type"].startswith("union_tag_"):
        key = fault["ctx"]["discriminator"].strip("'")
        if fault["type"] == "union_tag_not_found":
            return f"{where}.{key}: required key is missing"
        return f"{where}.{key}: {fault['ctx']['tag']!r} is not known; allowed: {fault['ctx']['expected_tags']}"
    given = fault.get("input")
    shown = "" if isinstance(given, dict | BaseModel) else f" (given: {given!r})"
    return f"{where}: {fault['msg'].removeprefix('Value error, ')}{shown}"


def _walk(location: tuple[int | str, ...], root: type[BaseModel]) -> tuple[type[BaseModel] | None, list[str]]:
    """The innermost model on the way to `location`, and the way without pydantic's union tags."""
    model: type[BaseModel] | None = root
    kind: object = root
    inner = model
    place: list[str] = []
    for step in location:
        models = _models_in(kind)
        if isinstance(step, str) and len(models) > 1 and not _is_field(models, step):
            tagged = [m for m in models if _has_tag(m, step)]
            kind = tagged[0] if tagged else kind
            inner = kind if isinstance(kind, type) else inner
            continue
        place.append(str(step))
        if len(models) == 1 and issubclass(models[0], BaseModel) and not _is_mapping(kind):
            inner = models[0]
            field = inner.model_fields.get(str(step))
            kind = field.annotation if field else None
        else:
            kind = _value_type(kind)
    return inner, place


def _is_field(models: list[type[BaseModel]], step: str) -> bool:
    return all(step in m.model_fields for m in models)


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    fields = (model.model_fields.get(name) for name in ("source", "backend"))
    return any(field is not None and field.default == tag for field in fields) or (
        model.__name__ == f"{tag.capitalize()}System"
    )


def _is_mapping(kind: object) -> bool:
    return typing.get_origin(kind) is dict


def _value_type(kind: object) -> object:
    arguments = typing.get_args(kind)
    return arguments[-1] if _is_mapping(kind) else (arguments[0] if arguments else None)


def _models_in(kind: object) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    if _is_mapping(kind):
        return []
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return [m for argument in typing.get_args(kind) for m in _models_in(argument)]
    return []
