"""The fast path equals the plain one: TRL's stock trainer, PEFT's forward, pixels through the tower."""

import pytest
import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.train import tune as step
from workflow_scripts.train.rows import Collator, model_inputs, training_row
from workflow_scripts.train.weights import fresh_adapter


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_loss_and_gradients_are_those_of_trls_stock_trainer(tmp_path, split, root, tiny, features, quantisation):
    recipe = Recipe(lora=Lora(r=4, dropout=0.0), epochs=None, steps=1, batch=8, quantisation=quantisation)
    source = read_rows(split, Row)

    def side(fast):
        loaded = load(tiny, quantisation=quantisation)
        rows = [training_row(row, Prompt(), loaded) for row in source]
        if fast:
            trainer = step.build_trainer(recipe, loaded, rows, [], root, FeatureStore(features), tmp_path / "fast", 0)
        else:
            model = fresh_adapter(loaded, recipe.lora)
            tuned = Loaded(model, loaded.processor, loaded.family, loaded.revision)
            options = {"skip_prepare_dataset": True}
            trainer = SFTTrainer(
                model=model,
                args=SFTConfig(str(tmp_path / "plain"), report_to="none", use_cpu=True, dataset_kwargs=options),
                train_dataset=Dataset.from_list(rows),
                data_collator=lambda rows: model_inputs(Collator(tuned, root, None)(rows), tuned),
                processing_class=loaded.processor.tokenizer,
            )
        generator = torch.Generator().manual_seed(0)
        for _, weight in sorted(trainer.model.named_parameters()):
            if weight.requires_grad:
                weight.data = torch.randn(weight.shape, generator=generator) * 0.1
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, trainer.data_collator(rows))
        loss.backward()
        return loss.item(), {n: w.grad for n, w in trainer.model.named_parameters() if w.requires_grad}

    plain_loss, plain = side(fast=False)
    fast_loss, fast = side(fast=True)
    assert fast_loss == pytest.approx(plain_loss, abs=1e-5)
    assert fast.keys() == plain.keys()
    for name, gradient in plain.items():
        assert torch.cosine_similarity(fast[name].flatten(), gradient.flatten(), dim=0) > 0.9999, name
