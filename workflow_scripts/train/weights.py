"""What a recipe trains: fresh adapters, or the named projections' own weights in full; and the files of a training.

Weights trained in full are published as the changed tensors alone, in the float32 they were trained in, beside a record
of the base that they belong to (`models.adapters.full_weights`).
"""

import json
import re
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import PreTrainedModel
from transformers.utils import SAFE_WEIGHTS_NAME

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.recipes import Lora, Recipe, Targets
from workflow_scripts.core.files import write_json
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.record import FULL_RECORD, FULL_WEIGHTS, ModelRecord
from workflow_scripts.train.preflight import check_adapter


def trainable(loaded: Loaded, recipe: Recipe) -> PreTrainedModel | PeftModel:
    """The model with what the recipe trains open to gradients, and everything else frozen.

    Raises:
        Refused: that touches nothing, or more than the recipe names.
    """
    if recipe.lora is None:
        open_projections(loaded, recipe.touched)
        return loaded.base
    model = fresh_adapter(loaded, recipe.lora)
    check_adapter(model, recipe.lora.targets, loaded.family.vision_tower(loaded.base))
    return model


def fresh_adapter(loaded: Loaded, lora: Lora) -> PeftModel:
    """The model with fresh adapters, everything else frozen."""
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=loaded.family.lora_targets[lora.targets],
        task_type="CAUSAL_LM",
    )
    return get_peft_model(loaded.base, config)


def open_projections(loaded: Loaded, touched: Targets) -> list[str]:
    """Freeze all parameters but those of the projections that an adapter of these targets would touch; their names.

    Raises:
        Refused: the family has no such projections, or some lie in the vision tower though the recipe keeps it frozen.
    """
    model, pattern = loaded.base, loaded.family.lora_targets[touched]
    output = model.get_output_embeddings()
    model.requires_grad_(False)
    for name, module in model.named_modules():
        named = pattern == "all-linear" or re.fullmatch(pattern, name)
        if named and isinstance(module, torch.nn.Linear) and module is not output:
            module.requires_grad_(True)
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    tower = loaded.family.vision_tower(model)
    strange = tower is not None and touched != "all-linear" and any(p.requires_grad for p in tower.parameters())
    if not names or strange:
        raise Refused(f"weights: {touched} gave {len(names)} tensors{', some of the vision tower' if strange else ''}")
    return names


def save_trained(model: PreTrainedModel, folder: Path) -> None:
    """Write the tensors that are trained, by their names in memory, where the trainer looks for a checkpoint's."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: parameter.detach().float().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    save_file(tensors, folder / SAFE_WEIGHTS_NAME, metadata={"format": "pt"})


def name_full_weights(folder: Path, record: ModelRecord, touched: Targets) -> None:
    """Give the tensors of `save_trained` their published name, and say beside them of which base they are."""
    (folder / SAFE_WEIGHTS_NAME).rename(folder / FULL_WEIGHTS)
    (folder / "training_args.bin").unlink(missing_ok=True)
    about = {
        "weights": touched,
        "dtype": "float32",
        "base_model_name_or_path": record.public_name,
        "revision": record.revision,
    }
    write_json(folder / FULL_RECORD, about)


def note_job(folder: Path, key: str) -> None:
    """Note beside the checkpoints that the job of `key` has worked on them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key}.job").touch()


def jobs_of(folder: Path) -> set[str]:
    """Keys of the jobs that have worked on the checkpoints: an adapter of several is of none of these, and not stored.

    A killed run may go on elsewhere, on another kind of GPU say: the adapter is as good, but its bits are no one's.
    """
    return {file.stem for file in folder.glob("*.job")}


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint below `folder`; one that a kill cut short is removed.

    The trainer's state is the last file that a checkpoint gets.
    """
    complete = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            complete.append((json.loads((checkpoint / "trainer_state.json").read_text())["global_step"], checkpoint))
        except (OSError, ValueError, KeyError):
            print(f"{checkpoint} is incomplete and removed")
            shutil.rmtree(checkpoint)
    return str(max(complete)[1]) if complete else None
