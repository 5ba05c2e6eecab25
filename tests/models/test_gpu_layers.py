"""On a GPU: Gemma 3's layers for training adapters against the model's own, which they replace."""

import pytest
import torch

from workflow_scripts.train.rows import learned_places

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

ROWS, TOKENS, VOCABULARY = 3, 70, 97


def tuned(dtype: torch.dtype, dropout: float = 0.0):
    """A small Gemma 3 with norms and adapters that are not trivial."""
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=320,
        intermediate_size=520,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        sliding_window=32,
        query_pre_attn_scalar=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = Gemma3ForCausalLM(config).to("cuda", dtype)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            parameter.data.normal_(0, 0.3)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapted = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=names))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(0, 0.2)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted.train()


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(1)
    ids = torch.randint(3, VOCABULARY, (ROWS, TOKENS))
    mask, labels = torch.ones_like(ids), torch.full_like(ids, -100)
    for row, (start, end) in enumerate([(60, 70), (30, 33), (69, 70)]):
        labels[row, start:end] = ids[row, start:end]
        mask[row, end:] = 0
    return {"ids": ids.cuda(), "mask": mask.cuda(), "labels": labels.cuda(), "places": learned_places(labels).cuda()}


def loss_and_gradients(model, batch) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    with torch.autocast("cuda", torch.bfloat16, enabled=model.dtype == torch.bfloat16):
        logits = model(input_ids=batch["ids"], attention_mask=batch["mask"], use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().reshape(-1, VOCABULARY), batch["labels"][:, 1:].reshape(-1), ignore_index=-100
    )
    loss.backward()
    return loss.item(), {n: p.grad.double() for n, p in model.named_parameters() if p.grad is not None}


def largest_gap(gradients, others) -> float:
    assert gradients.keys() == others.keys()
    return max(((gradients[name] - others[name]).norm() / others[name].norm()).item() for name in others)


@pytest.mark.parametrize("at_learned_places", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_loss_and_gradients_are_the_models_own_in_float32(batch, at_learned_places, checkpointing):
    from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

    torch.backends.cuda.matmul.allow_tf32 = False
    loss, gradients = loss_and_gradients(tuned(torch.float32), batch)
    model = tuned(torch.float32)
    if checkpointing:
        model.get_base_model().gradient_checkpointing_enable()
        model.enable_input_require_grads()
    assert fuse_layers_for_training(model) == 3
    if at_learned_places:
        model.get_base_model().model.layers[-1].learned_places = batch["places"]
    other, own = loss_and_gradients(model, batch)
    assert other == pytest.approx(loss, rel=1e-5)
    assert largest_gap(own, gradients) < 1e-3


def test_in_bfloat16_they_are_as_near_to_float32_as_the_models_own(batch):
    from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

    _, exact = loss_and_gradients(tuned(torch.float32), batch)
    _, own = loss_and_gradients(tuned(torch.bfloat16), batch)
    model = tuned(torch.bfloat16)
    fuse_layers_for_training(model)
    model.get_base_model().model.layers[-1].learned_places = batch["places"]
    _, fused = loss_and_gradients(model, batch)
    assert largest_gap(fused, exact) < 1.2 * largest_gap(own, exact)


def test_changed_adapters_are_used_at_the_next_step(batch):
    from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

    model, plain = tuned(torch.float32), tuned(torch.float32)
    fuse_layers_for_training(model)
    for each in (model, plain):
        loss_and_gradients(each, batch)
        for parameter in each.parameters():
            if parameter.grad is not None:
                parameter.data -= 0.5 * parameter.grad
    assert loss_and_gradients(model, batch)[0] == pytest.approx(loss_and_gradients(plain, batch)[0], rel=1e-5)


def test_the_model_answers_by_its_own_layers(batch):
    from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

    model, plain = tuned(torch.float32).eval(), tuned(torch.float32).eval()
    fuse_layers_for_training(model)
    model.get_base_model().model.layers[-1].learned_places = batch["places"]
    for each in (model, plain):
        each.answers = each.generate(input_ids=batch["ids"][:1], max_new_tokens=8, do_sample=False)
    assert torch.equal(model.answers, plain.answers)
    with model.disable_adapter(), plain.disable_adapter():
        model.train(), plain.train()
        assert loss_of(model, batch) == pytest.approx(loss_of(plain, batch), rel=1e-6)


def loss_of(model, batch) -> float:
    with torch.no_grad():
        return model(input_ids=batch["ids"], labels=batch["ids"], use_cache=False).loss.item()


def test_layers_with_dropout_stay_as_they_are():
    from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

    assert fuse_layers_for_training(tuned(torch.float32, dropout=0.1)) == 0
