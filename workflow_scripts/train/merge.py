"""Step: merge tuned weights into their base, tensor by tensor: a checkpoint that any server loads.

Merged is what was evaluated: the adapter into the base at the base's own precision. An adapter of QLoRA was trained
beside a 4-bit copy of that base; answers here are computed with the unquantised one, and so are those of merged
weights. Weights that were trained in full take the place of the base's. Names of tensors are those of published
checkpoints, which servers look for.
"""

import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from workflow_scripts.cache.store import put_in_place, unfinished
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import read_json, sha256_of_file, write_json
from workflow_scripts.core.provenance import write_provenance
from workflow_scripts.models.adapters.loading import folder_of_adapter
from workflow_scripts.models.record import (
    FULL_WEIGHTS,
    ModelRecord,
    adapter_content,
    is_full,
    read_full_record,
    read_record,
    verify_files,
)
from workflow_scripts.models.threads import TORCH_THREADS, use_threads

INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
GIGABYTE = 10**9

_DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "F64": torch.float64}
"""Floating-point types by their name in a safetensors file; tensors of other types are copied."""

_ADAPTER_KEY = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")

_VISION_LEVEL = re.compile(r"(?:^|(?<=\.))vision_tower\.(?!vision_model\.)")
"""transformers 5 drops a level of the vision tower's names when it saves; published checkpoints and vLLM have it."""

_PLAIN = {"bias": "none", "use_dora": False, "fan_in_fan_out": False, "lora_bias": False, "use_qalora": False}
"""Settings of a plain LoRA; any other value is a kind that is not merged here."""

_EMPTY = ("modules_to_save", "rank_pattern", "alpha_pattern", "layer_replication", "target_parameters")


@dataclass(frozen=True)
class Tensor:
    """A tensor of the base."""

    name: str  # in its file
    file: Path
    dtype: str  # safetensors' name
    shape: tuple[int, ...]

    @property
    def published(self) -> str:
        """Its name as published checkpoints have it."""
        return _VISION_LEVEL.sub("vision_tower.vision_model.", self.name)


