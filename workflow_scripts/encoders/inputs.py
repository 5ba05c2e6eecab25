"""Examples as token ids, in windows: of a longer text several, neighbours of which share some tokens."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from workflow_scripts.tasks.encodings import Head
from workflow_scripts.tasks.entities.bio import tags_of
from workflow_scripts.tasks.entities.examples import Example

IGNORED = -100
"""Label of tokens that have none."""

_WORD = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")


@dataclass(frozen=True)
class Window:
    """What is read at once of an example, and where its outputs lie there."""

    example: int  # place among the examples
    inputs: dict[str, list[int]]
    words: tuple[tuple[int, int, int], ...] = ()  # tokens: first token of a word, its start and end in the text
    places: tuple[tuple[int, int, int], ...] = ()  # span: token of the second text, its start and end there
    labels: Any = None  # tags of the tokens, a class, a number, or first and last token of a span

    def __len__(self) -> int:
        return len(self.inputs["input_ids"])


@dataclass(frozen=True)
class Reader:
    """Cuts examples of one head into windows."""

    tokenizer: PreTrainedTokenizerBase
    head: Head
    labels: Sequence[str]  # tags of a head of tokens, classes of one of classes; else none
    length: int  # most tokens of a window
    stride: int
    _number: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._number.update({label: number for number, label in enumerate(self.labels)})

    def windows(self, examples: Sequence[Example]) -> list[Window]:
        """The windows of the examples, in their order; each example has one at least."""
        read = {"tokens": self._of_words, "span": self._of_places}.get(self.head, self._whole)
        return [window for place, example in enumerate(examples) for window in read(place, example)]

    def _of_words(self, place: int, example: Example) -> list[Window]:
        words = [match.span() for match in _WORD.finditer(example.first)]
        tags = tags_of(words, example.spans)
        encoded = self.tokenizer(
            [[example.first[start:end] for start, end in words] or [""]],
            is_split_into_words=True,
            truncation=True,
            max_length=self.length,
            stride=self.stride,
            return_overflowing_tokens=True,
            split_special_tokens=True,
        )
        windows = []
        for number in range(len(encoded["input_ids"])):
            labels, firsts = [], []
            previous = None
            for token, word in enumerate(encoded.word_ids(number)):
                fresh = word is not None and word != previous and word < len(words)
                labels.append(self._number[tags[word]] if fresh else IGNORED)
                if fresh:
                    firsts.append((token, *words[word]))
                previous = word
            windows.append(Window(place, _inputs(encoded, number), words=tuple(firsts), labels=labels))
        return windows

    def _whole(self, place: int, example: Example) -> list[Window]:
        """One window: of two long texts the longer is cut."""
        pair = [[example.first]] if example.second is None else [[example.first], [example.second]]
        encoded = self.tokenizer(*pair, truncation="longest_first", max_length=self.length)
        labels = self._number[str(example.label)] if self.head == "classes" and example.label in self._number else None
        return [Window(place, _inputs(encoded, 0), labels=example.number if self.head == "number" else labels)]

    def _of_places(self, place: int, example: Example) -> list[Window]:
        """Windows of the second text behind the first one; a span that a window does not hold whole is its token 0."""
        encoded = self.tokenizer(
            [example.first],
            [example.second or ""],
            truncation="only_second",
            max_length=self.length,
            stride=self.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        windows = []
        for number, offsets in enumerate(encoded["offset_mapping"]):
            sides = encoded.sequence_ids(number)
            places = tuple((token, *offsets[token]) for token, side in enumerate(sides) if side == 1)
            labels = (0, 0)
            if example.spans:
                start, end, _ = example.spans[0]
                inside = [token for token, first, last in places if first < end and start < last]
                if inside and places[0][1] <= start and end <= places[-1][2]:
                    labels = (inside[0], inside[-1])
            windows.append(Window(place, _inputs(encoded, number), places=places, labels=labels))
        return windows


def _inputs(encoded: Any, number: int) -> dict[str, list[int]]:
    names = ("input_ids", "token_type_ids", "attention_mask")
    return {name: list(encoded[name][number]) for name in names if name in encoded}


@dataclass(frozen=True)
class Collator:
    """Puts windows of different lengths into one batch."""

    tokenizer: PreTrainedTokenizerBase
    head: Head

    def __call__(self, windows: Sequence[Window]) -> dict[str, torch.Tensor]:
        """Token ids and labels, padded on the right: (windows, tokens)."""
        longest = max(map(len, windows))
        batch: dict[str, torch.Tensor] = {}
        for name in windows[0].inputs:
            filler = self.tokenizer.pad_token_id if name == "input_ids" else 0
            rows = [window.inputs[name] + [filler] * (longest - len(window)) for window in windows]
            batch[name] = torch.tensor(rows)
        labels = [window.labels for window in windows]
        if any(label is None for label in labels):
            return batch
        if self.head == "tokens":
            batch["labels"] = torch.tensor([row + [IGNORED] * (longest - len(row)) for row in labels])
        elif self.head == "span":
            batch["start_positions"] = torch.tensor([start for start, _ in labels])
            batch["end_positions"] = torch.tensor([end for _, end in labels])
        else:
            batch["labels"] = torch.tensor(labels, dtype=torch.float32 if self.head == "number" else torch.long)
        return batch
