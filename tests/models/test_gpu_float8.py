"""On a GPU: products in 8-bit codes, the passes that write codes, and Gemma 3's layers of both."""

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (9, 0), reason="needs an H100 or newer"
)

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def alike(got, wanted) -> bool:
    """Whether codes are those of another order of sums: nearly all the same, the others next to them."""
    codes, others = (each.codes.view(torch.uint8).to(torch.int32) for each in (got, wanted))
    torch.testing.assert_close(got.scales, wanted.scales, atol=0, rtol=1e-2)
    same = (codes == others).float().mean().item()
    near = ((got.codes.float() - wanted.codes.float()).abs() <= wanted.codes.float().abs() / 7 + 2**-8).all()
    return same > 0.98 and bool(near)


@pytest.mark.parametrize("shape", [(3, 70, 320), (5, 2560), (1025, 10240)])
def test_rows_get_the_codes_that_a_cpu_gives_them(shape):
    from workflow_scripts.models.fused.float8 import Float8, quantise_rows

    torch.manual_seed(0)
    x = (torch.randn(shape) * torch.logspace(-3, 3, shape[-2])[:, None]).to(torch.bfloat16)
    x.view(-1, shape[-1])[1] = 0
    got, wanted = quantise_rows(x.cuda(), 48), quantise_rows(x, 48)
    own = [Float8(each.codes[..., : shape[-1]].cpu(), each.scales.cpu()) for each in (got, wanted)]
    assert got.codes.shape == (*shape[:-1], shape[-1] + 48) and alike(*own)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 2560, 4096), (70, 2608, 320), (1024, 10240, 2560)])
def test_products_are_those_of_what_the_codes_hold(rows, inputs, outputs):
    from workflow_scripts.models.fused.float8 import quantise_rows, quantise_weight, scaled_product

    torch.manual_seed(0)
    x = quantise_rows(torch.randn(rows, inputs, device="cuda", dtype=torch.bfloat16))
    weight = quantise_weight(torch.randn(outputs, inputs, device="cuda", dtype=torch.bfloat16))
    wanted = (x.codes.double() * x.scales) @ (weight.codes.double() * weight.scales).t()
    got = scaled_product(x, weight)
    assert (got - wanted).norm() < 4e-3 * wanted.norm()