@dataclass(frozen=True)
class Update:
    """What an adapter adds to one weight: `scale · B A`."""

    a: torch.Tensor  # (rank, inputs)
    b: torch.Tensor  # (outputs, rank)
    scale: float

    def added_to(self, weight: torch.Tensor) -> torch.Tensor:
        """The merged weight in float32."""
        return weight.float() + self.scale * (self.b.float() @ self.a.float())

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that it fits."""
        return (self.b.shape[0], self.a.shape[1])


@dataclass(frozen=True)
class Replacement:
    """A weight that was trained in full."""

    trained: torch.Tensor

    def added_to(self, weight: torch.Tensor) -> torch.Tensor:
        """The trained weight in float32, whatever the base's was."""
        return self.trained.float()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight that it replaces."""
        return tuple(self.trained.shape)


Change = Update | Replacement


def merge(
    *,
    model: Path,
    adapter: Path,
    out: Path,
    dtype: Literal["base", "float32"] = "base",
    shard_gigabytes: float = 5.0,
) -> str:
    """Write the base with the tuned weights in it to a folder, and what went into it as `provenance.json`, last.

    One tensor is in memory at a time. Sums are float32 and rounded once.

    Args:
        model: record of the base
        adapter: folder of the adapter, or of weights that were trained in full; or record of a published adapter
        out: folder to write, replaced whole
        dtype: base: each tensor in the base's own type; float32: twice the size, and no rounding
        shard_gigabytes: most of one file of weights

    Raises:
        Refused: the adapter is of another base, of a kind that is not plain LoRA, or does not fit.
        BadFile: the model or the adapter are missing or damaged.
    """
    use_threads(TORCH_THREADS)
    record, folder = read_record(model)
    verify_files(model)
    published = adapter.suffix == ".json"
    adapter = folder_of_adapter(adapter)
    full = is_full(adapter)
    settings = read_full_record(adapter) if full else _plain_settings(adapter)
    if not published:  # its author's name for the base was compared when it was fetched
        _check_base(adapter, settings, record)
    tensors = base_tensors(folder)
    changes = _replacements_of(adapter) if full else _updates_of(adapter, settings)
    updates = _matched(changes, tensors, adapter)
    fresh = unfinished(out)
    fresh.mkdir(parents=True)
    shards = shared_out(tensors, dtype, int(shard_gigabytes * GIGABYTE))
    names = [WHOLE] if len(shards) == 1 else [_shard_name(n, len(shards)) for n in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        write_shard(fresh / name, shard, updates, dtype)
    places = {tensor.published: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    if len(shards) > 1:
        size = sum(_bytes_of(tensor, dtype) for tensor in tensors)
        write_json(fresh / INDEX, {"metadata": {"total_size": size}, "weight_map": places})
    _copy_besides(folder, record, fresh, dtype)
    write_provenance(
        fresh / "provenance.json",
        {
            "base": record.public_name,
            "revision": record.revision,
            "adapter": adapter_content(adapter),
            "merged_into": "the base at its own precision, without quantisation",
            "dtype": dtype,
            "tensors": len(tensors),
            "merged_tensors": len(updates),
            "files": {file.name: sha256_of_file(file) for file in sorted(fresh.iterdir())},
        },
    )
    put_in_place(out, fresh)
    return f"merged {len(updates)} of {len(tensors)} tensors into {record.public_name}: {len(shards)} files of weights"


def base_tensors(folder: Path) -> list[Tensor]:
    """The tensors of a checkpoint, from its index or its one file.

    Raises:
        Refused: it has neither, or two tensors have one name once levels that libraries add are left out.
    """
    if (folder / INDEX).is_file():
        weight_map = read_json(folder / INDEX)["weight_map"]  # type: ignore[index]
        files = sorted({folder / name for name in weight_map.values()})
    elif (folder / WHOLE).is_file():
        files = [folder / WHOLE]
    else:
        raise Refused(f"{folder} has neither {WHOLE} nor {INDEX}: give a checkpoint as transformers saves it")
    tensors = []
    for file in files:
        with safe_open(file, "pt") as stream:
            for name in stream.keys():  # noqa: SIM118 (not a mapping)
                part = stream.get_slice(name)
                tensors.append(Tensor(name, file, part.get_dtype(), tuple(part.get_shape())))
    if len({core_name(tensor.name) for tensor in tensors}) < len(tensors):
        raise Refused(f"{folder} holds two tensors of one name: it is no checkpoint of a family that is tuned here")
    return tensors


def core_name(name: str) -> str:
    """A tensor's name without the levels by which files and modules of one network differ.

    `language_model.model.layers.0.…` in a published file is `model.language_model.layers.0.…` in memory.
    """
    return ".".join(part for part in name.split(".") if part not in ("model", "vision_model", "language_model"))


def shared_out(tensors: Sequence[Tensor], dtype: str, most: int) -> list[list[Tensor]]:
    """The tensors in their order, in groups of at most `most` bytes; a larger one stands alone."""
    shards: list[list[Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        own = _bytes_of(tensor, dtype)
        if shards[-1] and size + own > most:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += own
    return shards


def write_shard(path: Path, tensors: Sequence[Tensor], updates: Mapping[str, Change], dtype: str) -> None:
    """Write one safetensors file, tensor by tensor: length of the header, header, data without gaps.

    Args:
        path: file to write.
        tensors: what it holds.
        updates: by the tensor's name in the base.
        dtype: base or float32.

    Raises:
        Refused: a merged weight is not finite.
    """
    ordered = sorted(tensors, key=lambda tensor: (-_width(tensor, dtype), tensor.published))  # aligned, as the library
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for tensor in ordered:
        stop = start + _bytes_of(tensor, dtype)
        kind = _written(tensor, dtype)
        header[tensor.published] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, stop]}
        start = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for data in _data_of(ordered, updates, dtype):
            stream.write(data)


def _data_of(tensors: Sequence[Tensor], updates: Mapping[str, Change], dtype: str) -> Iterator[memoryview]:
    """The bytes of each tensor as it is written."""
    with ExitStack() as stack:
        files = {file: stack.enter_context(safe_open(file, "pt")) for file in sorted({t.file for t in tensors})}
        for tensor in tensors:
            weight = files[tensor.file].get_tensor(tensor.name)
            if (update := updates.get(tensor.name)) is not None:
                merged = update.added_to(weight)
                weight = merged.to(_DTYPES[_written(tensor, dtype)])
                if not torch.isfinite(weight).all():
                    raise Refused(
                        f"{tensor.name} is not finite once merged: the adapter is damaged, or its run was lost"
                    )
            elif _written(tensor, dtype) != tensor.dtype:
                weight = weight.float()
            yield memoryview(weight.contiguous().reshape(-1).view(torch.uint8).numpy())


def _plain_settings(adapter: Path) -> dict[str, Any]:
    """The adapter's settings; raises Refused where they are not those of a plain LoRA."""
    settings = read_json(adapter / "adapter_config.json")
    if not isinstance(settings, dict) or settings.get("peft_type") != "LORA":
        raise Refused(f"{adapter} is not a LoRA adapter; only such are merged")
    odd = [key for key, value in _PLAIN.items() if settings.get(key, value) != value]
    odd += [key for key in _EMPTY if settings.get(key)]
    if odd:
        raise Refused(f"{adapter}: its settings {', '.join(odd)} are not those of a plain LoRA: merge it with PEFT")
    return settings


