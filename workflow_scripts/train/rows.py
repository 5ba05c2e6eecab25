"""Training rows: prompt and answer as token ids, by the same functions that inference uses; and their batches."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.rows import Row
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.vision_features import FeatureStore, open_converted


class TrainingRow(TypedDict):
    """A row of a split as token ids; `datasets` takes dicts."""

    input_ids: list[int]  # prompt and answer
    labels: list[int]  # -100 on the prompt
    image_hashes: list[str]
    image_paths: list[str]
    length: int  # tokens


def training_row(row: Row, prompt: Prompt, loaded: Loaded) -> TrainingRow:
    """One row of a split as the trainer takes it."""
    messages = chat(row.question, len(row.images), prompt.system)
    before = loaded.family.prompt_ids(loaded.processor, messages)
    answer = loaded.family.answer_ids(loaded.processor, row.answer)
    return {
        "input_ids": before + answer,
        "labels": [-100] * len(before) + answer,
        "image_hashes": [image.sha256 for image in row.images],
        "image_paths": [image.path for image in row.images],
        "length": len(before) + len(answer),
    }


def hold_back(rows: Sequence[Row], count: int, seed: int) -> tuple[list[int], list[int]]:
    """Places of the rows to train on and of about `count` to evaluate on, at most a fifth of the rows.

    Whole cases are held back, in turn from each subset and task; they follow a seeded hash, so that adding a row moves
    no other.
    """
    cases: dict[tuple[str, str], list[int]] = {}
    for place, row in enumerate(rows):
        cases.setdefault((row.subset, row.case_id), []).append(place)
    strata: dict[tuple[str, str], list[list[int]]] = {}
    for key in sorted(cases, key=lambda key: hashlib.sha256(repr((seed, key)).encode()).digest()):
        first = rows[cases[key][0]]
        strata.setdefault((first.subset, first.task), []).append(cases[key])
    held: list[int] = []
    for turn in range(max(map(len, strata.values()), default=0)):
        for stratum in sorted(strata):
            if turn < len(strata[stratum]) - 1 and len(held) < min(count, len(rows) // 5):
                held += strata[stratum][turn]
    chosen = set(held)
    return [place for place in range(len(rows)) if place not in chosen], sorted(chosen)


class LikeLengths(Sampler):
    """Batches of like length in random order, the same for one seed and epoch.

    transformers' own sampler draws from the global generator, so that a run resumed within an epoch would see
    other rows than an undisturbed one.
    """

    def __init__(self, lengths: list[int], batch: int, seed: int) -> None:
        self._lengths, self._batch, self._seed, self._epoch = lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of `epoch`; the trainer calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + 7919 * self._epoch)
        order = get_length_grouped_indices(self._lengths, self._batch, generator=generator)
        batches = [order[i : i + self._batch] for i in range(0, len(order), self._batch)]
        # The longest batch stays first, to meet a lack of memory at once; a shorter last one stays last.
        full = len(batches) - (len(batches[-1]) < self._batch)
        middle = (1 + torch.randperm(max(0, full - 1), generator=generator)).tolist()
        for place in [0, *middle, *range(max(1, full), len(batches))]:
            yield from batches[place]


@dataclass
class Collator:
    """Pads rows on the right and adds their images: plain tensors, so that memory can be pinned.

    With `features`, images are the tower's stored output; a recipe that tunes the tower has none of these, and takes
    the pixels below `root`.
    """

    loaded: Loaded
    root: Path
    features: FeatureStore | None

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, torch.Tensor]:
        longest = max(row["length"] for row in rows)
        ids = torch.full((len(rows), longest), self.loaded.processor.tokenizer.pad_token_id)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : row["length"]] = torch.tensor(row["input_ids"])
            labels[i, : row["length"]] = torch.tensor(row["labels"])
            mask[i, : row["length"]] = 1
        prompt_lengths = [row["labels"].count(-100) for row in rows]
        return {
            "input_ids": ids,
            "labels": labels,
            "attention_mask": mask,
            "token_type_ids": self.loaded.family.token_types(self.loaded.processor, ids, prompt_lengths),
            **self._images(rows),
        }

    def _images(self, rows: Sequence[TrainingRow]) -> dict[str, torch.Tensor]:
        if self.features is not None:
            return {"pooled_features": self.features.read([sha for row in rows for sha in row["image_hashes"]])}
        shown = [pair for row in rows for pair in zip(row["image_paths"], row["image_hashes"], strict=True)]
        images = [open_converted(self.root, path, sha256) for path, sha256 in shown]
        return {"pixel_values": self.loaded.family.pixels(self.loaded.processor, images)}


def part_of(batch: dict[str, torch.Tensor], places: list[int], loaded: Loaded) -> dict[str, torch.Tensor]:
    """The rows of a collated batch at `places`, with their images, cut to the longest of them."""
    ids = batch["input_ids"]
    counts = (ids == loaded.family.image_token_id(loaded.processor)).sum(1) // loaded.family.image_tokens(
        loaded.base.config
    )
    starts = torch.cumsum(counts, 0) - counts
    images = [start + n for place in places for start in [int(starts[place])] for n in range(int(counts[place]))]
    longest = int(batch["attention_mask"][places].sum(1).max())
    return {
        name: tensor[images] if name in ("pooled_features", "pixel_values") else tensor[places, :longest]
        for name, tensor in batch.items()
    }
