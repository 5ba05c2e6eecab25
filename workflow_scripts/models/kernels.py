"""Faster arithmetic where it is installed and measured to help; the sums stay the model's own."""

import importlib.util

import torch
from peft import PeftModel
from transformers import PreTrainedModel

from workflow_scripts.models.fused_lora import fuse_lora


def fuse_layers(base: PreTrainedModel) -> str:
    """On a GPU, put Liger's norms, rotary embedding and gated units into a Gemma 3; say what was done."""
    if base.device.type != "cuda" or base.config.get_text_config().model_type != "gemma3_text":
        return "the model's own layers"
    if importlib.util.find_spec("liger_kernel") is None:
        return "the model's own layers: liger-kernel is not installed"
    from liger_kernel.transformers import apply_liger_kernel_to_gemma3_text

    apply_liger_kernel_to_gemma3_text(fused_linear_cross_entropy=False, model=base.get_decoder())
    return "Liger's RMSNorm, RoPE and GeGLU"


def speed_up_training(model: PeftModel) -> str:
    """Fuse the adapters' sums and the layers; say what was done."""
    torch.set_float32_matmul_precision("high")
    return f"{fuse_lora(model)} fused LoRA projections, {fuse_layers(model.get_base_model())}"


def speed_up_inference(model: PreTrainedModel | PeftModel) -> str:
    """Fuse the adapters' sums, in the base's dtype, and the layers; say what was done."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    fused = ""
    if isinstance(model, PeftModel):
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = parameter.data.to(base.dtype)
        fused = f"{fuse_lora(model)} fused LoRA projections, "
    layers = fuse_layers(base)
    if base.device.type == "cuda" and base.config.get_text_config().model_type == "gemma3_text":
        from workflow_scripts.models.inference_kernels import fuse_attention_and_gate

        fuse_attention_and_gate(base)
        layers += ", one pass for heads and gates"
    return fused + layers
