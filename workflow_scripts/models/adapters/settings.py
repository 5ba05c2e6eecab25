"""The settings of a LoRA adapter, and which kinds of it are computed here: any other is refused by its name."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.core.files import BadFile, read_json
from workflow_scripts.models.record import ADAPTER_FILES

SETTINGS, WEIGHTS = ADAPTER_FILES
PICKLE = "adapter_model.bin"

_PLAIN: dict[str, Any] = {
    "bias": "none",
    "fan_in_fan_out": False,
    "lora_bias": False,
    "use_bdlora": None,
    "use_dora": False,
    "use_qalora": False,
}
"""Settings of a LoRA whose sums are `W x + scale · B A x`."""

_EMPTY = (
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "layer_replication",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "velora_config",
)
"""Settings that each stand for other sums, or for other weights than those of linear layers."""

_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Beginnings of a training that leave the base as it is; after others (PiSSA, OLoRA, …) it has other weights."""


@dataclass(frozen=True)
class LoraSettings:
    """What of an adapter's settings its sums depend on; ranks are those of its tensors."""

    alpha: float
    alpha_pattern: dict[str, float]
    rank_stabilised: bool  # scale is alpha / √rank instead of alpha / rank
    whole: tuple[str, ...]  # `modules_to_save`: trained whole
    task_type: str | None
    base: str | None  # what the adapter's author calls the base

    def alpha_of(self, module: str) -> float:
        """Alpha of a module, by its name in the adapter's file: that of the first pattern which its end matches."""
        alphas = (alpha for end, alpha in self.alpha_pattern.items() if re.match(rf"(.*\.)?({end})$", module))
        return next(alphas, self.alpha)

    def scale_of(self, module: str, rank: int) -> float:
        """What the product of a module's two matrices is multiplied by."""
        return self.alpha_of(module) / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_settings(folder: Path) -> LoraSettings:
    """The settings of the adapter in `folder`.

    Raises:
        BadFile: they are missing, damaged, or those of a kind that is not computed here.
    """
    if not (folder / SETTINGS).is_file():
        raise BadFile(
            f"{folder} has no {SETTINGS}: it is no LoRA adapter; full weights are an entry of `models`, whose "
            "`checkpoint` names them"
        )
    content = read_json(folder / SETTINGS)
    if not isinstance(content, dict) or not isinstance(content.get("lora_alpha", 8), int | float):
        raise BadFile(f"{folder / SETTINGS} is not an adapter's settings; fetch or train it again")
    if content.get("peft_type") != "LORA":
        raise BadFile(f"{folder} is an adapter of the kind {content.get('peft_type')}; only LoRA is computed here")
    odd = [f"{key}: {content[key]}" for key, plain in _PLAIN.items() if content.get(key, plain) != plain]
    odd += [key for key in _EMPTY if content.get(key)]
    if content.get("init_lora_weights", True) not in _STARTS:
        odd.append(f"init_lora_weights: {content['init_lora_weights']}")
    if odd:
        raise BadFile(
            f"{folder}: {', '.join(odd)} is not plain LoRA, which alone is computed here: merge the adapter into its "
            "base with PEFT, and configure the full weights as an entry of `models`"
        )
    try:
        for pattern in content.get("alpha_pattern") or {}:
            re.compile(pattern)
    except re.error as error:
        raise BadFile(f"{folder / SETTINGS}: alpha_pattern {pattern!r} is no regular expression ({error})") from None
    return LoraSettings(
        alpha=content.get("lora_alpha", 8),
        alpha_pattern=content.get("alpha_pattern") or {},
        rank_stabilised=bool(content.get("use_rslora")),
        whole=tuple(content.get("modules_to_save") or ()),
        task_type=content.get("task_type"),
        base=content.get("base_model_name_or_path"),
    )


def fault_of_adapter(folder: Path, base: str | None = None) -> str | None:
    """Why the files of a published adapter cannot be used beside the checkpoint `base`; None where they can.

    Args:
        base: repository of the hub that the adapter is to be put on; None for a local folder, whose name says nothing.
    """
    if not (folder / WEIGHTS).is_file() and (folder / SETTINGS).is_file():
        return (
            f"has no {WEIGHTS}; pickles ({PICKLE}) run what they hold when they are loaded and are never read: where "
            "you trust their source, convert them (load base and adapter with PEFT in an environment of its own and "
            'call `model.save_pretrained("NEW")`, which writes safetensors), and give the new folder'
        )
    try:
        settings = read_settings(folder)
    except BadFile as error:
        return f"cannot be used: {error}"
    if base is not None and settings.base is not None and not _one_base(base, settings.base):
        return (
            f"was trained on {settings.base}, and the system's model is {base}: configure a model with the adapter's "
            "own base"
        )
    return None


def _one_base(configured: str, named: str) -> bool:
    """Whether two names may stand for one base: a copy or a quantised variant has its name and more behind it.

    Where either is no repository of the hub (a folder on its author's disk), the names say nothing; tensors do.
    """
    if named.startswith((".", "/", "~")) or named.count("/") != 1:
        return True
    ours, theirs = (name.rpartition("/")[2].lower() for name in (configured, named))
    return ours.startswith(theirs) or theirs.startswith(ours)
