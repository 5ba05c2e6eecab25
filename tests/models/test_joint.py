"""Joint products against PEFT's own sums, on a CPU in float32; the layers around them need a GPU: test_gpu_kernels."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from workflow_scripts.models.fused.joint import ALIGNED, JointProjection, can_be_joined


class Projections(torch.nn.Module):
    def __init__(self, bias: bool = False) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(24, 40, bias=bias), torch.nn.Linear(24, 8, bias=bias)

    def forward(self, x):
        return torch.cat([self.first(x), self.second(x)], -1)


def adapted(names: list[str], rank: int = 3) -> torch.nn.Module:
    torch.manual_seed(0)
    model = get_peft_model(Projections(), LoraConfig(r=rank, lora_alpha=5, target_modules=names)).eval()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("names", [["first"], ["second"], ["first", "second"]])
def test_a_joint_product_is_what_the_adapted_layers_say(names):
    model = adapted(names)
    x = torch.randn(5, 7, 24)
    with torch.inference_mode():
        expected = model(x)
        inner = model.get_base_model()
        joint = JointProjection(inner.first, inner.second)
        torch.testing.assert_close(joint(x), expected)
        wide = torch.nn.functional.pad(x, (0, joint.extra + 5), value=float("nan"))
        torch.testing.assert_close(joint.in_place(wide), expected)
    assert joint.extra == ALIGNED and joint.sizes == [40, 8]


def test_weights_stay_the_layers_own_and_leave_the_adapter_behind_with_it():
    model = adapted(["first", "second"])
    inner = model.get_base_model()
    plain = {
        name: layer.base_layer.weight.clone() for name, layer in (("first", inner.first), ("second", inner.second))
    }
    JointProjection(inner.first, inner.second)
    base = model.unload()
    assert torch.equal(base.first.weight, plain["first"]) and torch.equal(base.second.weight, plain["second"])
    x = torch.randn(2, 24)
    with torch.inference_mode():
        expected = base(x)
        again = JointProjection(base.first, base.second)
        torch.testing.assert_close(again(x), expected)
    assert again.extra == 0


def test_projections_with_a_bias_are_not_joined():
    with_bias, without = Projections(bias=True), Projections()
    assert not can_be_joined(with_bias.first, without.second) and can_be_joined(without.first, without.second)
