"""Whether a model has an adapter, asked without PEFT: importing it takes two seconds of every job that loads none."""

import sys
from typing import Any, TypeGuard

import torch


def is_adapted(model: torch.nn.Module) -> TypeGuard[Any]:
    """Whether `model` is a `peft.PeftModel`; where PEFT has not been imported, none can be."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, peft.PeftModel)
