"""Published tables whose files and columns are known: one YAML file each, of the keys of a `table` dataset."""

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

Preset = Literal["vqa-rad", "slake", "path-vqa", "chexpert", "chestx-ray14", "chestx-ray14-expert", "mimic-cxr"]

PRESETS: tuple[str, ...] = get_args(Preset)
"""Names of the files in this folder."""


def keys_of(preset: str) -> dict[str, Any]:
    """The keys of a `table` dataset that a preset sets."""
    return dict(_read(preset))


@cache
def _read(preset: str) -> dict[str, Any]:
    keys: dict[str, Any] = yaml.safe_load((Path(__file__).parent / f"{preset}.yaml").read_text(encoding="utf-8"))
    return keys
