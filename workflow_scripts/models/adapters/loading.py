"""Putting an adapter on its base so that every tensor of its file takes part, or none does and the job stops."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import PreTrainedModel

from workflow_scripts.core.files import BadFile
from workflow_scripts.models.adapters.names import Part, changes_features, listed, parts_of, places
from workflow_scripts.models.adapters.settings import WEIGHTS, LoraSettings, read_settings
from workflow_scripts.models.record import is_full, read_record, verify_files
from workflow_scripts.models.runtime import first_line

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel

ADAPTER = "default"
"""PEFT's name of an adapter that is alone."""


def folder_of_adapter(place: Path) -> Path:
    """The folder of an adapter: `place` itself, or that of a published one, whose record `place` is.

    Raises:
        BadFile: the record, or a file that it names, is missing or was changed.
    """
    if place.suffix != ".json":
        return place
    verify_files(place)
    return read_record(place)[1]


def needs_own_features(folder: Path) -> bool:
    """Whether the adapter in `folder` changes what images become, so that its answers take no stored features.

    Weights that were trained in full are this workflow's own, whose plan knows what their recipe touched.

    Raises:
        BadFile: its weights are missing or damaged.
    """
    if is_full(folder):
        return False
    try:
        with safe_open(_weights(folder), "pt") as stream:
            return changes_features(stream.keys())
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, error) from None


def with_adapter(model: PreTrainedModel, place: Path) -> "PeftModel":
    """`model` with an adapter in its layers, whatever version of transformers named the adapter's tensors.

    Which modules are adapted, and by which ranks, is read off the tensors, since settings name modules by patterns
    that may match nothing, or other modules, in a model of today's names.

    Args:
        place: folder of the adapter, or record of a published one.

    Raises:
        BadFile: the adapter is missing, damaged, of a kind that is not computed here, or of another base; some of the
            tensors that do not fit are named.
    """
    folder = folder_of_adapter(place)
    weights = _weights(folder)
    settings = read_settings(folder)
    try:
        tensors = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, error) from None
    folder_of_adapter(place)  # once more: files that changed while they were read
    try:
        parts = parts_of(tensors, settings.whole)
        modules = {name: module for name, module in model.named_modules() if not list(module.children())}
        names = places(parts, modules)
        _check_shapes(parts, tensors, names, modules)
    except BadFile as error:
        raise BadFile(f"{folder}: {error}") from None
    ranks = {part.module: len(tensors[part.key]) for part in parts if part.kind == "A"}
    from peft import get_peft_model

    adapted = get_peft_model(model, _config(settings, ranks, names, parts))
    _fill(adapted, parts, tensors, names, settings, folder)
    return adapted


def _weights(folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        raise BadFile(f"{folder} holds no {WEIGHTS}; run the training of this system again, or fetch the adapter again")
    return folder / WEIGHTS


def _unreadable(folder: Path, error: Exception) -> BadFile:
    return BadFile(f"{folder} cannot be loaded as an adapter ({first_line(error)}); delete it and run again")


def _check_shapes(
    parts: list[Part],
    tensors: Mapping[str, torch.Tensor],
    names: Mapping[str, str],
    modules: Mapping[str, torch.nn.Module],
) -> None:
    """See that each module has both matrices, and that they fit its weight; raises BadFile where they do not."""
    kinds: dict[str, dict[str, tuple[int, ...]]] = {}
    for part in parts:
        kinds.setdefault(part.module, {})[part.kind] = tuple(tensors[part.key].shape)
    if not any("A" in shapes for shapes in kinds.values()):
        raise BadFile("its weights hold no low-rank matrices")
    if halves := [module for module, shapes in kinds.items() if ("A" in shapes) != ("B" in shapes)]:
        raise BadFile(f"one of the two matrices of {listed(halves)} is missing")
    for module, shapes in kinds.items():
        target = modules[names[module]]
        if "A" in shapes and "weight" in shapes:
            raise BadFile(f"{module} is both adapted and trained whole")
        if "A" in shapes and not isinstance(target, torch.nn.Linear):
            raise BadFile(f"{module} is no linear layer ({type(target).__name__}); adapters of others are not computed")
        if "A" in shapes:
            given: tuple[int, ...] = (shapes["B"][0], shapes["A"][1])
            expected: tuple[int, ...] = (target.out_features, target.in_features)
            if shapes["A"][0] != shapes["B"][1]:
                raise BadFile(f"the two matrices of {module} have different ranks")
        elif "weight" not in shapes:
            raise BadFile(f"{module} was trained whole, and its weight is missing")
        else:
            given, expected = shapes["weight"], tuple(target.weight.shape)
        if given != expected:
            raise BadFile(
                f"{module} is {_shape(given)} in the adapter and {_shape(expected)} in the model: the adapter belongs "
                "to another base"
            )


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


def _config(
    settings: LoraSettings, ranks: Mapping[str, int], names: Mapping[str, str], parts: list[Part]
) -> "LoraConfig":
    """Settings that name today's modules one by one."""
    from peft import LoraConfig

    common = max(set(ranks.values()), key=list(ranks.values()).count)
    return LoraConfig(
        task_type=settings.task_type,
        inference_mode=True,
        r=common,
        lora_alpha=settings.alpha,
        target_modules=sorted(names[module] for module in ranks),
        rank_pattern={re.escape(names[module]): rank for module, rank in ranks.items() if rank != common},
        alpha_pattern={
            re.escape(names[module]): settings.alpha_of(module)
            for module in ranks
            if settings.alpha_of(module) != settings.alpha
        },
        use_rslora=settings.rank_stabilised,
        modules_to_save=sorted({names[part.module] for part in parts if part.kind == "weight"}) or None,
    )


@torch.no_grad()
def _fill(
    adapted: "PeftModel",
    parts: list[Part],
    tensors: Mapping[str, torch.Tensor],
    names: Mapping[str, str],
    settings: LoraSettings,
    folder: Path,
) -> None:
    """Copy the tensors, and see that they are all that PEFT put into the model."""
    from peft.tuners.lora import LoraLayer

    base = adapted.get_base_model()
    adapted_here = {name for name, module in base.named_modules() if isinstance(module, LoraLayer)}
    expected = {names[part.module] for part in parts if part.kind == "A"}
    if adapted_here != expected:
        differing = listed(sorted(adapted_here ^ expected))
        raise BadFile(f"{folder}: PEFT adapts other modules than its tensors are for: {differing}")
    for part in parts:
        module = base.get_submodule(names[part.module])
        if part.kind in "AB":
            target = (module.lora_A if part.kind == "A" else module.lora_B)[ADAPTER].weight
            scale = settings.scale_of(part.module, len(module.lora_A[ADAPTER].weight))
            if module.scaling[ADAPTER] != scale:
                raise BadFile(f"{folder}: the scale of {part.module} is {module.scaling[ADAPTER]}, not {scale}")
        else:
            target = getattr(module.modules_to_save[ADAPTER], part.kind)
        target.copy_(tensors[part.key])
