"""On a GPU: kernels of this project against the model's arithmetic in float32."""

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def paged(rows, heads, width, slots, window, common=0, ahead=0):
    """Random keys, or values, in pages that lie anywhere, and a prefix."""
    from workflow_scripts.engines.local.pages import PAGE, Paged

    entries = slots // PAGE
    order = torch.randperm(rows * entries) + 1
    pool = torch.randn(rows * entries + 1, heads, PAGE, width, device="cuda", dtype=torch.bfloat16)
    table = order.view(rows, entries).to("cuda", torch.int32)
    prefix = torch.randn(1, heads, common, width, device="cuda", dtype=torch.bfloat16) if common else None
    return Paged(pool, table, slots, window, ahead, prefix)


def slots_of(held):
    """What each row has in its slots, (rows, heads, slots, width)."""
    return held.pool[held.table.long()].transpose(1, 2).flatten(2, 3)


@pytest.mark.parametrize("common", [0, 1, 64, 280])
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(8, 4, 256), (32, 32, 128), (12, 2, 64)])
def test_attention_to_a_prefix_and_pages_is_attention_to_both(heads, kv_heads, width, common):
    from workflow_scripts.engines.local.slot_attention import attend_to_pages

    torch.manual_seed(0)
    rows, slots = 70, 192
    query = torch.randn(rows, heads, 1, width, device="cuda", dtype=torch.bfloat16)
    key = paged(rows, kv_heads, width, slots, 10_000, common)
    value = paged(rows, kv_heads, width, slots, 10_000, common)._replace(table=key.table)
    newest = (torch.arange(rows) * 37 % slots).to("cuda", torch.int32)
    got = attend_to_pages(query, key, value, newest[:, None, None, None].repeat(1, 1, 1, 2), width**-0.5)
    own = (torch.arange(slots, device="cuda") <= newest[:, None])[:, None, None]
    mask = torch.cat([own.new_ones(rows, 1, 1, common), own], 3)
    whole = []
    for held in (key, value):
        tokens = slots_of(held)
        if held.prefix is not None:
            tokens = torch.cat([held.prefix.expand(rows, -1, -1, -1), tokens], 2)
        whole.append(tokens.float().repeat_interleave(heads // kv_heads, 1))
    wanted = torch.nn.functional.scaled_dot_product_attention(query.float(), *whole, attn_mask=mask)
    torch.testing.assert_close(got.float(), wanted, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("window", [128, 100])
def test_attention_to_a_window_sees_the_newest_tokens_wherever_they_lie(window):
    from workflow_scripts.engines.local.slot_attention import attend_to_pages

    torch.manual_seed(0)
    rows, heads, kv_heads, width, slots = 40, 8, 4, 256, 128
    query = torch.randn(rows, heads, 1, width, device="cuda", dtype=torch.bfloat16)
    key = paged(rows, kv_heads, width, slots, window)
    value = paged(rows, kv_heads, width, slots, window)._replace(table=key.table)
    newest = (torch.arange(rows) * 53).to("cuda", torch.int32)
    got = attend_to_pages(query, key, value, newest[:, None, None, None].repeat(1, 1, 1, 2), width**-0.5)
    mask = torch.zeros(rows, slots, dtype=torch.bool)
    for row, last in enumerate(newest.tolist()):
        for place in range(max(0, last - window + 1), last + 1):
            mask[row, place % slots] = True
    whole = [slots_of(held).float().repeat_interleave(heads // kv_heads, 1) for held in (key, value)]
    wanted = torch.nn.functional.scaled_dot_product_attention(
        query.float(), *whole, attn_mask=mask[:, None, None].cuda()
    )
    torch.testing.assert_close(got.float(), wanted, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize(("slots", "ahead"), [(384, 0), (128, 0), (128, 70), (384, 70)])
@pytest.mark.parametrize(("heads", "width"), [(4, 256), (3, 64)])
def test_prompts_and_new_tokens_are_written_to_their_slots_and_nothing_else_is(heads, width, slots, ahead):
    from workflow_scripts.engines.local.slot_attention import store_new, store_prompts

    torch.manual_seed(0)
    rows, tokens = 6, 300
    states = torch.randn(2, rows, tokens, heads, width, device="cuda", dtype=torch.bfloat16).transpose(2, 3)
    start = torch.tensor([0, 1, 130, 64, 236, 299])
    keys, values = (paged(rows, heads, width, slots, 10_000, ahead, ahead) for _ in range(2))
    values = values._replace(table=keys.table)
    wanted = [slots_of(held).clone() for held in (keys, values)]
    new = torch.randn(2, rows, heads, 1, width, device="cuda", dtype=torch.bfloat16)
    for held, content, own, last in zip((keys, values), wanted, states, new, strict=True):
        for row, first in enumerate(start.tolist()):
            whole = torch.cat([held.prefix[0] if ahead else own[row, :, :0], own[row, :, first:], last[row]], 1)
            for place in range(max(0, whole.shape[1] - 1 - slots), whole.shape[1]):
                content[row, :, place % slots] = whole[:, place]
    store_prompts(*states, keys, values, start.to("cuda", torch.int32))
    store_new(*new, keys, values, (tokens - start).cuda())
    for held, content in zip((keys, values), wanted, strict=True):
        torch.testing.assert_close(slots_of(held), content, atol=0, rtol=0)


@pytest.mark.parametrize(("window", "common"), [(1000, 0), (1000, 70), (50, 0), (50, 70), (200, 70)])
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
    before = (place - start[:, None] + common)[:, :, None] - torch.arange(common, device="cuda") < window
    mask = torch.cat([before, own], 2)[:, None]
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


@pytest.mark.parametrize("beginning", [0, 60])
@pytest.mark.parametrize("shape", ["gemma3", "llama"])
def test_a_captured_batch_gives_what_the_library_gives_row_by_row(shape, beginning, monkeypatch):
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
        Gemma3ForCausalLM(Gemma3TextConfig(**fields, sliding_window=64))
        if shape == "gemma3"
        else LlamaForCausalLM(LlamaConfig(**fields))
    )
    model = network.to("cuda", torch.bfloat16).eval()
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 512, (length,), generator=generator).tolist() for length in (150, 90, 90, 64, 33, 5)]
    prompts = [torch.arange(3, 3 + beginning).tolist() + prompt for prompt in prompts]
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
    assert alike >= 40  # of 48: bfloat16 rounds near ties either way
    limits = [40, 3, 40, 17, 40, 25]
    for pages in (1000, 15):  # few: rows are put back, and taken up again
        size = decoder._row_size(64)
        decoder._last = None
        monkeypatch.setattr(decoder, "_free", lambda size=size, pages=pages: pages * size)
        answers: dict[int, list[int]] = {}
        for ended in decoder.stream(prompts, limits, 3, fixed=True):
            answers |= ended
        assert [len(answers[place]) for place in range(6)] == limits
        alike = sum(a == b for place in range(6) for a, b in zip(plain[place][:8], answers[place][:8], strict=False))
        assert alike >= 35


def test_prompts_with_images_and_without_share_a_batch_and_get_the_librarys_answers(monkeypatch):
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    from workflow_scripts.engines.local import decoding
    from workflow_scripts.models.kernels import speed_up_inference

    torch.manual_seed(0)
    text = {
        "vocab_size": 512, "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 6,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "pad_token_id": 0, "eos_token_id": 1,
        "bos_token_id": 2, "sliding_window": 64,
    }  # fmt: skip
    vision = {
        "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 56,
        "patch_size": 14, "vision_use_head": False,
    }  # fmt: skip
    config = Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=16, boi_token_index=508, eoi_token_index=509,
        image_token_index=510,
    )  # fmt: skip
    model = Gemma3ForConditionalGeneration(config).to("cuda", torch.bfloat16).eval()
    generator = torch.Generator().manual_seed(1)
    prompts = []
    for lengths in ((150,), (0, 9), (70, 12), (4, 3, 60), (33,), (100, 5, 20)):  # an image between two texts
        texts = [torch.randint(3, 500, (length,), generator=generator).tolist() for length in lengths]
        prompts.append(sum(([508, *[510] * 16, 509, *one] for one in texts[1:]), texts[0]))
    projected = [
        torch.randn(prompt.count(510) // 16, 16, 256, generator=generator).to("cuda", torch.bfloat16)
        for prompt in prompts
    ]

    def inputs(first, last, ids, mask):
        images = torch.cat(projected[first:last])
        encoded = {"mm_encoder_outputs": {"image": BaseModelOutputWithPooling(pooler_output=images.clone())}}
        return {"token_type_ids": (ids == 510).long()} | (encoded if len(images) else {})

    plain = []
    for place, prompt in enumerate(prompts):
        ids = torch.tensor([prompt], device="cuda")
        mask = torch.ones_like(ids)
        new = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=40, min_new_tokens=40, do_sample=False,
            **inputs(place, place + 1, ids, mask),
        )  # fmt: skip
        plain.append(new[0, len(prompt) :].tolist())
    speed_up_inference(model)
    decoder = decoding.Decoder(model, 0, {1})
    for tokens in (1 << 15, 300):  # of a part of the prompts
        monkeypatch.setattr(decoding, "PREFILL_TOKENS", tokens)
        answers = decoder.generate(prompts, 40, inputs=inputs, fixed=True)
        alike = sum(a == b for x, y in zip(plain, answers, strict=True) for a, b in zip(x[:8], y[:8], strict=True))
        assert alike >= 40  # of 48: bfloat16 rounds near ties either way
        assert decoder.generate(prompts, 40, inputs=inputs, fixed=True) == answers  # on the same buffers


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
