"""Ends a training with a sentence when a signal comes or the loss is lost; what it left is found again."""

import json
import math
import shutil
import signal
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from workflow_scripts.core.command import Refused
from workflow_scripts.core.training_rows import TrainingStep


class SaveOnSignal(TrainerCallback):
    """SIGTERM and SIGUSR1 (a cluster's warning) save a checkpoint at the end of the step and stop the job."""

    def __init__(self) -> None:
        self.received: str | None = None
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.received = signal.Signals(number).name

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Save and stop where a signal came."""
        if self.received:
            control.should_save = control.should_training_stop = True

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raises Refused where a signal stopped the training."""
        if self.received:
            raise Refused(
                f"{self.received} after step {state.global_step}: the checkpoint is saved; run again to go on"
            )


class StopWhenLost(TrainerCallback):
    """A loss that is not a number ends the job."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Raises Refused where the loss is lost."""
        loss = (logs or {}).get("loss")
        if loss is not None and not math.isfinite(float(loss)):
            raise Refused(
                f"the loss is {loss} at step {state.global_step}: lower learning_rate (now {args.learning_rate:g}) or "
                f"max_grad_norm (now {args.max_grad_norm:g})"
            )


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint below `folder`; one that a kill cut short is removed.

    The trainer's state is the last file that a checkpoint gets.
    """
    complete = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            complete.append((json.loads((checkpoint / "trainer_state.json").read_text())["global_step"], checkpoint))
        except (OSError, ValueError, KeyError):
            print(f"{checkpoint} is incomplete and removed")
            shutil.rmtree(checkpoint)
    return str(max(complete)[1]) if complete else None


def step_of(entry: dict[str, Any], before: int, epochs_before: float) -> TrainingStep:
    """An entry of the trainer's log, counted on from the tasks that were tuned before."""
    return TrainingStep(
        step=before + entry["step"],
        epoch=epochs_before + entry["epoch"],
        loss=entry["loss"],
        token_accuracy=None,
        learning_rate=entry.get("learning_rate"),
        gradient_norm=entry.get("grad_norm"),
        entropy=None,
        evaluation_loss=None,
    )
