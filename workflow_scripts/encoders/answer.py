"""Step: answer a split with a tuned encoder: an ordinary table of predictions, as a model that writes has."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from workflow_scripts.core.command import run_step
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.encoders.description import TaskHead, read_description
from workflow_scripts.encoders.inputs import Collator, Reader, Window
from workflow_scripts.encoders.networks import device_of, tuned_network
from workflow_scripts.encoders.outputs import outputs_of
from workflow_scripts.models.threads import TORCH_THREADS, use_threads
from workflow_scripts.tasks.encodings import ENCODINGS

ENGINE = "transformers"


def answer_split(*, split: Path, encoder: Path, system: str, gpus: int = 0, batch: int = 32, out: Path) -> str:
    """Write one prediction for each row of a task that the encoder was tuned for; other rows have none.

    Args:
        split: Parquet of rows to answer
        encoder: folder of the tuned networks
        system: name of the system
        gpus: 1 answers on the GPU
        batch: windows at a time
        out: Parquet of predictions to write

    Raises:
        BadFile: a network is not what was tuned.
        Refused: the GPU is missing.
    """
    description, device = read_description(encoder), device_of(gpus)
    use_threads(TORCH_THREADS)
    rows = read_rows(split, Row)
    texts: dict[str, str] = {}
    for task, head in description.heads.items():
        of_task = [row for row in rows if row.task == task]
        if of_task:
            texts |= _answers(task, head, of_task, encoder / task, device, batch)
    predictions = [
        Prediction(row.uid, system, texts[row.uid], "stop", engine=ENGINE) for row in rows if row.uid in texts
    ]
    write_rows(out, predictions, Prediction)
    other = sorted({row.task for row in rows} - set(description.heads))
    left = f"; no answer to {len(rows) - len(predictions)} rows of {', '.join(other)}" if other else ""
    return f"{len(predictions)} answers{left}"


def _answers(
    task: str, head: TaskHead, rows: Sequence[Row], folder: Path, device: torch.device, batch: int
) -> dict[str, str]:
    """The texts of the answers to rows of one task, by uid."""
    encoding = ENCODINGS[task]
    model, tokenizer = tuned_network(folder, head.head, head.labels)
    reader = Reader(tokenizer, head.head, head.labels, head.length, head.stride)
    by_row = [encoding.examples(row, head.known) for row in rows]
    examples = [example._replace(spans=(), label=None, number=None) for row in by_row for example in row]
    windows = reader.windows(examples)
    logits = _logits(model.to(device).eval(), Collator(tokenizer, head.head), windows, batch)
    unanswerable = bool(head.known.get("may_be_unanswerable", True))
    outputs = iter(outputs_of(head.head, head.labels, windows, logits, len(examples), unanswerable))
    return {
        row.uid: encoding.answer(row, head.known, [next(outputs) for _ in of_row])
        for row, of_row in zip(rows, by_row, strict=True)
    }


@torch.inference_mode()
def _logits(model: PreTrainedModel, collate: Collator, windows: Sequence[Window], batch: int) -> list[Any]:
    """What the head says of each window, without its padding; windows of like length share a batch."""
    logits: list[Any] = [None] * len(windows)
    order = sorted(range(len(windows)), key=lambda place: (-len(windows[place]), place))
    for start in range(0, len(order), batch):
        places = order[start : start + batch]
        inputs = collate([windows[place] for place in places])
        inputs = {
            name: tensor.to(model.device)
            for name, tensor in inputs.items()
            if name not in ("labels", "start_positions", "end_positions")
        }
        said = model(**inputs)
        scores = torch.stack([said.start_logits, said.end_logits], 1) if collate.head == "span" else said.logits
        for place, of_window in zip(places, scores.float().cpu().numpy(), strict=True):
            size = len(windows[place])
            cut = {"tokens": of_window[:size], "span": of_window[..., :size]}.get(collate.head, of_window)
            logits[place] = np.asarray(cut)
    return logits


if __name__ == "__main__":
    run_step(answer_split)
