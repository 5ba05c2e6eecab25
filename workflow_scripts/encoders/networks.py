"""An encoder below a head: loaded from a checkpoint with a fresh head, or from what was tuned."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.record import read_record, verify_files
from workflow_scripts.models.runtime import first_line
from workflow_scripts.tasks.encodings import Head

CLASSES: dict[Head, Any] = {
    "tokens": AutoModelForTokenClassification,
    "classes": AutoModelForSequenceClassification,
    "number": AutoModelForSequenceClassification,
    "span": AutoModelForQuestionAnswering,
}


def device_of(gpus: int) -> torch.device:
    """The GPU of the job, or the CPU.

    Raises:
        Refused: the GPU is missing.
    """
    if gpus and not torch.cuda.is_available():
        raise Refused("the encoder asks for a GPU (`gpus`), and torch sees none; set `gpus: 0`")
    return torch.device("cuda" if gpus else "cpu")


def fresh_network(
    record: Path, head: Head, labels: Sequence[str], marks: Sequence[str], seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The encoder of a record below a head that is new, in float32, and its tokenizer, which knows `marks`.

    Raises:
        BadFile: it cannot be loaded, or changed since the record.
    """
    _, folder = read_record(record)
    verify_files(record)
    torch.manual_seed(seed)
    model, tokenizer = _load(folder, head, labels)
    verify_files(record)  # once more: files that changed while they were read
    if marks:
        tokenizer.add_tokens(list(marks), special_tokens=True)
        model.resize_token_embeddings(max(len(tokenizer), model.get_input_embeddings().num_embeddings))
    return model, tokenizer


def tuned_network(folder: Path, head: Head, labels: Sequence[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """What was tuned and published in `folder`.

    Raises:
        BadFile: it cannot be loaded.
    """
    return _load(folder, head, labels)


def _load(folder: Path, head: Head, labels: Sequence[str]) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    options: dict[str, Any] = {}
    if head in ("tokens", "classes"):
        names = dict(enumerate(labels))
        options = {"id2label": names, "label2id": {name: number for number, name in names.items()}}
        if head == "classes":  # said, because one class alone would be taken for a number
            options["problem_type"] = "single_label_classification"
    elif head == "number":
        options = {"num_labels": 1}  # which the library takes for a number
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_fast=True)
        model = CLASSES[head].from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            **options,
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise BadFile(f"{folder} is no encoder with a tokenizer and a head of this kind: {first_line(error)}") from None
    if not tokenizer.is_fast:
        raise BadFile(f"{folder}: its tokenizer does not say where its tokens stand; add a tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise BadFile(f"{folder}: its tokenizer has no token to pad with; it is no encoder's")
    return model, tokenizer


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, length: int) -> int:
    """Tokens that are read at once: at most `length`, what the tokenizer says, and positions that there are."""
    positions = getattr(model.config, "max_position_embeddings", None) or length
    if model.config.model_type in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"):
        positions -= 2  # they count from the padding's place on
    return int(min(length, tokenizer.model_max_length, positions))
