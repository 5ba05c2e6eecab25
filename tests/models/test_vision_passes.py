"""SigLIP's tower in few passes against the library's, with Triton's kernels interpreted on the CPU.

Attention itself is for Hopper GPUs (`test_gpu_features`); here the library computes it from the same joint product.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="is run by the test above, in a process of its own")


@pytest.mark.skipif(INTERPRETED, reason="runs the others")
@pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
def test_all_of_this_in_a_process_that_interprets_kernels():
    done = subprocess.run(  # Triton looks at the variable when it is imported
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def small_tower(heads=2, head=72):
    from transformers import SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(0)
    config = SiglipVisionConfig(
        hidden_size=heads * head,
        intermediate_size=160,
        num_hidden_layers=2,
        num_attention_heads=heads,
        image_size=56,
        patch_size=14,
        vision_use_head=False,
    )
    tower = SiglipVisionModel(config).eval()
    for name, parameter in tower.named_parameters():
        parameter.data.normal_(1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.1)
    return tower


def levels_and_pixels(images=2, side=56):
    torch.manual_seed(1)
    values = torch.randn(3, 256)
    levels = torch.randint(0, 256, (images, side, side, 3), dtype=torch.uint8)
    return levels, values, torch.stack([values[channel][levels[..., channel].long()] for channel in range(3)], 1)


@interpreted
@pytest.mark.parametrize(("heads", "head"), [(2, 72), (1, 64), (4, 16), (2, 24)])
@torch.inference_mode()
def test_the_tower_is_the_librarys(heads, head):
    from workflow_scripts.models.fused.vision.siglip import SiglipTower

    tower = small_tower(heads, head)
    levels, values, pixels = levels_and_pixels()
    got = SiglipTower(tower, values)(levels).last_hidden_state
    torch.testing.assert_close(got, tower(pixel_values=pixels).last_hidden_state, atol=1e-4, rtol=1e-4)


@interpreted
def test_where_the_greatest_score_is_kept_nothing_is_to_be_computed_again():
    from workflow_scripts.models.fused.vision.siglip import SiglipTower

    tower = SiglipTower(small_tower(), levels_and_pixels()[1])
    assert tower.risen is not None
    tower.keep_greatest()
    assert tower.risen is None


@interpreted
@torch.inference_mode()
def test_in_8_bits_it_is_near_the_librarys():
    from workflow_scripts.models.fused.vision.siglip import SiglipTower

    tower = small_tower()
    levels, values, pixels = levels_and_pixels()
    got, wanted = SiglipTower(tower, values, fp8=True)(levels).last_hidden_state, tower(pixel_values=pixels)[0]
    assert 1e-3 < (got.float() - wanted).norm() / wanted.norm() < 0.1


@interpreted
@pytest.mark.parametrize("head", [16, 24, 48, 64, 72, 104])
def test_joint_products_hold_the_heads_and_a_one(head):
    from workflow_scripts.models.fused.vision.attention import joined, parted, parts_of

    parts, each = parts_of(head), [torch.randn(3 * head, 5) for _ in range(3)]
    product = joined(*each, parts, one=7.0).t()
    for got, wanted in zip(parted(product, 3, parts), each, strict=True):
        assert torch.equal(got.flatten(1), wanted.t())
    assert product.shape[1] % 8 == 0
    assert (product[:, -3 * parts.tail :].unflatten(1, (3, -1))[..., parts.own] == 7).all()


@interpreted
def test_patches_are_those_of_a_convolution():
    from workflow_scripts.models.fused.vision.passes import patches_of

    levels, values, pixels = levels_and_pixels(side=42)
    got = patches_of(levels, values, 14, 592)
    assert torch.equal(got[:, :588], torch.nn.functional.unfold(pixels, 14, stride=14).transpose(1, 2).flatten(0, 1))
    assert not got[:, 588:].any()


@interpreted
@torch.inference_mode()
def test_sum_and_norm_are_the_librarys():
    from workflow_scripts.models.fused.float8 import quantise_rows
    from workflow_scripts.models.fused.vision.passes import add_layer_norm, layer_norm

    torch.manual_seed(0)
    norm = torch.nn.LayerNorm(72)
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    residual, x, shift = torch.randn(5, 72), torch.randn(10, 72), torch.randn(72)
    total, normed = add_layer_norm(residual, x, norm)
    assert torch.equal(total, residual.repeat(2, 1) + x)
    torch.testing.assert_close(normed, norm(total))
    torch.testing.assert_close(layer_norm(x, shift, norm), norm(x + shift))
    codes, wanted = add_layer_norm(residual, x, norm, codes=True)[1], quantise_rows(normed)
    torch.testing.assert_close(codes.scales, wanted.scales)
    assert (codes.codes.view(torch.uint8) == wanted.codes.view(torch.uint8)).float().mean() > 0.98


@interpreted
def test_gelu_in_codes_is_that_of_its_values():
    from workflow_scripts.models.fused.float8 import quantise_rows
    from workflow_scripts.models.fused.vision.passes import gelu_in_codes

    torch.manual_seed(0)
    x = torch.randn(7, 100)
    got, wanted = gelu_in_codes(x), quantise_rows(torch.nn.functional.gelu(x, approximate="tanh"))
    torch.testing.assert_close(got.scales, wanted.scales)
    assert (got.codes.view(torch.uint8) == wanted.codes.view(torch.uint8)).float().mean() > 0.98


@interpreted
def test_towers_that_do_not_fit_are_named():
    from workflow_scripts.models.fused.vision.siglip import unfit

    assert unfit(torch.nn.Linear(1, 1)) == "the tower is a Linear, not a SiglipVisionModel"
    assert unfit(small_tower(2, 12)) == "its heads are 24 / 2 wide, no multiple of 8 in 16 to 120"
    assert unfit(small_tower(3, 24), fp8=True) == "its states are 72 wide, and 8-bit products need a multiple of 16"
    assert unfit(small_tower()) == "an image has 16 patches, no multiple of 128"