def _check_base(adapter: Path, settings: Mapping[str, Any], record: ModelRecord) -> None:
    """See that the adapter was trained on this base; raises Refused where it was not."""
    place = adapter / "provenance.json"
    known = read_json(place) if place.is_file() else None
    revision = known.get("revision") if isinstance(known, dict) else settings.get("revision")
    name = settings.get("base_model_name_or_path")
    if name != record.public_name or revision not in (None, record.revision):
        raise Refused(
            f"{adapter} was trained on {name} at {revision}, and the model is {record.public_name} at "
            f"{record.revision}: train it again, or configure its base"
        )


def _updates_of(adapter: Path, settings: Mapping[str, Any]) -> dict[str, Change]:
    """What the adapter adds, by the core name of the weight."""
    rank, alpha = settings["r"], settings["lora_alpha"]
    scale = alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank
    sides: dict[str, dict[str, torch.Tensor]] = {}
    with safe_open(adapter / "adapter_model.safetensors", "pt") as stream:
        for key in stream.keys():  # noqa: SIM118 (not a mapping)
            match = _ADAPTER_KEY.match(key)
            if match is None:
                raise Refused(f"{adapter}: {key} is no part of a plain LoRA: merge it with PEFT")
            sides.setdefault(core_name(f"{match['module']}.weight"), {})[match["side"]] = stream.get_tensor(key)
    if halves := [name for name, pair in sides.items() if len(pair) < 2]:
        raise Refused(f"{adapter} lacks one of the two matrices of {halves[0]}; run the training again")
    return {name: Update(pair["A"], pair["B"], scale) for name, pair in sides.items()}


def _replacements_of(folder: Path) -> dict[str, Change]:
    """The weights that were trained in full, by their core name."""
    return {core_name(name): Replacement(weight) for name, weight in load_file(folder / FULL_WEIGHTS).items()}


def _matched(updates: Mapping[str, Change], tensors: Sequence[Tensor], adapter: Path) -> dict[str, Change]:
    """Updates by the name of their tensor in the base; raises Refused where one has no place or does not fit."""
    by_core = {core_name(tensor.name): tensor for tensor in tensors}
    matched = {}
    for name, update in updates.items():
        tensor = by_core.get(name)
        if tensor is None or tensor.dtype not in _DTYPES:
            raise Refused(f"{adapter} adapts {name}, which the base has no weight for")
        if tensor.shape != update.shape:
            given, expected = (" × ".join(map(str, shape)) for shape in (update.shape, tensor.shape))
            raise Refused(f"{adapter} adapts {name} as {given}, and the base's is {expected}")
        matched[tensor.name] = update
    return matched


def _copy_besides(folder: Path, record: ModelRecord, out: Path, dtype: str) -> None:
    """Copy what a loader reads besides weights: configuration, tokenizer, processor, chat template."""
    for name in record.files:
        if "/" in name or name.endswith((".safetensors", ".safetensors.index.json")):
            continue
        if name == "config.json" and dtype == "float32":
            write_json(out / name, _in_float32(read_json(folder / name)))
        else:
            shutil.copyfile(folder / name, out / name)


def _in_float32(value: object) -> object:
    """A model's configuration whose types are float32 wherever it names one."""
    if not isinstance(value, dict):
        return value
    return {key: "float32" if key in ("dtype", "torch_dtype") else _in_float32(part) for key, part in value.items()}


def _written(tensor: Tensor, dtype: str) -> str:
    return "F32" if dtype == "float32" and tensor.dtype in _DTYPES else tensor.dtype


def _width(tensor: Tensor, dtype: str) -> int:
    """Bytes of one value."""
    kind = _written(tensor, dtype)
    return {"BOOL": 1}.get(kind) or int(kind.lstrip("BFIU").split("_")[0]) // 8


def _bytes_of(tensor: Tensor, dtype: str) -> int:
    return math.prod(tensor.shape) * _width(tensor, dtype)


def _shard_name(number: int, count: int) -> str:
    return f"model-{number:05d}-of-{count:05d}.safetensors"


if __name__ == "__main__":
    run_step(merge)
