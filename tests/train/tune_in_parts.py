"""Training as the step does it, with a token budget so small that batches go in parts: a card's, on the CPU."""

from workflow_scripts.core.command import run_step
from workflow_scripts.train import tune
from workflow_scripts.train.memory import token_parts

BUDGET = 120
"""Tokens. Two rows of 59, the most but one of the tests' rows, are one part; two of 64 are two."""


class InParts(tune.FeatureTrainer):
    """The step's trainer with that budget; it says how many parts the rows of each process would be by themselves."""

    def __init__(self, loaded, token_budget, **options):
        super().__init__(loaded, BUDGET, **options)

    def training_step(self, model, inputs, num_items_in_batch=None):
        parts = token_parts(inputs["attention_mask"].sum(1).tolist(), BUDGET)
        print(f"process {self.args.process_index} of {self.args.world_size}: {len(parts)} parts", flush=True)
        return super().training_step(model, inputs, num_items_in_batch)


if __name__ == "__main__":
    tune.FeatureTrainer = InParts
    run_step(tune.tune)
