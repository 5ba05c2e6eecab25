"""Images with one decisive square, and a tiny network of Gemma 3's classes that learns which colour it has.

Each image is a board of 4 × 4 cells, each as large as what one image token sees. One cell is of one colour; all others
are chequered in two. The answer is the number of the plain one's colour, so that nothing else in the image decides;
where that cell is filled with the image's mean colour, as explanations fill it, the answer is that there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image as PillowImage

from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import Box, ExpectedFormat, Image, Row
from workflow_scripts.models.families.gemma3 import FAMILY
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record
from workflow_scripts.saliency.filling import filled, filler_of
from workflow_scripts.synthetic.pretraining import build_model, build_processor

SIDE, CELLS = 112, 4
CELL = SIDE // CELLS
COLOURS = np.array([(220, 40, 40), (40, 200, 60), (50, 70, 230), (230, 220, 50)], dtype=float)
QUESTION = "Which colour has the plain square: 0 red, 1 green, 2 blue, 3 yellow, 4 none?"
NONE = 4
CHEQUERS = (np.indices((SIDE, SIDE)) // 7).sum(0) % 2 == 0
STEPS, BATCH, RATE = 280, 16, 5e-3
WHOLE = 110
"""Steps on boards without a filled cell, which come first."""


@dataclass(frozen=True)
class Board:
    """An image, the row and column of its plain cell, and the number of that cell's colour."""

    image: PillowImage.Image
    row: int
    column: int
    colour: int

    @property
    def box(self) -> Box:
        """The plain cell in pixels."""
        return Box(self.column * CELL, self.row * CELL, (self.column + 1) * CELL, (self.row + 1) * CELL)


def board(rng: np.random.Generator) -> Board:
    """A board whose plain cell and colours are drawn."""
    one = rng.integers(len(COLOURS), size=(CELLS, CELLS))
    other = (one + rng.integers(1, len(COLOURS), size=one.shape)) % len(COLOURS)
    row, column = rng.integers(CELLS, size=2)
    other[row, column] = one[row, column]
    first, second = (np.kron(numbers, np.ones((CELL, CELL), dtype=int)) for numbers in (one, other))
    pixels = COLOURS[np.where(CHEQUERS, first, second)] + rng.normal(0, 6, (SIDE, SIDE, 1))
    image = PillowImage.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return Board(image, int(row), int(column), int(one[row, column]))


def with_fillings(rng: np.random.Generator, one: Board) -> Board:
    """A board some of whose cells are filled with the image's mean colour; the plain one may be among them."""
    cells = rng.random((CELLS, CELLS)) < rng.uniform(0, 0.4)
    cells[one.row, one.column] = rng.random() < 0.3
    region = np.kron(cells, np.ones((CELL, CELL))) > 0
    image = filled(one.image, filler_of(one.image, "mean"), region)
    return replace(one, image=image, colour=NONE if cells[one.row, one.column] else one.colour)


def train(folder: Path) -> Path:
    """Write a network that answers the question into `folder`, and its record beside it: about 15 seconds of CPU."""
    processor = build_processor(600, seed=0)
    model = build_model(processor, width=64, layers=1, seed=0)
    ids, answers = _tokens(processor)
    rng = np.random.default_rng(1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS, pct_start=0.1)
    model.train()
    for step in range(STEPS):
        boards = [board(rng) for _ in range(BATCH)]
        if step >= WHOLE:
            boards = [with_fillings(rng, one) for one in boards]
        pixels = torch.cat([FAMILY.pixels(processor, one.image) for one in boards])
        answer = answers[[one.colour for one in boards]]
        rows = torch.cat([ids.expand(BATCH, -1), answer], dim=1)
        sizes = [(SIDE, SIDE)] * BATCH
        encoded = FAMILY.encoder_outputs(model, processor, FAMILY.features(model, processor, pixels, sizes), sizes)
        types = FAMILY.text_inputs(processor, rows, torch.ones_like(rows), [])
        output = model(input_ids=rows, **types, **encoded, logits_to_keep=answer.shape[1] + 1)
        loss = torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), answer.flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rates.step()
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    record = folder.with_suffix(".json")
    write_record(record, folder.name, "gemma3", folder, None)
    return record


def _tokens(processor) -> tuple[torch.Tensor, torch.Tensor]:
    """The prompt's tokens, and those of each colour's answer."""
    prompt = FAMILY.prompt_ids(processor, chat(QUESTION, 1), [(SIDE, SIDE)])
    return torch.tensor([prompt]), torch.tensor([FAMILY.answer_ids(processor, str(n)) for n in range(NONE + 1)])


def board_rows(folder: Path, boards: Sequence[Board]) -> list[Row]:
    """The boards as rows of a split, their images in `folder`."""
    rows = []
    for number, one in enumerate(boards):
        path = folder / f"{number}.png"
        one.image.save(path)
        rows.append(
            Row(
                uid=f"boards/{number}",
                subset="boards",
                modality="Drawing",
                folder="validation",
                task="counting",
                task_raw="Counting",
                case_id=f"board-{number}",
                question=QUESTION,
                expected=ExpectedFormat(width=SIDE, height=SIDE),
                images=(Image(path.name, sha256_of_file(path), SIDE, SIDE),),
                image_name=f'"{path.name}"',
                answer=str(one.colour),
                answer_raw=str(one.colour),
                source_file="boards.json",
                source_row=number,
                number=float(one.colour),
                boxes=(one.box,),
            )
        )
    return rows
