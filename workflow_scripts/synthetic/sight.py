"""What teaches the toy model's vision tower: linear maps that read marks off the image tokens, and their targets."""

from dataclasses import dataclass

import numpy as np
import torch

from workflow_scripts.synthetic.drawing import COLOURS, SHAPES, Mark
from workflow_scripts.synthetic.lessons import SIDE

IMAGE_TOKENS = 16
BINS = 28
"""Box edges are taught as one of these equal parts of the side, or its end."""
MOST = 12
"""Marks of one kind that are counted."""
KINDS = [*SHAPES, *COLOURS]


@dataclass
class SightHeads:
    """Linear maps that read marks off the image tokens: what the vision tower is taught by.

    One looks at each token for the mark centred there. The other looks at the mean of all tokens for the number of
    marks of each shape and colour, and for the box of a shape or colour that occurs once: a language model that
    attends evenly can already read it.
    """

    width: int

    def __post_init__(self) -> None:
        self.local = torch.nn.Linear(self.width, (1 + len(SHAPES)) + (1 + len(COLOURS)) + 4 * (BINS + 1))
        self.whole = torch.nn.Linear(self.width, len(KINDS) * ((MOST + 1) + 4 * (BINS + 1)))

    def loss(self, features: torch.Tensor, scenes: list[list[Mark]]) -> torch.Tensor:
        """Cross-entropy of both maps. `features`: (scenes, image tokens, width)."""
        loss_of = torch.nn.functional.cross_entropy
        targets = torch.from_numpy(np.stack([_local_targets(marks) for marks in scenes]))
        sizes = [1 + len(SHAPES), 1 + len(COLOURS), 4 * (BINS + 1)]
        shape, colour, edges = self.local(features).split(sizes, dim=-1)
        seen = targets[..., 0] > 0
        rare = torch.tensor([0.2] + [1.0] * len(SHAPES))
        local = (
            loss_of(shape.flatten(0, 1), targets[..., 0].flatten(), weight=rare)
            + loss_of(colour.flatten(0, 1), targets[..., 1].flatten())
            + loss_of(edges[seen].view(-1, BINS + 1), targets[..., 2:][seen].flatten())
        )
        counts, boxes = (torch.from_numpy(np.stack(part)) for part in zip(*map(_whole_targets, scenes), strict=True))
        read = self.whole(features.mean(1)).view(len(scenes), len(KINDS), -1)
        count, edges = read.split([MOST + 1, 4 * (BINS + 1)], dim=-1)
        once = counts == 1
        return (
            local
            + loss_of(count.flatten(0, 1), counts.flatten())
            + loss_of(edges[once].view(-1, BINS + 1), boxes[once].flatten())
        )


def _local_targets(marks: list[Mark]) -> np.ndarray:
    """(16, 6) integers: shape, colour (0 for none) and the four edges of the mark whose centre each token sees."""
    grid = int(IMAGE_TOKENS**0.5)
    cell = SIDE // grid
    targets = np.zeros((IMAGE_TOKENS, 6), dtype=np.int64)
    for mark in marks:
        x1, y1, x2, y2 = mark.box
        token = min(grid - 1, (y1 + y2) // 2 // cell) * grid + min(grid - 1, (x1 + x2) // 2 // cell)
        targets[token] = [1 + SHAPES.index(mark.shape), 1 + list(COLOURS).index(mark.colour), *_edges(mark)]
    return targets


def _whole_targets(marks: list[Mark]) -> tuple[np.ndarray, np.ndarray]:
    """Number of marks of each kind, (10,), and the edges of one mark of each, (10, 4)."""
    counts, boxes = np.zeros(len(KINDS), dtype=np.int64), np.zeros((len(KINDS), 4), dtype=np.int64)
    for mark in marks:
        for kind in (KINDS.index(mark.shape), KINDS.index(mark.colour)):
            counts[kind] += 1
            boxes[kind] = _edges(mark)
    return counts, boxes


def _edges(mark: Mark) -> list[int]:
    return [edge // (SIDE // BINS) for edge in mark.box]
