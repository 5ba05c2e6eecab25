"""Training rows: prompt and answer as token ids, by the same functions that inference uses; and their batches."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Row
from workflow_scripts.models.families.family import Size, arguments
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.prompts import chat_of
from workflow_scripts.models.vision_features import FeatureStore, open_converted

ABOUT_IMAGES = ("features", "pixels", "image_entries", "image_counts", "image_sizes")
"""What a collated batch says of its images, besides what is said of tokens."""
LEARNED = "learned_places"
"""What a collated batch says of the places that the loss is taken at."""
COUNTS = "learned_counts"
"""How many of these each row has, as numbers that the processor knows."""


class TrainingRow(TypedDict):
    """A row of a split as token ids; `datasets` takes dicts."""

    input_ids: list[int]  # prompt and answer
    labels: list[int]  # -100 on the prompt
    image_hashes: list[str]
    image_paths: list[str]
    image_sizes: list[Size]
    length: int  # tokens


def training_row(row: Row, prompt: Prompt, loaded: Loaded) -> TrainingRow:
    """One row of a split as the trainer takes it."""
    messages = chat_of(row, prompt.of(row.task))
    sizes = [(image.width, image.height) for image in row.images]
    before = loaded.family.prompt_ids(loaded.processor, messages, sizes)
    answer = loaded.family.answer_ids(loaded.processor, row.answer)
    return {
        "input_ids": before + answer,
        "labels": [-100] * len(before) + answer,
        "image_hashes": [image.sha256 for image in row.images],
        "image_paths": [image.path for image in row.images],
        "image_sizes": sizes,
        "length": len(before) + len(answer),
    }


def answer_tokens(rows: Iterable[TrainingRow]) -> float:
    """Tokens to learn of a row, on average; 0 of none."""
    counts = [len(row["labels"]) - row["labels"].count(-100) for row in rows]
    return sum(counts) / len(counts) if counts else 0.0


def hold_back(rows: Sequence[Row], count: int, seed: int) -> tuple[list[int], list[int]]:
    """Places of the rows to train on and of about `count` to evaluate on, at most a fifth of the rows.

    Whole cases are held back, in turn from each subset and task; they follow a seeded hash, so that adding a row moves
    no other.
    """
    cases: dict[str, list[int]] = {}
    for place, row in enumerate(rows):
        cases.setdefault(row.case_id, []).append(place)
    strata: dict[tuple[str, str], list[list[int]]] = {}

    def drawn(case: str) -> bytes:
        return hashlib.sha256(repr((seed, (rows[cases[case][0]].subset, case))).encode()).digest()

    for case in sorted(cases, key=drawn):
        first = rows[cases[case][0]]
        strata.setdefault((first.subset, first.task), []).append(cases[case])
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


def learned_places(labels: torch.Tensor) -> torch.Tensor:
    """Places (rows, most of a row) whose next token is learned, filled up with 0, of `labels` (rows, tokens).

    Place 0 is never learned from: a prompt has two tokens at least.
    """
    learned = torch.nn.functional.pad(labels[:, 1:] != -100, (0, 1))
    order = learned.int().argsort(dim=1, descending=True, stable=True)[:, : int(learned.sum(1).max())]
    return order * learned.gather(1, order)


def flat_places(batch: dict[str, Any]) -> torch.Tensor:
    """Places of a collated batch's learned tokens among all its tokens, (learned tokens,), on its device."""
    places: torch.Tensor = batch[LEARNED]
    columns = batch["labels"].shape[1]
    chosen = [row * places.shape[1] + place for row, count in enumerate(batch[COUNTS]) for place in range(count)]
    at = torch.tensor(chosen, dtype=torch.long)
    if places.is_cuda:
        at = at.pin_memory().to(places.device, non_blocking=True)
    return (places + columns * torch.arange(len(places), device=places.device)[:, None]).flatten().index_select(0, at)


