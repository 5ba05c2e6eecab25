"""TRL's trainer, fed pooled vision features, in parts that fit the memory, waiting for the device once a step."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from trl import SFTTrainer

from workflow_scripts.core.files import BadFile
from workflow_scripts.models.loading import Loaded
from workflow_scripts.train.loop.head import LearnedHead
from workflow_scripts.train.memory import token_parts
from workflow_scripts.train.rows import LEARNED, LikeLengths, answer_tokens, flat_places, model_inputs, part_of
from workflow_scripts.train.sampling import Balanced, Group
from workflow_scripts.train.weights import save_trained


class _Line(NamedTuple):
    """What a step's line of the log says, on its way from the device."""

    step: int
    epoch: float
    steps: int  # since the line before
    learning_rate: float
    values: torch.Tensor  # loss, norm of the gradient, and three sums over learned tokens
    ready: torch.cuda.Event | None


class FeatureTrainer(SFTTrainer):
    """TRL's trainer, fed pooled vision features through the model's own input for them, where there are any."""

    _globalstep_last_logged: int  # the library's

    def __init__(self, loaded: Loaded, token_budget: int | None, groups: Sequence[Group] = (), **options) -> None:
        self._loaded = loaded
        self._budget = token_budget
        self._groups = groups
        self._last_layer = [module for module in loaded.base.modules() if hasattr(module, "learned_places")][-1:]
        self._sums: list[torch.Tensor] = []
        self._line: _Line | None = None
        self._tokens_a_row = answer_tokens(options.get("eval_dataset") or ())
        super().__init__(model=loaded.model, processing_class=loaded.processor.tokenizer, **options)
        if self._last_layer:  # a Gemma 3 in few passes: no scale of logits
            loaded.base.forward = LearnedHead(loaded.base)
        # In bfloat16 small updates vanish: of weights, and of adapters, which TRL rounds beside a quantised base.
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def training_step(self, model, inputs, num_items_in_batch=None):
        """One batch, in parts where its padded size exceeds the token budget: the gradient is the same sum.

        Each part exchanges sums between processes, so that all of these work on as many parts as the one with the most.
        """
        parts = [inputs]
        several = self.args.world_size > 1
        # One process knows from the shape, without waiting for the device.
        if self._budget is not None and (several or inputs["input_ids"].numel() > self._budget):
            lengths = inputs["attention_mask"].sum(1).tolist()
            places = token_parts(lengths, self._budget)
            if several:
                counts = self.accelerator.gather(torch.tensor([len(places)], device=self.accelerator.device))
                places = token_parts(lengths, self._budget, int(counts.max()))
            if len(places) > 1:
                parts = [part_of(inputs, part) for part in places]
        losses = []
        for number, part in enumerate(parts, 1):
            # With several processes, gradients are exchanged once, after the last part.
            with self.accelerator.no_sync(model) if number < len(parts) else contextlib.nullcontext():
                losses.append(super().training_step(model, part, num_items_in_batch))
        return sum(losses)

    def _get_train_sampler(self, train_dataset=None):
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        lengths = list(self.train_dataset["length"])
        if self._groups:
            return Balanced(self._groups, lengths, batch, self.args.seed)
        return LikeLengths(lengths, batch, self.args.seed)

    def _save(self, output_dir=None, state_dict=None):
        """Weights that are trained in full are saved without the frozen rest; adapters are, by PEFT."""
        if self._loaded.adapted:
            super()._save(output_dir, state_dict)
        else:
            save_trained(self._loaded.base, Path(output_dir or self.args.output_dir))

    def _issue_warnings_after_load(self, load_result):
        """Such a checkpoint lacks what is frozen; it must hold nothing else than the model has."""
        if not self._loaded.adapted and load_result.unexpected_keys:
            raise BadFile(f"{self.args.output_dir} holds checkpoints of another model; delete it and run again")

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if not self.model.training:  # a mean of batches' means would change with the rows at once
            rows = len(inputs["input_ids"]) * self.accelerator.num_processes
            num_items_in_batch = torch.tensor(rows * self._tokens_a_row)
        for layer in self._last_layer:
            layer.learned_places = inputs[LEARNED]
        if not self.model.training or return_outputs:
            return super().compute_loss(model, model_inputs(inputs, self._loaded), return_outputs, num_items_in_batch)
        # TRL's sum, but for its metrics: it waits for the device at each, and launches nothing meanwhile.
        if self._last_layer:
            places = flat_places(inputs)
            log_probs, entropy, right = model(**model_inputs(inputs, self._loaded), learned=places)
            learned = log_probs.new_full((), len(places))
        else:
            outputs = model(**model_inputs(inputs, self._loaded), use_cache=False, fused_lm_head=True)
            log_probs, entropy, right = outputs.log_probs, outputs.entropy, outputs.is_top1
            learned = outputs.label_mask.sum()
        count = learned if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        loss = -log_probs.sum() / count.clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        sums = torch.stack([learned, entropy.detach().sum(), right.sum()])
        self._sums.append(self.accelerator.gather_for_metrics(sums[None]).sum(0))
        return loss

    def _maybe_log_save_evaluate(self, tr_loss, grad_norm, model, trial, epoch, ignored, start, learning_rate=None):
        """A step's line is written after the next step was launched: to read its loss waits for the device.

        So the processor prepares a step while the device computes the one before. Where more than a line is to be
        written, and with several processes, it is written at once.
        """
        step, control = self.state.global_step, self.control
        should_log = control.should_log
        self._write_line(start)  # which says of itself that no line is due
        control.should_log = should_log
        more = control.should_evaluate or control.should_save or control.should_training_stop
        if more or not control.should_log or self.args.world_size > 1 or step <= self._globalstep_last_logged:
            rest = (model, trial, epoch, ignored, start)
            super()._maybe_log_save_evaluate(tr_loss, grad_norm, *rest, learning_rate=learning_rate)
            return
        sums = torch.stack(self._sums).sum(0).float() if self._sums else tr_loss.new_zeros(3)
        norm = tr_loss.new_zeros(()) + (0.0 if grad_norm is None else grad_norm)
        values = torch.cat([torch.stack([tr_loss.detach(), norm]).float(), sums])
        ready = None
        if values.is_cuda:
            values = torch.empty(5, pin_memory=True).copy_(values, non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        steps = step - self._globalstep_last_logged
        self._line = _Line(step, self.state.epoch, steps, learning_rate, values, ready)
        self._globalstep_last_logged = step
        self._sums.clear()
        tr_loss -= tr_loss
        control.should_log = False

    def _write_line(self, start) -> None:
        """Write the line of the step before, if it is not written."""
        line, self._line = self._line, None
        if line is None:
            return
        if line.ready is not None:
            line.ready.synchronize()
        loss, norm, *sums = line.values.tolist()
        self._total_loss_scalar += loss
        self.store_flos()
        self._note_sums(*sums)
        now = self.state.global_step, self.state.epoch
        later, self._sums = self._sums, []  # of the step that was just launched: not of this line, and not yet there
        self.state.global_step, self.state.epoch = line.step, line.epoch
        try:
            self.log(
                {"loss": loss / line.steps, "grad_norm": norm, "learning_rate": line.learning_rate},
                start,
            )
        finally:
            self.state.global_step, self.state.epoch = now
            self._sums = later

    def _note_sums(self, learned: float, entropy: float, right: float) -> None:
        self._metrics["train"]["entropy"].append(entropy / max(learned, 1))
        self._metrics["train"]["mean_token_accuracy"].append(right / max(learned, 1))

    def log(self, logs, start_time=None):
        """With the entropy and the accuracy of the answers' tokens since the last line."""
        if self._sums:
            self._note_sums(*torch.stack(self._sums).sum(0).tolist())
        self._sums.clear()
        super().log(logs, start_time)
