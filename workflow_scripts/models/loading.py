"""Loading a model for real: device, dtype, 4-bit quantisation, adapter; never remote code, never a silent fall-back."""

import gc
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import BitsAndBytesConfig, PreTrainedModel, ProcessorMixin

from workflow_scripts.core.files import BadFile
from workflow_scripts.models.adapters.full_weights import lay_over
from workflow_scripts.models.adapters.loading import ADAPTER, with_adapter
from workflow_scripts.models.families.family import Family
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.images.size import with_squares
from workflow_scripts.models.record import is_full, read_record, verify_files
from workflow_scripts.models.runtime import best_device, compute_dtype, first_line


@dataclass(frozen=True)
class Loaded:
    """A model with its processor and the family that knows how to drive it."""

    model: PreTrainedModel | PeftModel
    processor: ProcessorMixin
    family: Family
    revision: str

    @property
    def base(self) -> PreTrainedModel:
        """The network without the adapter's wrapper."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def adapted(self) -> bool:
        """Whether an adapter is loaded."""
        return isinstance(self.model, PeftModel)

    @property
    def device(self) -> torch.device:
        return self.base.device


def load(record: Path, *, quantisation: str = "none", adapter: Path | None = None) -> Loaded:
    """Load the model of `record` on the best device, from the bytes that the record names and no others.

    Args:
        record: of the model.
        quantisation: none or nf4.
        adapter: folder of an adapter, or record of a published one.

    Raises:
        BadFile: the record, the weights or the adapter are missing or damaged, or files changed since the record.
    """
    described, folder = read_record(record)
    verify_files(record)
    family = with_squares(load_family(described.family), described.image_size, described.image_pad)
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
    elif adapter is not None:
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
    if isinstance(model, PeftModel):
        model.delete_adapter(ADAPTER)  # first: of modules that were trained whole, `unload` would leave the copies
        model = model.unload()
        gc.collect()
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
    if adapter is not None:
        model = with_adapter(model, adapter)
    model.eval()
    return replace(loaded, model=model)


def _keep_plain_layout(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from repacking weights on CPUs with AVX512-BF16: training after evaluation would fail."""
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
