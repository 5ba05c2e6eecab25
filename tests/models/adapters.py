"""Adapters for tests: as PEFT writes them on a tiny model, and as older versions of transformers named tensors."""

import json
import re
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from workflow_scripts.models.loading import load

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
PREFIX = "base_model.model."


def write_adapter(record: Path, folder: Path, **settings) -> Path:
    """A LoRA of random weights, large enough to change answers, on the model of `record`."""
    torch.manual_seed(0)
    loaded = load(record)
    options = {"r": 4, "lora_alpha": 8, "target_modules": loaded.family.lora_targets["all-linear"]} | settings
    model = get_peft_model(loaded.base, LoraConfig(task_type="CAUSAL_LM", **options))
    for name, weight in model.named_parameters():
        if "lora_B" in name or "lora_magnitude" in name:
            torch.nn.init.normal_(weight, std=0.5)
        elif "modules_to_save" in name:
            weight.data += 0.05 * torch.randn_like(weight)
    model.save_pretrained(folder)
    return folder


def renamed(adapter: Path, folder: Path, rules: dict[str, str]) -> Path:
    """A copy of an adapter whose tensors have other names, by regular expressions and what stands for them."""
    shutil.copytree(adapter, folder)
    tensors = load_file(adapter / WEIGHTS)
    written = {}
    for key, tensor in tensors.items():
        name = key.removeprefix(PREFIX)
        for pattern, text in rules.items():
            name = re.sub(pattern, text, name)
        written[PREFIX + name] = tensor
    assert len(written) == len(tensors) and written.keys() != tensors.keys()
    save_file(written, folder / WEIGHTS)
    return folder


def with_settings(adapter: Path, folder: Path, **changes) -> Path:
    """A copy of an adapter with other settings."""
    shutil.copytree(adapter, folder)
    settings = json.loads((adapter / SETTINGS).read_text())
    (folder / SETTINGS).write_text(json.dumps(settings | changes))
    return folder
