"""Ends a run with a sentence when a signal comes or the loss is lost; answers held-back rows at each evaluation."""

import math
import signal
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch
from transformers import TrainerCallback

from workflow_scripts.core.command import Refused
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tasks import tasks
from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.models.loading import Loaded
from workflow_scripts.train.rows import Collator, TrainingRow, model_inputs

WINDOW = 10


class SaveOnSignal(TrainerCallback):
    """SIGTERM and SIGUSR1 (a cluster's warning) save a checkpoint at the end of the step and stop the job."""

    def __init__(self) -> None:
        self.received: str | None = None
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number, _frame) -> None:
        self.received = signal.Signals(number).name

    def on_step_end(self, args, state, control, **kwargs):
        if self.received:
            control.should_save = True
            control.should_training_stop = True

    def on_train_end(self, args, state, control, **kwargs):
        if self.received:
            raise Refused(
                f"{self.received} after step {state.global_step}: the checkpoint is saved; run again to go on"
            )


class StopWhenLost(TrainerCallback):
    """A loss that is not a number, or whose mean over ten steps has doubled since the first ten, ends the job."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=WINDOW)

    def on_log(self, args, state, control, logs=None, **kwargs):
        loss = (logs or {}).get("loss")
        if loss is None:
            return
        loss = float(loss)
        remedy = f"lower learning_rate (now {args.learning_rate:g}) or max_grad_norm (now {args.max_grad_norm:g})"
        if not math.isfinite(loss):
            raise Refused(f"the loss is {loss} at step {state.global_step}: {remedy}")
        self._last.append(loss)
        if len(self._first) < WINDOW:
            self._first.append(loss)
        elif sum(self._last) > 2 * sum(self._first) and sum(self._last) > WINDOW:
            raise Refused(
                f"the loss has diverged: {sum(self._last) / WINDOW:.3g} over the last {WINDOW} steps at step "
                f"{state.global_step}, {sum(self._first) / WINDOW:.3g} over the first; {remedy}"
            )


SAMPLES = "samples"
"""Key of the trainer's log under which answers stand: a checkpoint saves them with it, and a resumed run has them."""


class AnswerSamples(TrainerCallback):
    """After each evaluation, answers a few held-back rows greedily with the weights as they are then.

    The library's own loop generates, one row at a time: the engine that answers splits is no part of a training's
    identity, and may change without one being done again.

    Args:
        rows: held-back rows to answer.
        examples: the same as token ids.
        collate: the trainer's collator.
        to_device: moves a batch to the model's device.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        examples: Sequence[TrainingRow],
        loaded: Loaded,
        collate: Collator,
        to_device: Callable[[dict[str, Any]], dict[str, Any]],
    ) -> None:
        self._rows, self._examples, self._loaded = rows, examples, loaded
        self._collate, self._to_device = collate, to_device

    def on_evaluate(self, args, state, control, **kwargs):
        if not state.is_world_process_zero:
            return
        # What is trained is float32 beside a bfloat16 base, on a GPU.
        kind = self._loaded.device.type
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
            answers = [
                asdict(self._answer(state.global_step, row, example))
                for row, example in zip(self._rows, self._examples, strict=True)
            ]
        state.log_history.append({"step": state.global_step, SAMPLES: answers})

    def _answer(self, step: int, row: Row, example: TrainingRow) -> SampleAnswer:
        prompt = example["labels"].count(-100)
        question: TrainingRow = {
            **example,
            "input_ids": example["input_ids"][:prompt],
            "labels": example["labels"][:prompt],
            "length": prompt,
        }
        inputs = model_inputs(self._to_device(self._collate([question])), self._loaded)
        del inputs["labels"]
        inputs.pop("position_ids", None)  # the library counts them itself, new tokens included
        tokenizer = self._loaded.processor.tokenizer
        written = self._loaded.base.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            max_new_tokens=tasks()[row.task].max_new_tokens,
            pad_token_id=tokenizer.pad_token_id,
        )[0, prompt:].tolist()
        return SampleAnswer(
            step=step,
            uid=row.uid,
            question=row.question,
            reference=row.answer,
            text=tokenizer.decode(written, skip_special_tokens=True),
        )


def spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` places, evenly spread."""
    return sorted({(2 * number + 1) * count // (2 * most) for number in range(most)}) if count else []


def history_line(entry: dict) -> TrainingStep:
    """An entry of the trainer's log."""
    return TrainingStep(
        step=entry["step"],
        epoch=entry["epoch"],
        loss=entry.get("loss"),
        token_accuracy=entry.get("mean_token_accuracy"),
        learning_rate=entry.get("learning_rate"),
        gradient_norm=entry.get("grad_norm"),
        entropy=entry.get("entropy"),
        evaluation_loss=entry.get("eval_loss"),
    )
