"""On a GPU: kernels of this project against the model's arithmetic in float32."""

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(8, 4, 256), (32, 32, 128), (12, 2, 64)])
def test_attention_to_slots_is_attention_under_a_mask(heads, kv_heads, width):
    from workflow_scripts.engines.local.slot_attention import attend_to_slots

    torch.manual_seed(0)
    rows, slots = 7, 333
    query, key, value = (
        torch.randn(rows, n, length, width, device="cuda", dtype=torch.bfloat16)
        for n, length in ((heads, 1), (kv_heads, slots), (kv_heads, slots))
    )
    first = torch.tensor([0, 1, 63, 64, 65, 200, 331])
    last = torch.tensor([332, 1, 64, 64, 300, 332, 332])
    seen = torch.stack([first, last], 1)[:, None, None].to("cuda", torch.int32)
    got = attend_to_slots(query, key, value, seen, width**-0.5)
    places = torch.arange(slots)
    mask = ((places >= first[:, None]) & (places <= last[:, None]))[:, None, None].cuda()
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query.float(), *(x.float().repeat_interleave(heads // kv_heads, 1) for x in (key, value)), attn_mask=mask
    )
    torch.testing.assert_close(got.float(), wanted, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("common", [1, 64, 280])
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(8, 4, 256), (32, 32, 128), (12, 2, 64)])
def test_attention_to_a_prefix_and_slots_is_attention_to_both(heads, kv_heads, width, common):
    from workflow_scripts.engines.local.slot_attention import attend_to_slots

    torch.manual_seed(0)
    rows, slots = 70, 130
    query, key, value, *prefix = (
        torch.randn(batch, n, length, width, device="cuda", dtype=torch.bfloat16)
        for batch, n, length in (
            (rows, heads, 1), (rows, kv_heads, slots), (rows, kv_heads, slots),
            (1, kv_heads, common), (1, kv_heads, common),
        )
    )  # fmt: skip
    first = torch.arange(rows) % 60
    last = first + torch.arange(rows)
    seen = torch.stack([first, last], 1)[:, None, None].to("cuda", torch.int32)
    got = attend_to_slots(query, key, value, seen, width**-0.5, (prefix[0], prefix[1]))
    places = torch.arange(slots)
    own = ((places >= first[:, None]) & (places <= last[:, None]))[:, None, None]
    mask = torch.cat([torch.ones(rows, 1, 1, common, dtype=torch.bool), own], 3).cuda()
    whole = (
        torch.cat([of_all.expand(rows, -1, -1, -1), of_row], 2).float().repeat_interleave(heads // kv_heads, 1)
        for of_all, of_row in zip(prefix, (key, value), strict=True)
    )
    wanted = torch.nn.functional.scaled_dot_product_attention(query.float(), *whole, attn_mask=mask)
    torch.testing.assert_close(got.float(), wanted, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(("window", "common"), [(1000, 0), (1000, 70), (50, 0)])
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(8, 4, 256), (32, 32, 128), (4, 2, 64)])
def test_attention_to_prompts_is_attention_under_a_mask(heads, kv_heads, width, window, common):
    from workflow_scripts.engines.local.prompt_attention import attend_to_prompts

    torch.manual_seed(0)
    rows, tokens = 5, 333
    query, key, value, *prefix = (
        torch.randn(batch, length, n, width, device="cuda", dtype=torch.bfloat16).transpose(1, 2)
        for batch, n, length in (
            (rows, heads, tokens), (rows, kv_heads, tokens), (rows, kv_heads, tokens), (1, kv_heads, common),
            (1, kv_heads, common),
        )
    )  # fmt: skip
    keys, values = (part.contiguous() for part in prefix)
    start = torch.tensor([0, 1, 130, 64, 332], dtype=torch.int32, device="cuda")
    got = attend_to_prompts(query, key, value, start, window, width**-0.5, (keys, values) if common else None)
    place = torch.arange(tokens, device="cuda")
    distance = place[:, None] - place[None, :]
    own = ((distance >= 0) & (distance < window))[None] & (place >= start[:, None])[:, None]
    mask = torch.cat([own.new_ones(rows, tokens, common), own], 2)[:, None]
    whole = (
        torch.cat([of_all.expand(rows, -1, -1, -1), of_row], 2).float().repeat_interleave(heads // kv_heads, 1)
        for of_all, of_row in ((keys, key), (values, value))
    )
    wanted = torch.nn.functional.scaled_dot_product_attention(query.float(), *whole, attn_mask=mask).transpose(1, 2)
    assert bool(torch.isfinite(got).all())  # of padding, too
    for row, first in enumerate(start.tolist()):
        torch.testing.assert_close(got[row, first:].float(), wanted[row, first:], atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(("heads", "width"), [(8, 256), (4, 256), (1, 64)])
def test_norm_and_rotation_in_one_pass_are_the_models(heads, width):
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm, apply_rotary_pos_emb

    from workflow_scripts.models.fused.heads import norm_rope

    torch.manual_seed(0)
    x = torch.randn(3, 50, heads * width, device="cuda", dtype=torch.bfloat16)
    norm = Gemma3RMSNorm(width).cuda().to(torch.bfloat16)
    torch.nn.init.normal_(norm.weight)
    angle = torch.randn(3, 50, width // 2, device="cuda").repeat(1, 1, 2)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    got = norm_rope(x, norm.weight, norm.eps, cos, sin, heads)
    normed = norm(x.view(3, 50, heads, width).transpose(1, 2)).float()
    wanted, _ = apply_rotary_pos_emb(normed, normed, cos.float(), sin.float())
    torch.testing.assert_close(got.float(), wanted, atol=1e-1, rtol=1e-2)


def test_the_gated_unit_in_one_pass_is_the_models():
    from workflow_scripts.models.fused.gemma3_inference import gelu_gate_

    torch.manual_seed(0)
    gate, up = (torch.randn(5, 1000, device="cuda", dtype=torch.bfloat16) * 3 for _ in range(2))
    wanted = torch.nn.functional.gelu(gate, approximate="tanh") * up
    got = gelu_gate_(torch.cat([gate, up], -1))[:, :1000]
    torch.testing.assert_close(got, wanted, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(
    "names", [(), ("q_proj", "v_proj"), ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")]
)
def test_joint_products_with_adapters_are_the_sums_of_the_plain_ones(names):
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from workflow_scripts.models.kernels import speed_up_inference

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=97, hidden_size=320, intermediate_size=520, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, sliding_window=32, query_pre_attn_scalar=64,
    )  # fmt: skip
    model = Gemma3ForCausalLM(config).to("cuda", torch.bfloat16).eval()
    if names:
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=list(names))).eval()
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.2)
    ids = torch.randint(3, 97, (3, 70), device="cuda")
    with torch.inference_mode():
        exact = model.double()(input_ids=ids).logits
        plain = model.bfloat16()(input_ids=ids).logits
        said = speed_up_inference(model)
        fast = model(input_ids=ids).logits
    assert "one pass" in said
    assert (fast - exact).norm() < 1.1 * (plain - exact).norm()
    if names:
        base = model.unload()
        with torch.inference_mode():
            speed_up_inference(base)
            unloaded = base(input_ids=ids).logits
        assert (unloaded - exact).norm() > (fast - exact).norm()


@pytest.mark.parametrize("shape", ["gemma3", "llama", "llama with a common beginning"])
def test_a_captured_batch_gives_what_the_library_gives_row_by_row(shape):
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

    from workflow_scripts.engines.local.decoding import Decoder
    from workflow_scripts.models.kernels import speed_up_inference

    torch.manual_seed(0)
    fields = {
        "vocab_size": 512, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "pad_token_id": 0, "eos_token_id": 1,
        "bos_token_id": 2,
    }  # fmt: skip
    network = (
        Gemma3ForCausalLM(Gemma3TextConfig(**fields, sliding_window=32))
        if shape == "gemma3"
        else LlamaForCausalLM(LlamaConfig(**fields))
    )
    model = network.to("cuda", torch.bfloat16).eval()
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 512, (length,), generator=generator).tolist() for length in (90, 5, 33, 90, 64)]
    if shape == "llama with a common beginning":
        prompts = [torch.arange(3, 63).tolist() + prompt for prompt in prompts]
    plain = [
        model.generate(
            input_ids=torch.tensor([p], device="cuda"), max_new_tokens=40, min_new_tokens=40, do_sample=False
        )[0, len(p) :].tolist()
        for p in prompts
    ]
    speed_up_inference(model)
    decoder = Decoder(model, 0, {1})
    first = decoder.generate(prompts, 40, fixed=True)
    assert decoder.generate(prompts, 40, fixed=True) == first  # on the buffers of the first call
    alike = sum(a == b for x, y in zip(plain, first, strict=True) for a, b in zip(x[:8], y[:8], strict=True))
    assert alike >= 36  # bfloat16 rounds near ties either way


SHAPE = {
    "vocab_size": 320,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.05,
}


@pytest.mark.parametrize("config", ["MistralConfig", "Qwen2Config"])
def test_ligers_layers_are_the_models_own(config):
    import transformers

    from workflow_scripts.models.kernels import LIGER, speed_up_inference

    shape = getattr(transformers, config)(**SHAPE)
    assert shape.model_type in LIGER
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = transformers.AutoModel.from_config(shape).to(torch.bfloat16)
    model.get_decoder = lambda: model
    ids = torch.randint(0, 320, (3, 50), device="cuda")
    with torch.inference_mode():
        before = model(input_ids=ids).last_hidden_state.float()
        assert "Liger" in speed_up_inference(model)
        after = model(input_ids=ids).last_hidden_state.float()
    assert torch.cosine_similarity(before, after, dim=-1).min() > 0.999
