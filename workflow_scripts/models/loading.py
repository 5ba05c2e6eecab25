"""Loading a model for real: device, dtype, 4-bit quantisation, adapter; never remote code, never a silent fall-back."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from peft import PeftModel
from safetensors import SafetensorError
from transformers import AutoProcessor, BitsAndBytesConfig, PreTrainedModel, ProcessorMixin

from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.families import gemma3, paligemma2
from workflow_scripts.models.record import read_record

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


def best_device() -> torch.device:
    """The GPU of this process where there is one, else the CPU.

    FLAREBENCH_DEVICE=cpu in the environment asks for the CPU whatever the job was given.

    Raises:
        Refused: the job was given a GPU that torch cannot use.
    """
    if os.environ.get("FLAREBENCH_DEVICE") == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if given not in ("", "-1", "NoDevFiles"):
        raise Refused(
            f"this job was given GPU {given}, but torch {torch.__version__} sees none: install a build of torch with "
            "CUDA for the node's driver, or export FLAREBENCH_DEVICE=cpu to compute on the CPU"
        )
    return torch.device("cpu")


def compute_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 on a GPU, float32 on the CPU."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def load(record: Path, *, quantisation: str = "none", adapter: Path | None = None) -> Loaded:
    """Load the model of `record` on the best device.

    Raises:
        BadFile: the record, the weights or the adapter are missing or damaged.
    """
    described, folder = read_record(record)
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
            folder, dtype=dtype, device_map={"": device}, use_safetensors=True, local_files_only=True, **options
        )
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{folder} cannot be loaded as a model ({error}); delete {record} and run again") from None
    if quantisation == "nf4":
        _keep_plain_layout(model)
    if adapter is not None:
        if not (adapter / "adapter_model.safetensors").is_file():
            raise BadFile(f"{adapter} holds no adapter_model.safetensors; run the training of this system again")
        try:
            model = PeftModel.from_pretrained(model, adapter)
        except (OSError, SafetensorError) as error:
            raise BadFile(f"{adapter} cannot be loaded as an adapter ({error}); delete it and run again") from None
    model.eval()
    return Loaded(model, processor, family, described.revision)


def _keep_plain_layout(model: PreTrainedModel) -> None:
    """Stop bitsandbytes from repacking weights on CPUs with AVX512-BF16: training after evaluation would fail."""
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False
