"""The fused projection is PEFT's own, in value and in every gradient, on a plain and on a 4-bit base."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from workflow_scripts.models.families.gemma3 import FAMILY as gemma3
from workflow_scripts.models.fused.lora import fuse_lora
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat


@pytest.mark.parametrize("quantisation", ["none", "nf4"])
def test_fused_loss_and_gradients_are_pefts(tiny, quantisation):
    loaded = load(tiny, quantisation=quantisation)
    torch.manual_seed(0)
    model = get_peft_model(loaded.model, LoraConfig(r=4, lora_alpha=8, target_modules=gemma3.lora_targets["language"]))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    ids = torch.tensor([gemma3.prompt_ids(loaded.processor, chat("How many cells are there?", 0), ())] * 2)

    def gradients(of):
        of.zero_grad()
        loss = of(input_ids=ids, labels=ids, token_type_ids=torch.zeros_like(ids)).loss
        loss.backward()
        return loss.item(), {n: w.grad.clone() for n, w in of.named_parameters() if w.requires_grad}

    plain_loss, plain = gradients(model)
    assert fuse_lora(model) == 2 * 7
    fused_loss, fused = gradients(model)
    assert fused_loss == pytest.approx(plain_loss, abs=1e-5)
    for name, gradient in plain.items():
        similarity = torch.cosine_similarity(fused[name].flatten(), gradient.flatten(), dim=0)
        assert similarity > 0.9999, name


def test_adapters_with_dropout_keep_pefts_forward(tiny):
    config = LoraConfig(r=4, lora_dropout=0.1, target_modules=gemma3.lora_targets["language"])
    assert fuse_lora(get_peft_model(copy.deepcopy(load(tiny).model), config)) == 0
