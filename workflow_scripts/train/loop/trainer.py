"""TRL's trainer, fed pooled vision features, in parts that fit the memory, waiting for the device once a step."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch
from trl import SFTTrainer

from workflow_scripts.core.files import BadFile
from workflow_scripts.models.loading import Loaded
from workflow_scripts.train.memory import token_parts
from workflow_scripts.train.rows import LEARNED, LikeLengths, answer_tokens, model_inputs, part_of
from workflow_scripts.train.sampling import Balanced, Group
from workflow_scripts.train.weights import save_trained


class FeatureTrainer(SFTTrainer):
    """TRL's trainer, fed pooled vision features through the model's own input for them, where there are any."""

    def __init__(self, loaded: Loaded, token_budget: int | None, groups: Sequence[Group] = (), **options) -> None:
        self._loaded = loaded
        self._budget = token_budget
        self._groups = groups
        self._last_layer = [module for module in loaded.base.modules() if hasattr(module, "learned_places")][-1:]
        self._sums: list[torch.Tensor] = []
        self._tokens_a_row = answer_tokens(options.get("eval_dataset") or ())
        super().__init__(model=loaded.model, processing_class=loaded.processor.tokenizer, **options)
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
        inputs = model_inputs(inputs, self._loaded)
        if not self.model.training or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # TRL's sum, but for its metrics: it waits for the device at each, and launches nothing meanwhile.
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        learned = outputs.label_mask.sum()
        count = learned if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
        loss = -outputs.log_probs.sum() / count.clamp(min=1)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        sums = torch.stack([learned, outputs.entropy.detach().sum(), outputs.is_top1.sum()])
        self._sums.append(self.accelerator.gather_for_metrics(sums[None]).sum(0))
        return loss

    def log(self, logs, start_time=None):
        """With the entropy and the accuracy of the answers' tokens since the last line."""
        for learned, entropy, right in (sums.tolist() for sums in self._sums):
            self._metrics["train"]["entropy"].append(entropy / max(learned, 1))
            self._metrics["train"]["mean_token_accuracy"].append(right / max(learned, 1))
        self._sums.clear()
        super().log(logs, start_time)
