"""Products in 8-bit codes against float32, on a CPU; the passes that write codes need a GPU: test_gpu_float8."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model

from workflow_scripts.core.command import Refused
from workflow_scripts.models.fused.float8 import (
    E4M3,
    LARGEST,
    LARGEST_OF_WEIGHTS,
    Float8Linear,
    quantise_rows,
    quantise_weight,
    scaled_product,
)
from workflow_scripts.models.fused.joint import ALIGNED_CODES, JointFloat8Projection, can_be_joined, in_float8

WIDTH, FIRST, SECOND = 64, 48, 32


class Projections(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(WIDTH, FIRST, bias=False)
        self.second = torch.nn.Linear(WIDTH, SECOND, bias=False)

    def forward(self, x):
        return torch.cat([self.first(x), self.second(x)], -1)


def in_codes() -> Projections:
    torch.manual_seed(0)
    model = Projections()
    for name in ("first", "second"):
        setattr(model, name, Float8Linear(getattr(model, name), LARGEST_OF_WEIGHTS))
    return model


def adapted(names: list[str], rank: int = 3, size: float = 0.1):
    model = get_peft_model(in_codes(), LoraConfig(r=rank, lora_alpha=5, target_modules=names)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=size)
    return model


def held(float8) -> torch.Tensor:
    return float8.codes.float() * float8.scales


def test_codes_hold_each_row_within_a_sixteenth_of_each_value():
    torch.manual_seed(0)
    x = torch.randn(50, 33) * torch.logspace(-6, 6, 50)[:, None]
    x[7] = 0
    codes, scales = quantise_rows(x, extra=15)
    assert codes.shape == (50, 48) and codes.dtype == E4M3 and scales.shape == (50, 1)
    assert float(codes[:, :33].float().abs().max()) == LARGEST
    normal = x.abs() > scales * 2**-6
    error = (codes[:, :33].float() * scales - x).abs()
    assert bool((error[normal] <= x.abs()[normal] / 16).all()) and bool((error <= scales * 2**-6).all() | normal.any())
    assert not held(quantise_rows(x))[7].any()


@pytest.mark.parametrize("largest", [LARGEST, LARGEST_OF_WEIGHTS])
def test_a_weights_error_does_not_depend_on_its_largest_code(largest):
    torch.manual_seed(0)
    weight = torch.randn(100, 200)
    error = (held(quantise_weight(weight, largest)) - weight).norm() / weight.norm()
    assert error == pytest.approx(0.0265, abs=0.001)


def test_a_product_is_that_of_what_the_codes_hold():
    torch.manual_seed(0)
    x, weight = quantise_rows(torch.randn(5, 6, WIDTH)), quantise_weight(torch.randn(FIRST, WIDTH))
    wanted = (x.codes.float().view(30, WIDTH) * x.scales) @ held(weight).t()
    got = scaled_product(x, weight)
    assert got.shape == (5, 6, FIRST) and got.dtype == torch.bfloat16
    torch.testing.assert_close(got.view(30, FIRST).float(), wanted, atol=1e-2, rtol=2**-7)


def test_a_layer_in_codes_keeps_its_form_and_no_weights():
    layer = in_codes().first
    assert layer.weight.shape == (FIRST, WIDTH) and layer.weight.untyped_storage().nbytes() == 4
    assert layer.weight.isnan().all() and in_float8(layer) and can_be_joined(layer)
    assert not can_be_joined(layer, torch.nn.Linear(WIDTH, FIRST, bias=False))


@pytest.mark.parametrize("names", [[], ["first"], ["second"], ["first", "second"]])
@pytest.mark.parametrize("size", [0.01, 0.15])
def test_an_adapter_loses_no_more_than_bfloat16_would(names, size):
    model = adapted(names, size=size) if names else in_codes()
    torch.manual_seed(1)
    x = torch.randn(200, WIDTH)
    x[:, 5] *= 50  # as activations have a few large channels
    inner = model.get_base_model() if names else model
    codes = quantise_rows(x)
    seen = codes.codes.float() * codes.scales  # what the layers see, adapters too
    with torch.inference_mode():
        low = torch.zeros(200, FIRST + SECOND)
        for name, part in (("first", slice(0, FIRST)), ("second", slice(FIRST, None))):
            if name in names:
                layer = getattr(inner, name)
                a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
                low[:, part] = seen @ a.t() @ b.t() * layer.scaling["default"]
        bases = [getattr(inner, name) for name in ("first", "second")]
        bases = [getattr(layer, "base_layer", layer) for layer in bases]
        base = torch.cat([seen @ held(layer.float8).t() for layer in bases], -1)
        joint = JointFloat8Projection(inner.first, inner.second)
        got = joint(x)
    assert joint.sizes == [FIRST, SECOND] and joint.extra == (ALIGNED_CODES - WIDTH if names else 0)
    # bfloat16's own rounding of the sum, and 2⁻⁷ of the adapter's share
    limit = (base + low).abs() * 2**-7 + low.norm(dim=1, keepdim=True) * 2**-7 + 1e-3
    assert bool(((got - (base + low)).abs() <= limit).all())


def test_an_adapter_leaves_no_trace_in_the_codes():
    model = adapted(["first", "second"])
    inner = model.get_base_model()
    layers = [inner.first.base_layer, inner.second.base_layer]
    before = [held(layer.float8).clone() for layer in layers]
    JointFloat8Projection(inner.first, inner.second)
    base = model.unload()
    again = JointFloat8Projection(base.first, base.second)
    assert again.extra == 0 and again.weight.codes.shape == (FIRST + SECOND, WIDTH)
    for layer, codes in zip((base.first, base.second), before, strict=True):
        assert torch.equal(held(layer.float8), codes)


def test_an_adapter_beyond_what_codes_hold_is_refused():
    inner = adapted(["first"], size=1e4).get_base_model()
    with pytest.raises(Refused, match="fp8: false"):
        JointFloat8Projection(inner.first, inner.second)


def test_a_layer_in_codes_is_not_copied_to_be_replaced():
    with pytest.raises(Refused, match="whole weight"):
        copy.deepcopy(in_codes().first)
