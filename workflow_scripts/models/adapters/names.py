"""Names of an adapter's tensors and of a model's modules: one network, as different versions of transformers call it.

Gemma 3's language layers were `language_model.model.layers.0` up to transformers 4.51, are
`model.language_model.layers.0` since, and the vision tower lost a level `vision_model` in transformers 5. PEFT writes
the names of its day into the file, carries some of the older ones over when it loads it, and skips what it does not
find with a warning at most.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from workflow_scripts.core.files import BadFile

_LEVELS = ("base_model", "model", "vision_model")
"""Levels by which versions of one network's names differ."""

_EARLIER = (
    ("language_model.lm_head", "lm_head"),
    ("layers.", "language_model.layers."),
    ("embed_tokens", "language_model.embed_tokens"),
)
"""Beginnings of names without these levels, as they were and as they are: the head of a language model within a larger
one, and the language model of Qwen-VL, which once had no level of its own."""

_LOW_RANK = re.compile(r"^(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$")
_WHOLE = re.compile(r"^(?P<module>.+?)(?:\.modules_to_save)?(?:\.default)?\.(?P<parameter>weight|bias)$")

_LANGUAGE = ("language_model", "text_model", "lm_head")


@dataclass(frozen=True)
class Part:
    """A tensor of an adapter's file: one of a pair of low-rank matrices (`A`, `B`), or a weight trained whole."""

    key: str
    module: str  # as the file calls it, without PEFT's prefix
    kind: str  # A, B, weight or bias


def parts_of(keys: Iterable[str], whole: Iterable[str]) -> list[Part]:
    """What the tensors of an adapter's file are.

    Args:
        keys: names in the file.
        whole: names, or ends of names, of the modules that were trained whole.

    Raises:
        BadFile: a tensor is neither part of a LoRA of linear layers nor of a module trained whole.
    """
    parts, strange = [], []
    ends = tuple(whole)
    for key in sorted(keys):
        name = key.removeprefix("base_model.model.")
        if match := _LOW_RANK.match(name):
            parts.append(Part(key, match["module"], match["side"]))
        elif (match := _WHOLE.match(name)) and ends and match["module"].endswith(ends):
            parts.append(Part(key, match["module"], match["parameter"]))
        else:
            strange.append(key)
    if strange:
        raise BadFile(f"{listed(strange)}: no part of a LoRA of linear layers; only such are computed here")
    return parts


def core_name(name: str) -> str:
    """A module's name without the levels by which versions differ."""
    return ".".join(part for part in name.split(".") if part not in _LEVELS)


def places(parts: Iterable[Part], modules: Iterable[str]) -> dict[str, str]:
    """The model's module for each module that an adapter's file names.

    Args:
        modules: names of the model's modules.

    Raises:
        BadFile: some have no place in the model, or more than one.
    """
    by_core: dict[str, list[str]] = {}
    for module in modules:
        by_core.setdefault(core_name(module), []).append(module)
    named = sorted({part.module for part in parts})
    by_name: Mapping[str, list[str]] = {module: _candidates(core_name(module), by_core) for module in named}
    if absent := [module for module, candidates in by_name.items() if not candidates]:
        raise BadFile(f"{listed(absent)}: the model has no such modules; the adapter belongs to another base")
    if unclear := [module for module, candidates in by_name.items() if len(candidates) > 1]:
        raise BadFile(f"{listed(unclear)}: the model has several modules that this may mean")
    return {module: candidates[0] for module, candidates in by_name.items()}


def changes_features(keys: Iterable[str]) -> bool:
    """Whether an adapter may change what the vision tower gives: any tensor outside of the language model.

    Features that were computed with the base are then of no use to it.
    """
    modules = [key.removeprefix("base_model.model.") for key in keys]
    return not all(
        core_name(module).startswith("layers.")
        or not {*module.split(".")}.isdisjoint(_LANGUAGE)
        or core_name(module).startswith("embed_tokens")
        for module in modules
    )


def listed(names: Iterable[str], most: int = 3) -> str:
    """The first of some names, and how many there are besides."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _candidates(core: str, by_core: Mapping[str, list[str]]) -> list[str]:
    if core in by_core:
        return by_core[core]
    for earlier, now in _EARLIER:
        if core.startswith(earlier):
            return by_core.get(now + core.removeprefix(earlier), [])
    return []
