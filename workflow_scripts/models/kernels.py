"""Faster arithmetic for training, where it is installed and measured to help; the sums stay the model's own."""

import importlib.util

import torch
from peft import PeftModel

from workflow_scripts.models.fused_lora import fuse_lora


def speed_up_training(model: PeftModel) -> str:
    """Fuse the adapters' sums and, on a GPU, norms, rotary embedding and gated units; say what was done."""
    said = [f"{fuse_lora(model)} fused LoRA projections"]
    base = model.get_base_model()
    if base.device.type == "cuda" and base.config.model_type == "gemma3":
        if importlib.util.find_spec("liger_kernel") is None:
            said.append("no Liger kernels: liger-kernel is not installed")
        else:
            from liger_kernel.transformers import apply_liger_kernel_to_gemma3_text

            apply_liger_kernel_to_gemma3_text(fused_linear_cross_entropy=False, model=base.model.language_model)
            said.append("Liger's RMSNorm, RoPE and GeGLU")
    torch.set_float32_matmul_precision("high")
    return ", ".join(said)