@dataclass
class Collator:
    """Pads rows on the right and adds their images: tensors and lists, so that memory can be pinned.

    With `features`, images are the tower's stored output; a model without stored features, or a recipe that tunes the
    tower, takes the pixels below `root`. Either is one flat tensor; `image_entries` says how many of its rows each
    image has, `image_counts` how many images each row of the batch has.
    """

    loaded: Loaded
    root: Path
    features: FeatureStore | None

    def __call__(self, rows: Sequence[TrainingRow]) -> dict[str, Any]:
        family, processor = self.loaded.family, self.loaded.processor
        longest = max(row["length"] for row in rows)
        tokenizer = processor.tokenizer
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        ids = torch.full((len(rows), longest), pad)
        labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : row["length"]] = torch.tensor(row["input_ids"])
            labels[i, : row["length"]] = torch.tensor(row["labels"])
            mask[i, : row["length"]] = 1
        sizes = [[(width, height) for width, height in row["image_sizes"]] for row in rows]
        prompt_lengths = [row["labels"].count(-100) for row in rows]
        return {
            "input_ids": ids,
            "labels": labels,
            "attention_mask": mask,
            LEARNED: learned_places(labels),
            COUNTS: (labels[:, 1:] != -100).sum(1).tolist(),
            **family.text_inputs(processor, ids, mask, sizes, prompt_lengths),
            **(self._images(rows, ids) if family.reads_images else {}),
        }

    def _images(self, rows: Sequence[TrainingRow], ids: torch.Tensor) -> dict[str, Any]:
        family, processor = self.loaded.family, self.loaded.processor
        sizes = [(width, height) for row in rows for width, height in row["image_sizes"]]
        shown, expected = (
            ids == family.image_token_id(processor),
            [family.image_tokens(processor, size) for size in sizes],
        )
        if int(shown.sum()) != sum(expected):
            raise Refused(
                f"rows of a batch show {int(shown.sum())} image tokens, and their images have {sum(expected)}"
            )
        about = {"image_counts": [len(row["image_sizes"]) for row in rows], "image_sizes": sizes}
        if not sizes:
            return {}
        if self.features is not None:
            features = self.features.read([sha for row in rows for sha in row["image_hashes"]])
            return {"features": features, "image_entries": expected, **about}
        shown = [pair for row in rows for pair in zip(row["image_paths"], row["image_hashes"], strict=True)]
        pixels = [family.pixels(processor, open_converted(self.root, path, sha256)) for path, sha256 in shown]
        return {"pixels": torch.cat(pixels), "image_entries": [len(image) for image in pixels], **about}


def model_inputs(batch: dict[str, Any], loaded: Loaded) -> dict[str, Any]:
    """A collated batch as arguments of the model's `forward`."""
    family, base, processor = loaded.family, loaded.base, loaded.processor
    inputs = {name: value for name, value in batch.items() if name not in (*ABOUT_IMAGES, LEARNED, COUNTS)}
    if "features" in batch:
        with torch.no_grad():
            features = batch["features"].to(base.dtype)
            inputs |= family.encoder_outputs(base, processor, features, batch["image_sizes"])
    elif "pixels" in batch:
        inputs |= family.pixel_inputs(processor, batch["pixels"], batch["image_sizes"])
    return arguments(inputs)


def part_of(batch: dict[str, Any], places: list[int]) -> dict[str, Any]:
    """The rows of a collated batch at `places`, with their images, cut to the longest of them."""
    longest = int(batch["attention_mask"][places].sum(1).max())
    part = {name: tensor[places, :longest] for name, tensor in batch.items() if name not in (*ABOUT_IMAGES, COUNTS)}
    part[COUNTS] = [batch[COUNTS][place] for place in places]
    if "image_counts" not in batch:
        return part
    counts = [batch["image_counts"][place] for place in places]
    first_images = [0, *accumulate(batch["image_counts"])]
    images = [first_images[place] + n for place, count in zip(places, counts, strict=True) for n in range(count)]
    first_entries = [0, *accumulate(batch["image_entries"])]
    entries = [batch["image_entries"][image] for image in images]
    name = "features" if "features" in batch else "pixels"
    shown = [batch[name][first_entries[image] : first_entries[image + 1]] for image in images]
    return part | {
        name: torch.cat(shown) if shown else batch[name][:0],
        "image_entries": entries,
        "image_counts": counts,
        "image_sizes": [batch["image_sizes"][image] for image in images],
    }
