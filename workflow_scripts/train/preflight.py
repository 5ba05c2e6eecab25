"""Preflight checks: what must hold before the first step; a job that trains on anything else is stopped."""

from collections.abc import Sequence

import torch
from peft import PeftModel

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.rows import Row
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.prompts import chat
from workflow_scripts.train.rows import TrainingRow


def check_rows(sources: Sequence[Row], rows: Sequence[TrainingRow], prompt: Prompt, loaded: Loaded) -> None:
    """The inference prompt, one BOS, whole image blocks, and labels that cover exactly the answer and the end of turn.

    Args:
        sources: rows of the split.
        rows: the same as token ids.

    Raises:
        Refused: the first row that breaks a rule, by its uid.
    """
    family, config, tokenizer = loaded.family, loaded.base.config, loaded.processor.tokenizer
    image_token, per_image = family.image_token_id(loaded.processor), family.image_tokens(config)
    for source, row in zip(sources, rows, strict=True):
        name = f"training row {source.uid}"
        ids, labels = row["input_ids"], row["labels"]
        images = len(row["image_hashes"])
        shown = ids.count(image_token)
        if shown != per_image * images:
            raise Refused(f"{name} has {shown} image tokens for {images} images")
        count, bos_place = ids.count(tokenizer.bos_token_id), family.bos_place(config, images)
        if count != 1 or ids[bos_place] != tokenizer.bos_token_id:
            raise Refused(f"{name} has {count} BOS tokens, expected one, at place {bos_place}")
        learned = [label for label in labels if label != -100]
        if labels[-len(learned) :] != learned or learned != ids[-len(learned) :]:
            raise Refused(f"{name}: the labels are not the end of the row")
        text = tokenizer.decode(learned)
        if text != source.answer + family.end_of_answer(loaded.processor):
            raise Refused(f"{name}: the labels read {text!r}, expected the answer and the end of turn")
        inference_prompt = family.prompt_ids(loaded.processor, chat(source.question, len(source.images), prompt.system))
        if ids[: -len(learned)] != inference_prompt:
            raise Refused(f"{name}: its prompt is not the one that inference will ask")


def check_batch(batch: dict[str, torch.Tensor], loaded: Loaded) -> None:
    """A collated batch tells the model which tokens are of which type, and has as many images as it shows.

    Raises:
        Refused: token types are missing or misplaced, or images and image tokens do not match.
    """
    family, ids = loaded.family, batch["input_ids"]
    types = batch.get("token_type_ids")
    prompts = [int((labels != -100).long().argmax()) for labels in batch["labels"]]
    if types is None or not torch.equal(types, family.token_types(loaded.processor, ids, prompts)):
        raise Refused("the batch has no token_type_ids, or wrong ones: image tokens would not see each other")
    shown = int((ids == family.image_token_id(loaded.processor)).sum()) // family.image_tokens(loaded.base.config)
    given = len(batch["pooled_features"] if "pooled_features" in batch else batch["pixel_values"])
    if shown != given:
        raise Refused(f"the batch shows {shown} images and brings {given}")


def check_adapter(model: PeftModel, targets: str) -> None:
    """The adapter touches what the recipe names: the language model alone, unless it says all-linear.

    Raises:
        Refused: nothing is adapted, or something that the recipe does not name.
    """
    touched = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    strange = [name for name in touched if "lora_" not in name]
    if targets != "all-linear":
        strange += [name for name in touched if "language_model" not in name]
    if not touched or strange:
        raise Refused(f"the adapter's targets {targets!r} gave {len(touched)} tensors; unexpected: {strange[:3]}")
