"""Loading a model for real: device, dtype, 4-bit quantisation, adapter; never remote code, never a silent fall-back."""

import gc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from transformers import BitsAndBytesConfig, PreTrainedModel, ProcessorMixin

from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.adapters.adapted import is_adapted
from workflow_scripts.models.adapters.full_weights import lay_over
from workflow_scripts.models.adapters.loading import ADAPTER, with_adapter
from workflow_scripts.models.families.family import Family
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.fused.float8 import hold_in_float8
from workflow_scripts.models.images.size import with_squares
from workflow_scripts.models.record import is_full, read_record, verify_files
from workflow_scripts.models.runtime import best_device, compute_dtype, first_line, text_model_type

if TYPE_CHECKING:
    from peft import PeftModel

IN_FLOAT8 = ("gemma3_text",)
"""Architectures of language models, by transformers' names, whose layers are computed in 8-bit floating point."""


@dataclass(frozen=True)
class Loaded:
    """A model with its processor and the family that knows how to drive it."""

    model: "PreTrainedModel | PeftModel"
    processor: ProcessorMixin
    family: Family
    revision: str

    @property
    def base(self) -> PreTrainedModel:
        """The network without the adapter's wrapper."""
        return self.model.get_base_model() if is_adapted(self.model) else self.model

    @property
    def adapted(self) -> bool:
        """Whether an adapter is loaded."""
        return is_adapted(self.model)

    @property
    def device(self) -> torch.device:
        return self.base.device


def load(record: Path, *, quantisation: str = "none", adapter: Path | None = None, fp8: bool = False) -> Loaded:
    """Load the model of `record` on the best device, from the bytes that the record names and no others.

    Args:
        record: of the model.
        quantisation: none or nf4.
        adapter: folder of an adapter, or record of a published one.
        fp8: hold the language model's projections in 8-bit floating point alone; see `check_float8`.

    Raises:
        BadFile: the record, the weights or the adapter are missing or damaged, or files changed since the record.
        Refused: `fp8` on a device or of a model that is not for it, or an adapter that replaces one of those layers.
    """
    described, folder = read_record(record)
    verify_files(record)
    family = with_squares(load_family(described.family), described.image_size, described.image_pad)
    if fp8:
        check_float8(folder)
    device = best_device()
    dtype = compute_dtype(device)
    options: dict = {}
    if quantisation == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=list(family.keep_unquantised),
        )
    try:
        model = family.load_model(folder, dtype=dtype, device_map={"": device}, **options)
        processor = family.load_processor(folder)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadFile(
            f"{folder} cannot be loaded as a model ({first_line(error)}); delete {record} and run again"
        ) from None
    verify_files(record)  # once more: files that changed while they were read
    if quantisation == "nf4":
        _keep_plain_layout(model)
    if adapter is not None and is_full(adapter):
        lay_over(model, adapter, described.revision)
    if fp8:
        hold_in_float8(model)
    if adapter is not None and not is_full(adapter):
        model = with_adapter(model, adapter)
    model.eval()
    return Loaded(model, processor, family, described.revision)


def exchanged(loaded: Loaded, adapter: Path | None) -> Loaded:
    """The same network with another adapter in place of its own, which leaves memory first; the base where it is None.

    What was loaded before, and engines on it, are of no use afterwards.

    Raises:
        BadFile: the adapter is missing or damaged.
    """
    model = loaded.model
    if is_adapted(model):
        model.delete_adapter(ADAPTER)  # first: of modules that were trained whole, `unload` would leave the copies
        model = model.unload()
        gc.collect()
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
    if adapter is not None:
        model = with_adapter(model, adapter)
    model.eval()
    return replace(loaded, model=model)


def check_float8(folder: Path) -> None:
    """See that this device computes in 8-bit floating point, and that the model in `folder` has layers for it.

    Raises:
        Refused: it does not, or has none.
        BadFile: the model's configuration cannot be read.
    """
    device, remedy = best_device(), "answer this system with `fp8: false`"
    if device.type != "cuda":
        raise Refused(f"`fp8: true` needs a GPU, an H100 or newer, and this job computes on the CPU: {remedy}")
    if torch.cuda.get_device_capability(device) < (9, 0):
        raise Refused(f"`fp8: true` needs an H100 or newer, not {torch.cuda.get_device_name(device)}: {remedy}")
    if (architecture := text_model_type(folder)) not in IN_FLOAT8:
        raise Refused(
            f"`fp8: true` is for language models of {', '.join(IN_FLOAT8)}, and that in {folder} is {architecture}: "
            f"{remedy}"
        )


def _keep_plain_layout(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from repacking weights on CPUs with AVX512-BF16: training after evaluation would fail."""
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
