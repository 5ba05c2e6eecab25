"""Loading a model for real: device, dtype, 4-bit quantisation, adapter; never remote code, never a silent fall-back."""

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoProcessor, BitsAndBytesConfig, PreTrainedModel, ProcessorMixin

from workflow_scripts.core.files import BadFile
from workflow_scripts.models.families import gemma3, paligemma2
from workflow_scripts.models.record import read_record, verify_files
from workflow_scripts.models.runtime import best_device, compute_dtype, first_line

FAMILIES: dict[str, ModuleType] = {"gemma3": gemma3, "paligemma2": paligemma2}


@dataclass(frozen=True)
class Loaded:
    """A model with its processor and the family that knows how to drive it."""

    model: PreTrainedModel | PeftModel
    processor: ProcessorMixin
    family: ModuleType
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

    Raises:
        BadFile: the record, the weights or the adapter are missing or damaged, or files changed since the record.
    """
    described, folder = read_record(record)
    verify_files(record)
    family = FAMILIES[described.family]
    device = best_device()
    dtype = compute_dtype(device)
    options: dict = {}
    if quantisation == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=family.KEEP_UNQUANTISED,
        )
    try:
        model = family.MODEL.from_pretrained(
            folder,
            dtype=dtype,
            device_map={"": device},
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **options,
        )
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, SafetensorError) as error:
        raise BadFile(
            f"{folder} cannot be loaded as a model ({first_line(error)}); delete {record} and run again"
        ) from None
    verify_files(record)  # once more: files that changed while they were read
    if quantisation == "nf4":
        _keep_plain_layout(model)
    if adapter is not None:
        if not (adapter / "adapter_model.safetensors").is_file():
            raise BadFile(f"{adapter} holds no adapter_model.safetensors; run the training of this system again")
        try:
            model = PeftModel.from_pretrained(model, adapter)
        except (OSError, ValueError, SafetensorError) as error:
            reason = first_line(error)
            raise BadFile(f"{adapter} cannot be loaded as an adapter ({reason}); delete it and run again") from None
    model.eval()
    return Loaded(model, processor, family, described.revision)


def _keep_plain_layout(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from repacking weights on CPUs with AVX512-BF16: training after evaluation would fail."""
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
