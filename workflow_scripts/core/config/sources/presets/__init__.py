"""Published tables whose files and columns are known: one YAML file each, of the keys of `table` or `signals`."""

from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

Preset = Literal[
    "vqa-rad",
    "slake",
    "path-vqa",
    "medqa",
    "medmcqa",
    "mmlu-medical",
    "medxpertqa",
    "medxpertqa-images",
    "chexpert",
    "chestx-ray14",
    "chestx-ray14-expert",
    "mimic-cxr",
    "nejm-cpc",
    "nejm-cpc-next-test",
    "nejm-healer",
    "grey-matters",
    "probability-cases",
    "mimic-cdm",
    "wearable-activity",
    "wearable-level",
]

SignalPreset = Literal["interbeat-af", "icbhi-cycles", "heart-sounds-2016"]

PRESETS: tuple[str, ...] = get_args(Preset)
"""Names of the files of tables in this folder."""

SIGNAL_PRESETS: tuple[str, ...] = get_args(SignalPreset)
"""Names of the files of signals."""


def keys_of(preset: str) -> dict[str, Any]:
    """The keys that a preset sets."""
    return dict(_read(preset))


@cache
def _read(preset: str) -> dict[str, Any]:
    keys: dict[str, Any] = yaml.safe_load((Path(__file__).parent / f"{preset}.yaml").read_text(encoding="utf-8"))
    return keys
