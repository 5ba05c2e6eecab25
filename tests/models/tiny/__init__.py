"""Tiny random checkpoints of each family, in its real classes."""

import importlib
from pathlib import Path

BUILDERS = {
    "qwen3_vl": "qwen:build_qwen3_vl",
    "idefics3": "idefics3:build",
    "qwen2_5_vl": "qwen:build_qwen2_5_vl",
    "qwen3_5": "qwen:build_qwen3_5",
    "internvl": "internvl:build",
    "llava": "llava:build",
    "chexagent": "chexagent:build",
    "text": "text:build_text",
    "paligemma2": "paligemma2:build",
}
"""Module here and its function, by family; Gemma 3 is the toy model."""


def build(family: str, folder: Path) -> None:
    """Write the checkpoint of a family into a folder."""
    module, _, function = BUILDERS[family].partition(":")
    getattr(importlib.import_module(f"tests.models.tiny.{module}"), function)(folder)
