"""Faster arithmetic where it is installed and measured to help; the sums stay the model's own."""

import importlib.util
import sys
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from workflow_scripts.core.command import Refused
from workflow_scripts.models.adapters.adapted import is_adapted

if TYPE_CHECKING:
    from peft import PeftModel

LIGER = {
    "gemma3_text": ("gemma3_text", "RMSNorm, RoPE and GeGLU"),
    "llama": ("llama", "RMSNorm, RoPE and SwiGLU"),
    "mistral": ("mistral", "RMSNorm, RoPE and SwiGLU"),
    "qwen2": ("qwen2", "RMSNorm, RoPE and SwiGLU"),
}
"""A language model's architecture, as transformers calls it → the end of Liger's function, and what that replaces."""


def layers_in_use(device_type: str, text_model_type: str, *, training: bool) -> str:
    """Liger's layers, and those of inference in one pass, that a model will have; known before it is loaded.

    Gemma 3's layers in few passes, which `speed_up_training` puts around adapters on a GPU, are not among them.

    Args:
        device_type: cuda or cpu.
        text_model_type: transformers' name of the language model's architecture.
    """
    if device_type != "cuda" or text_model_type not in LIGER:
        return "the model's own layers"
    installed = importlib.util.find_spec("liger_kernel") is not None
    replaced = f"Liger's {LIGER[text_model_type][1]}"
    layers = replaced if installed else "the model's own layers: liger-kernel is not installed"
    one_pass = text_model_type == "gemma3_text" and not training
    return f"{layers}, one pass for heads and gated units" if one_pass else layers


def speed_up_training(model: "PreTrainedModel | PeftModel", *, float8: bool = False) -> str:
    """Fuse the adapters' sums, where there are any, and the layers; say what was done.

    Args:
        float8: whether products of frozen weights that have adapters are of 8-bit codes.

    Raises:
        Refused: they are to be, and this model, its adapters or the device do not fit.
    """
    torch.set_float32_matmul_precision("high")
    if not is_adapted(model):
        return _fuse_layers(model, training=True)
    from workflow_scripts.models.fused.lora import fuse_lora

    base = model.get_base_model()
    said = f"{fuse_lora(model)} fused LoRA projections, {_fuse_layers(base, training=True)}"
    layers = 0
    if base.device.type == "cuda" and base.config.get_text_config().model_type == "gemma3_text":
        from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

        layers = fuse_layers_for_training(model, float8=float8)
        said += f", {layers} layers in few passes"
    if float8 and not layers:
        raise Refused(
            "fp8 is for a Gemma 3 on a GPU with adapters on all projections, whose ranks fit its shared memory (128 at "
            "most on an H100): set the recipe's fp8 to false, or lower lora.r"
        )
    return said + (", frozen products in 8 bits" if float8 else "")


def speed_up_inference(model: "PreTrainedModel | PeftModel") -> str:
    """Fuse the adapters' sums, in the base's dtype, and the layers; say what was done."""
    base = model.get_base_model() if is_adapted(model) else model
    fused = ""
    if is_adapted(model):
        from workflow_scripts.models.fused.lora import fuse_lora

        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.to(base.dtype)
        fused = f"{fuse_lora(model)} fused LoRA projections, "
    return fused + _fuse_layers(base, training=False)


def _fuse_layers(base: PreTrainedModel, *, training: bool) -> str:
    """On a GPU, put Liger's norms, rotary embedding and gated units into the language model, and one-pass ones."""
    text_model_type = base.config.get_text_config().model_type
    if base.device.type == "cuda" and text_model_type in LIGER:
        if importlib.util.find_spec("liger_kernel") is not None:
            import liger_kernel.transformers

            apply = getattr(liger_kernel.transformers, f"apply_liger_kernel_to_{LIGER[text_model_type][0]}")
            apply(fused_linear_cross_entropy=False, model=base.get_decoder())
            if text_model_type != "gemma3_text":
                _rotate_as_one_row(sys.modules[type(base.get_decoder()).__module__])
        if text_model_type == "gemma3_text" and not training:
            from workflow_scripts.models.fused.gemma3_inference import fuse_layers_for_inference

            fuse_layers_for_inference(base)
    return layers_in_use(base.device.type, text_model_type, training=training)


def _rotate_as_one_row(module: Any) -> None:
    """Give Liger's rotary embedding all rows as one: for each number of rows, it would compile a kernel of its own."""
    rotate = module.apply_rotary_pos_emb

    def rotated(query, key, cos, sin, **kwargs):
        rows, _, tokens, width = query.shape
        if cos.shape[0] != rows:
            return rotate(query, key, cos, sin, **kwargs)
        flat = (x.transpose(1, 2).reshape(1, rows * tokens, -1, width).transpose(1, 2) for x in (query, key))
        angles = (angle.reshape(1, rows * tokens, -1) for angle in (cos, sin))
        out = rotate(*flat, *angles, **kwargs)
        return tuple(x.transpose(1, 2).reshape(rows, tokens, -1, width).transpose(1, 2) for x in out)

    module.apply_rotary_pos_emb = rotated
