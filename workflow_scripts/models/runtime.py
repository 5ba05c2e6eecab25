"""What a model runs on, and what of it changes the bits of a result: device, dtype, library versions, kernels."""

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from transformers import AutoConfig

from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.kernels import layers_in_use

LIBRARIES = ("torch", "transformers", "tokenizers", "pillow", "kornia-rs", "torchvision", "peft")
TRAINING = ("trl", "bitsandbytes", "accelerate")
ON_GPU = ("triton", "liger-kernel")


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


def libraries(*names: str) -> dict[str, str | None]:
    """Versions of installed libraries by name; None for one that is not installed."""
    return {name: _version(name) for name in names}


def identity_of_runtime(
    folder: Path | None = None, *, training: bool = False, device: torch.device | None = None
) -> dict[str, object]:
    """Parts of a cache key: everything about this process that changes the bits of what a model computes.

    How much is computed at a time (batch, threads, processes) is not among them: sums in another order agree within
    rounding. Steps whose results grow from such differences name it themselves.

    Args:
        folder: of the model's files, whose layers decide about the kernels; None where none are replaced.
        training: whether the libraries of the training count too.
        device: where it runs; None takes the best.

    Raises:
        BadFile: the model's configuration cannot be read.
    """
    device = device or best_device()
    names = LIBRARIES + (TRAINING if training else ()) + (ON_GPU if device.type == "cuda" else ())
    return {
        "device": _kind(device),
        "dtype": str(compute_dtype(device)).removeprefix("torch."),
        "kernels": None if folder is None else layers_in_use(device.type, text_model_type(folder), training=training),
        "libraries": libraries(*names),
    }


def text_model_type(folder: Path) -> str:
    """The architecture of a checkpoint's language model, by transformers' name.

    Raises:
        BadFile: the configuration is missing, of no known architecture, or wants code of its own to be run.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise BadFile(f"{folder} cannot be loaded as a model ({first_line(error)})") from None
    return str(config.get_text_config().model_type)


def first_line(error: Exception) -> str:
    """What a library says first of an error."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _kind(device: torch.device) -> str:
    """The kind of device, and what it can do: kernels are chosen by that."""
    if device.type == "cuda":
        return "cuda {}.{}".format(*torch.cuda.get_device_capability(device))
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
