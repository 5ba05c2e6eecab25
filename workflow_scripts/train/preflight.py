"""Preflight checks: what must hold before the first step; a job that trains on anything else is stopped."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from peft import PeftModel

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Row
from workflow_scripts.models.families.family import Size
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.prompts import chat_of, closing_fault, length_fault
from workflow_scripts.train.rows import TrainingRow


def check_rows(sources: Sequence[Row], rows: Sequence[TrainingRow], prompt: Prompt, loaded: Loaded) -> None:
    """The inference prompt, one BOS, whole image blocks, and labels that cover exactly the answer and the end of turn.

    A row is no longer than the model can read, and the question of images with roles follows them.

    Args:
        sources: rows of the split.
        rows: the same as token ids.

    Raises:
        Refused: the first row that breaks a rule, by its uid.
    """
    family, processor, tokenizer = loaded.family, loaded.processor, loaded.processor.tokenizer
    image_token, context = family.image_token_id(processor), family.context(loaded.base.config)
    for source, row in zip(sources, rows, strict=True):
        name = f"training row {source.uid}"
        ids, labels, sizes = row["input_ids"], row["labels"], row["image_sizes"]
        image_tokens: list[int] = []
        if image_token is not None:
            if (fault := family.check_images(processor, sizes)) is not None:
                raise Refused(f"{name}: {fault}")
            image_tokens = [family.image_tokens(processor, size) for size in sizes]
            shown, expected = ids.count(image_token), sum(image_tokens)
            if shown != expected:
                raise Refused(f"{name} has {shown} image tokens for {len(sizes)} images, expected {expected}")
        _check_bos(name, ids, loaded, sizes)
        learned = [label for label in labels if label != -100]
        if labels[-len(learned) :] != learned or learned != ids[-len(learned) :]:
            raise Refused(f"{name}: the labels are not the end of the row")
        text = tokenizer.decode(learned)
        if text != source.answer + family.end_of_answer(processor):
            raise Refused(f"{name}: the labels read {text!r}, expected the answer and the end of turn")
        words = chat_of(source, prompt.of(source.task))
        inference_prompt = family.prompt_ids(processor, words, sizes)
        if (fault := length_fault(len(ids), image_tokens, context)) is not None:
            raise Refused(f"{name}: {fault}")
        if any(image.role for image in source.images):
            fault = closing_fault(partial(family.prompt_ids, processor, sizes=sizes), words, image_token)
            if fault is not None:
                raise Refused(f"{name}: {fault}")
        if ids[: -len(learned)] != inference_prompt:
            raise Refused(f"{name}: its prompt is not the one that inference will ask")


def _check_bos(name: str, ids: list[int], loaded: Loaded, sizes: Sequence[Size]) -> None:
    bos, place = loaded.processor.tokenizer.bos_token_id, loaded.family.bos_place(loaded.processor, sizes)
    if place is None:
        return
    count = ids.count(bos)
    if count != 1 or ids[place] != bos:
        raise Refused(f"{name} has {count} BOS tokens, expected one, at place {place}")


def check_batch(batch: dict[str, Any], loaded: Loaded) -> None:
    """A collated batch has what the family says of its tokens, and as many rows of features as it shows image tokens.

    Raises:
        Refused: token types or positions are missing or misplaced, or images and image tokens do not match.
    """
    family, processor, ids = loaded.family, loaded.processor, batch["input_ids"]
    sizes, left = list(batch.get("image_sizes", [])), list(batch.get("image_counts", [0] * len(ids)))
    of_rows = [[sizes.pop(0) for _ in range(count)] for count in left]
    prompts = [int((labels != -100).long().argmax()) for labels in batch["labels"]]
    for key, tensor in family.text_inputs(processor, ids, batch["attention_mask"], of_rows, prompts).items():
        if batch.get(key) is None or not torch.equal(batch[key], tensor):
            raise Refused(f"the batch has no {key}, or wrong ones: tokens would not see what they should")
    if not family.reads_images:
        return
    shown = int((ids == family.image_token_id(processor)).sum())
    expected = sum(family.image_tokens(processor, size) for size in batch.get("image_sizes", []))
    if shown != expected:
        raise Refused(f"the batch shows {shown} image tokens, and its images have {expected}")
    given = next((len(batch[name]) for name in ("features", "pixels") if name in batch), 0)
    entries = sum(batch.get("image_entries", []))
    if given != entries or ("features" in batch and entries != shown):
        raise Refused(f"the batch's images have {entries} entries, and it brings {given}")


def check_float8(device: torch.device, text_model_type: str) -> None:
    """A recipe's fp8 can be followed on this device with this language model.

    Args:
        text_model_type: transformers' name of the language model's architecture.

    Raises:
        Refused: the device has no such products, or the model's layers have none.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (9, 0):
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
        raise Refused(f"the recipe's fp8 needs an H100 or newer, and this job has {name}: set fp8 to false")
    if text_model_type != "gemma3_text":
        raise Refused(
            f"the recipe's fp8 is for Gemma 3, and the model's language part is {text_model_type}: set it to false"
        )


def check_adapter(model: PeftModel, targets: str, tower: torch.nn.Module | None) -> None:
    """The adapter touches what the recipe names: the language model alone, unless it says all-linear.

    Args:
        tower: the network that looks at pixels.

    Raises:
        Refused: nothing is adapted, or something that the recipe does not name.
    """
    of_tower = {id(parameter) for parameter in tower.parameters()} if tower is not None else set()
    touched = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    strange = [name for name in touched if "lora_" not in name]
    if targets != "all-linear":
        strange += [name for name, parameter in touched.items() if id(parameter) in of_tower]
    if not touched or strange:
        raise Refused(f"the adapter's targets {targets!r} gave {len(touched)} tensors; unexpected: {strange[:3]}")
