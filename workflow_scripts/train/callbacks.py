"""Ends a run with a sentence when a signal comes, or when the loss is not a number or diverges."""

import math
import signal
from collections import deque

from transformers import TrainerCallback

from workflow_scripts.core.command import Refused

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