def test_sum_and_norm_give_the_codes_of_their_values():
    from workflow_scripts.models.fused.float8 import Float8, quantise_rows
    from workflow_scripts.models.fused.float8_kernels import add_norm_in_codes
    from workflow_scripts.models.fused.norms import add_norm

    torch.manual_seed(0)
    residual, x = (torch.randn(2, 33, 2560, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    weight, following = (torch.randn(2560, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    total, normed = add_norm(residual, x, weight, following, 1e-6)
    same, codes = add_norm_in_codes(residual, x, weight, following, 1e-6, 48)
    torch.testing.assert_close(total, same, atol=1e-2, rtol=2**-7)
    assert codes.codes.shape == (2, 33, 2608)
    assert alike(Float8(codes.codes[..., :2560], codes.scales), quantise_rows(normed))


def test_the_gated_unit_gives_the_codes_of_its_values():
    from workflow_scripts.models.fused.float8 import Float8, quantise_rows
    from workflow_scripts.models.fused.float8_kernels import gelu_gate_in_codes
    from workflow_scripts.models.fused.gemma3_inference import gelu_gate_

    torch.manual_seed(0)
    both = torch.randn(50, 20480, device="cuda", dtype=torch.bfloat16)
    codes = gelu_gate_in_codes(both, 16)
    assert codes.codes.shape == (50, 10256)
    assert alike(Float8(codes.codes[:, :10240], codes.scales), quantise_rows(gelu_gate_(both)[:, :10240]))


@pytest.mark.parametrize("rank", [4, 16, 48, 100])
@pytest.mark.parametrize("rows", [5, 1024, 5000])
def test_an_adapter_beside_codes_is_what_it_is_on_a_cpu(rows, rank):
    from peft import LoraConfig, get_peft_model

    from workflow_scripts.models.fused.float8 import LARGEST_OF_WEIGHTS, Float8Linear, quantise_rows
    from workflow_scripts.models.fused.joint import JointFloat8Projection

    torch.manual_seed(0)
    base = torch.nn.Sequential(*(torch.nn.Linear(320, size, bias=False, dtype=torch.bfloat16) for size in (96, 64)))
    for number in (0, 1):
        base[number] = Float8Linear(base[number], LARGEST_OF_WEIGHTS)
    adapted = get_peft_model(base, LoraConfig(r=rank, lora_alpha=rank, target_modules=["0", "1"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(rows, 320, dtype=torch.bfloat16)
    joint = JointFloat8Projection(base[0], base[1])
    wanted = joint.in_place(quantise_rows(x, joint.extra))
    for layer in (base[0], base[1]):
        layer.cuda()
        layer.base_layer.float8 = type(layer.base_layer.float8)(*(part.cuda() for part in layer.base_layer.float8))
    own = JointFloat8Projection(base[0], base[1])
    codes = quantise_rows(x, joint.extra)
    codes = type(codes)(codes.codes.cuda(), codes.scales.cuda())
    codes.codes[:, 320:] = float("nan")
    got = own.in_place(codes).cpu()
    assert not codes.codes[:, 320 + 6 * rank :].float().any()
    assert (got - wanted).norm() < 3e-3 * wanted.norm()


def network(names=(), *, in_codes: bool = False):
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from workflow_scripts.models.fused.float8 import hold_in_float8

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=97, hidden_size=320, intermediate_size=528, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=64, sliding_window=32, query_pre_attn_scalar=64, pad_token_id=0,
        eos_token_id=1, bos_token_id=2,
    )  # fmt: skip
    model = Gemma3ForCausalLM(config).to("cuda", torch.bfloat16).eval()
    if in_codes:
        assert hold_in_float8(model) == 21
    if names:
        torch.manual_seed(1)
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=list(names))).eval()
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(0, 0.05)
    return model


@pytest.mark.parametrize("names", [(), ("q_proj", "v_proj"), ALL])
def test_layers_in_codes_are_as_near_as_codes_allow(names):
    from workflow_scripts.models.fused.gemma3_inference import fuse_layers_for_inference

    ids = torch.randint(3, 97, (3, 70), device="cuda")
    model = network(names)
    with torch.inference_mode():
        exact = model.double()(input_ids=ids).logits
        codes = network(names, in_codes=True)
        layer_by_layer = codes(input_ids=ids).logits  # PEFT's sums around products in codes
        assert fuse_layers_for_inference(codes.get_base_model() if names else codes) == 3
        fast = codes(input_ids=ids).logits
    error = (layer_by_layer - exact).norm() / exact.norm()
    assert error < 0.15 and (fast - exact).norm() < 1.2 * (layer_by_layer - exact).norm()
    if names:
        plain = codes.unload()
        with torch.inference_mode():
            fuse_layers_for_inference(plain)
            unloaded = plain(input_ids=ids).logits
        assert (unloaded - exact).norm() > 1.5 * (fast - exact).norm()


def test_a_captured_batch_in_codes_gives_the_same_twice():
    from workflow_scripts.engines.local.decoding import Decoder
    from workflow_scripts.models.fused.gemma3_inference import fuse_layers_for_inference

    model = network(ALL, in_codes=True)
    fuse_layers_for_inference(model.get_base_model())
    generator = torch.Generator().manual_seed(1)
    prompts = [torch.randint(3, 97, (length,), generator=generator).tolist() for length in (90, 5, 33, 90, 64)]
    decoder = Decoder(model.get_base_model(), 0, {1})
    first = decoder.generate(prompts, 40, fixed=True)
    assert decoder.generate(prompts, 40, fixed=True) == first and all(len(tokens) == 40 for tokens in first)


def test_codes_take_the_weights_place_in_memory():
    from workflow_scripts.models.fused.float8 import hold_in_float8
    from workflow_scripts.models.fused.gemma3_inference import fuse_layers_for_inference

    before = torch.cuda.memory_allocated()
    model = network()
    layers = sum(parameter.nbytes for parameter in model.get_decoder().layers.parameters())
    whole = torch.cuda.memory_allocated() - before
    hold_in_float8(model)
    fuse_layers_for_inference(model)
    assert whole - (torch.cuda.memory_allocated() - before) > 0.4 * layers
