"""On a GPU: the kernels, the graphs and the 8-bit products of training, against sums done by the library."""

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

VOCABULARY, WIDTH = 97, 256


def gap(value, exact) -> float:
    return ((value.double() - exact.double()).norm() / exact.double().norm()).item()


def tuned(dtype: torch.dtype = torch.bfloat16, layers: int = 3, nf4: bool = False, rank: int = 4):
    """A small Gemma 3 with norms and adapters that are not trivial."""
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
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
    if nf4:
        quantise(model, names)
    adapted = get_peft_model(model, LoraConfig(r=rank, lora_alpha=8, target_modules=names))
    for name, parameter in adapted.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float().to("cuda")
        if "lora_B" in name:
            parameter.data.normal_(0, 0.2)
    return adapted.train()


def quantise(model, names) -> None:
    """Put weights of 4 bits in place of the named projections' own."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for module in list(model.modules()):
        for name in names:
            if (linear := getattr(module, name, None)) is not None:
                options = {"bias": False, "compute_dtype": torch.bfloat16, "quant_type": "nf4"}
                packed = Linear4bit(linear.in_features, linear.out_features, **options)
                packed.weight = Params4bit(linear.weight.data.cpu(), requires_grad=False, quant_type="nf4")
                setattr(module, name, packed.to("cuda"))


def fused(model, **options):
    from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

    assert fuse_layers_for_training(model, **options) == len(model.get_base_model().model.layers)
    return model


def batch_of(rows: int, tokens: int, seed: int = 1) -> dict[str, torch.Tensor]:
    """Ids, and a mask that is causal but for an image's tokens, the last row's padding left out."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (rows, tokens), generator=generator).cuda()
    mask = torch.ones(rows, 1, tokens, tokens, dtype=torch.bool, device="cuda").tril()
    mask[:, :, 3 : tokens // 2, 3 : tokens // 2] = True
    mask[-1, :, :, tokens - 5 :] = False
    labels = ids.clone()
    labels[:, : tokens // 2] = -100
    labels[-1, tokens - 6 :] = -100
    return {"ids": ids, "mask": mask, "labels": labels}


def loss_and_gradients(model, batch) -> tuple[float, dict[str, torch.Tensor]]:
    model.zero_grad()
    masks = {"full_attention": batch["mask"], "sliding_attention": batch["mask"].clone()}
    with torch.autocast("cuda", torch.bfloat16, enabled=model.dtype == torch.bfloat16):
        logits = model(input_ids=batch["ids"], attention_mask=masks, use_cache=False).logits
    loss = torch.nn.functional.cross_entropy(
        logits[:, :-1].float().reshape(-1, VOCABULARY), batch["labels"][:, 1:].reshape(-1), ignore_index=-100
    )
    loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def largest_gap(gradients, others) -> float:
    assert gradients.keys() == others.keys()
    return max(gap(gradients[name], others[name]) for name in others)


def test_4_bit_weights_come_as_bitsandbytes_has_them_and_columns_beside():
    from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise, quantize_4bit

    from workflow_scripts.models.fused.training.nf4 import dequantise_into

    weight, beside = torch.randn(96, 5120, device="cuda").bfloat16(), torch.randn(96, 48, device="cuda").bfloat16()
    packed, state = quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    exact = dequantize_4bit(packed, state)
    state.absmax = (dequantize_blockwise(state.absmax, state.state2) + state.offset).float()
    target = torch.zeros(96, 5168, device="cuda", dtype=torch.bfloat16)
    dequantise_into(target, packed, state, beside)
    assert torch.equal(target, torch.cat([exact, beside], 1))


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize(("heads", "kv_heads", "width", "tokens"), [(4, 2, 64, 150), (8, 4, 256, 400), (2, 2, 128, 64)])
def test_attention_under_a_mask_is_the_librarys(heads, kv_heads, width, tokens, holes):
    from workflow_scripts.models.fused.training.attention import MaskedAttention, seen_blocks

    torch.manual_seed(0)
    mask = batch_of(3, tokens)["mask"]
    if holes:
        mask[:, :, tokens // 2 :, tokens // 4 : tokens // 2] = False
        mask[1, :, 10:, 1:9] = False
        mask[2, :, tokens - 70 :] = False  # these see nothing, and the last block of 150 or 400 tokens is of such alone
    parts = [torch.randn(3, each, tokens, width, device="cuda").bfloat16() for each in (heads, kv_heads, kv_heads)]
    grad = torch.randn(3, tokens, heads * width, device="cuda").bfloat16()

    def gradients(attend, dtype):
        inputs = [part.to(dtype).requires_grad_() for part in parts]
        out = attend(*inputs)
        out.backward(grad.to(dtype))
        return [out.detach(), *(each.grad for each in inputs)]

    def library(query, key, value):
        attend = torch.nn.functional.scaled_dot_product_attention
        return attend(query, key, value, mask, scale=0.1, enable_gqa=True).transpose(1, 2).flatten(2)

    exact = gradients(library, torch.float64)
    own = gradients(lambda *parts: MaskedAttention.apply(*parts, seen_blocks(mask), 0.1, 16), torch.bfloat16)
    for value, other in zip(own, exact, strict=True):
        assert gap(value, other) < 5e-3


def test_of_a_mask_no_more_than_its_own_bytes_a_few_times_are_held():
    from workflow_scripts.models.fused.training.attention import seen_blocks

    mask = torch.ones(4, 1, 2048, 2048, dtype=torch.bool, device="cuda").tril()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    words = seen_blocks(mask).words
    assert torch.cuda.max_memory_allocated() - before < 4 * mask.numel()
    bits = words[..., None] >> torch.arange(64, device="cuda") & 1
    assert torch.equal(bits.flatten(2).bool(), mask[:, 0])


def test_two_heads_a_program_where_their_keys_fit(monkeypatch):
    from workflow_scripts.models.fused.training import attention

    query, key = torch.empty(1, 8, 1, 256, dtype=torch.bfloat16), torch.empty(1, 4, 1, 256, dtype=torch.bfloat16)
    assert attention.heads_that_fit(256, torch.bfloat16, 99 * 1024) == 0
    for kibibytes, heads in ((227, 2), (163, 1)):
        monkeypatch.setattr(attention, "shared_memory", lambda device, size=kibibytes * 1024: size)
        assert attention._paired(query, key) == heads
        assert attention._paired(query[..., :128], key[..., :128]) == 2


def test_attention_that_does_not_fit_a_card_is_the_librarys(monkeypatch):
    """As heads 256 wide on a card with 99 KiB of shared memory."""
    from workflow_scripts.models.fused import gemma3_training

    monkeypatch.setattr(gemma3_training, "shared_memory", lambda device: 36 * 1024)
    monkeypatch.setattr(gemma3_training, "MaskedAttention", None)
    plain, model, exact = tuned(), fused(tuned()), tuned(torch.float32)
    for seed in range(3):
        batch = batch_of(4, 96, seed)
        loss, gradients = loss_and_gradients(plain, batch)
        other, own = loss_and_gradients(model, batch)
        assert other == pytest.approx(loss, rel=5e-3)
        _, of_exact = loss_and_gradients(exact, batch)
        assert largest_gap(own, of_exact) < 1.3 * largest_gap(gradients, of_exact)


def test_adapters_of_more_ranks_than_the_passes_hold_stay_as_they_are():
    from workflow_scripts.models.fused.gemma3_training import fuse_layers_for_training

    assert fuse_layers_for_training(tuned(layers=1, rank=256)) == 0


def test_a_gated_unit_of_no_rows_has_gradients_of_zeros():
    from workflow_scripts.models.fused.training.gated import LowRank, gated, gated_back_

    both, narrow, ups = (torch.zeros(size, device="cuda") for size in ((0, 144), (0, 16), (128, 16)))
    downs, low = torch.ones(16, 64, device="cuda"), LowRank(narrow, ups, (4, 4))
    assert gated(both, low, downs, 16)[0].shape == (0, 80)
    sums = gated_back_(both, low, torch.zeros(0, 64, device="cuda"), narrow, downs)
    assert sums.of_gate.shape == (64, 4) and not sums.of_gate.any() and not sums.of_down.any()


def test_blocks_that_are_empty_are_left_out():
    from workflow_scripts.models.fused.training.attention import seen_blocks

    mask = torch.ones(1, 1, 200, 200, dtype=torch.bool, device="cuda").tril()
    seen = seen_blocks(mask)
    assert seen.key_counts.tolist() == [[1, 2, 3, 4]]
    assert seen.query_counts.tolist() == [[4, 3, 2, 1]]
    assert seen.keys.tolist() == [[0, 0, 0, 0]]
    assert seen.queries.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("rows", "width", "ranks", "down_rank"),
    [(70, 300, (16, 16), 16), (9600, 10240, (16, 16), 16), (500, 700, (4, 8), 8), (200, 640, (64, 40), 64)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gated_unit_gives_all_that_its_adapters_need(rows, width, ranks, down_rank, dtype):
    from workflow_scripts.models.fused.training.gated import LowRank, aligned_empty, gated, gated_back_

    def drawn(*size, scale=1.0):
        return (torch.randn(*size, device="cuda") * scale).to(dtype)

    torch.manual_seed(0)
    (gate_rank, _), rank = ranks, sum(ranks)
    extra, down_extra = (-(-each // 16) * 16 for each in (rank, down_rank))
    both = aligned_empty(drawn(1), rows, 2 * width + extra).copy_(drawn(rows, 2 * width + extra))
    narrow, back = drawn(rows, extra + 40)[:, :extra], drawn(rows, down_extra + 24)[:, :down_extra]
    ups, downs, gradient = (
        torch.zeros_like(drawn(2 * width, extra)),
        drawn(down_extra, width, scale=0.2),
        drawn(rows, width),
    )
    ups[:width, :gate_rank] = drawn(width, gate_rank, scale=0.2)
    ups[width:, gate_rank:rank] = drawn(width, ranks[1], scale=0.2)
    narrow[:, rank:], back[:, down_rank:], downs[down_rank:] = 0, 0, 0
    low = LowRank(narrow, ups, ranks)
    full = (both[:, : 2 * width].double() + narrow.double() @ ups.double().t()).requires_grad_()
    unit = torch.nn.functional.gelu(full[:, :width], approximate="tanh") * full[:, width:]
    unit.backward(gradient.double() + back.double() @ downs.double())
    most = 1e-6 if dtype == torch.float32 else 5e-3
    product, narrow_down = gated(both, low, downs, 16)
    assert gap(product[:, :width], unit.detach()) < most
    assert gap(narrow_down, unit.detach() @ downs.double().t()) < most
    again = gated_back_(both.clone(), low, gradient, back, downs)
    sums = gated_back_(both, low, gradient, back, downs)
    assert all(one.equal(other) for one, other in zip(sums, again, strict=True))
    of_gate, of_up = full.grad.split(width, 1)
    assert gap(both[:, : 2 * width], full.grad) < most
    assert gap(sums.back, full.grad @ ups.double()) < most
    assert gap(sums.of_gate, of_gate.t() @ narrow[:, :gate_rank].double()) < most
    assert gap(sums.of_up, of_up.t() @ narrow[:, gate_rank:rank].double()) < most
    assert gap(sums.of_down, back.double().t() @ unit.detach()) < most


@pytest.mark.parametrize("nf4", [False, True])
def test_a_decoder_in_graphs_has_the_models_own_loss_and_gradients(nf4):
    plain, model = tuned(nf4=nf4), fused(tuned(nf4=nf4))
    exact = tuned(torch.float32)
    # The first runs without a graph, the second is captured, the last two are filled up to it.
    for number, (rows, tokens) in enumerate([(4, 96), (4, 96), (3, 96), (4, 95), (2, 60)]):
        batch = batch_of(rows, tokens, seed=number)
        loss, gradients = loss_and_gradients(plain, batch)
        other, own = loss_and_gradients(model, batch)
        assert other == pytest.approx(loss, rel=5e-3)
        if not nf4:
            _, of_exact = loss_and_gradients(exact, batch)
            assert largest_gap(own, of_exact) < 1.3 * largest_gap(gradients, of_exact)
        for each in (plain, model, exact):
            for name, parameter in each.named_parameters():
                if parameter.requires_grad:
                    parameter.data -= 0.05 * gradients[name]


def test_a_backward_pass_after_a_later_forward_pass_is_refused():
    model = fused(tuned())
    batch = batch_of(2, 64)
    loss_and_gradients(model, batch)
    masks = {"full_attention": batch["mask"], "sliding_attention": batch["mask"]}
    losses = [model(input_ids=batch["ids"], attention_mask=masks).logits.float().square().mean() for _ in range(2)]
    with pytest.raises(RuntimeError, match="later forward pass"):
        losses[0].backward()


@pytest.mark.parametrize("nf4", [False, True])
def test_8_bit_products_are_those_of_their_codes(nf4):
    from workflow_scripts.models.fused.float8 import quantise_rows
    from workflow_scripts.models.fused.training.in_float8 import Float8Group

    layer = tuned(nf4=nf4).get_base_model().model.layers[0]
    group = Float8Group(layer.mlp.gate_proj, layer.mlp.up_proj, matrices={})
    group.refresh()
    torch.manual_seed(0)
    x, grad = torch.randn(70, WIDTH, device="cuda").bfloat16(), torch.randn(70, 4 * WIDTH, device="cuda").bfloat16()

    def decoded(codes):
        return codes.codes.double() * codes.scales.double()

    outputs, narrow = group.forward(x)
    exact = decoded(quantise_rows(x)) @ decoded(group.upright).t() + narrow.double() @ group.ups.double().t()
    assert gap(outputs, exact) < 5e-3
    grad_x, back = group.input_gradient(grad)
    exact = decoded(quantise_rows(grad)) @ decoded(group.turned).t() + back.double() @ group.downs.double()
    assert gap(grad_x, exact) < 5e-3


def test_training_in_8_bits_stays_near_bfloat16_and_answers_are_untouched():
    plain, model = tuned(), fused(tuned(), float8=True)
    for seed in range(3):
        batch = batch_of(4, 96, seed)
        loss, gradients = loss_and_gradients(plain, batch)
        other, own = loss_and_gradients(model, batch)
        assert other == pytest.approx(loss, rel=0.02)
        similar = [torch.cosine_similarity(own[name].flatten(), gradients[name].flatten(), dim=0) for name in own]
        assert min(similar) > 0.9
    plain.eval(), model.eval()
    ids = batch_of(1, 20)["ids"]
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)
