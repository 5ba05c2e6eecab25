"""Laying weights that were trained in full over the base that they belong to."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel

from workflow_scripts.core.files import BadFile
from workflow_scripts.models.record import FULL_WEIGHTS, read_full_record
from workflow_scripts.models.runtime import first_line


@torch.no_grad()
def lay_over(model: PreTrainedModel, folder: Path, revision: str) -> None:
    """Put the weights in the place of the base's own, rounded once to the type that the base was loaded in.

    Args:
        model: the base.
        folder: of the weights.
        revision: of the base.

    Raises:
        BadFile: the weights are damaged, of another base, or do not fit.
    """
    record = read_full_record(folder)
    if record.get("revision") != revision:
        raise BadFile(
            f"{folder} holds weights of {record.get('base_model_name_or_path')} at {record.get('revision')}, and the "
            f"model is at {revision}: train this system again"
        )
    try:
        tensors = load_file(folder / FULL_WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BadFile(f"{folder} cannot be loaded as weights ({first_line(error)}); delete it and run again") from None
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            raise BadFile(f"{folder}: {name} is no weight of this model, or has another shape; train this system again")
        parameters[name].copy_(tensor)
