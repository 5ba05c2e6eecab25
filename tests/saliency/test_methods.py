"""Maps of real classes: each method equals its definition, and reads images as generation does."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from tests.models.tiny import build
from workflow_scripts.core.images import open_image
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.core.saliency.grids import windows_of
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record
from workflow_scripts.saliency.explain import answers_to
from workflow_scripts.saliency.filling import filled, filler_of
from workflow_scripts.saliency.methods import occlusion, rollout, token_maps
from workflow_scripts.saliency.model import AnswerModel, case_of, redraw_weights

FAMILIES = ("gemma3", "paligemma2", "llava", "idefics3", "internvl", "qwen2_5_vl", "qwen3_vl", "chexagent")
SHIFT = 1e-2
"""Of one attention weight: small enough to be linear, large enough to be seen in float32."""


def case(loaded, root, images=1, answer="17"):
    shown = [open_image(root, f"{n}.png") for n in range(images)]
    described = tuple(RequestImage(str(n), f"{n}.png", *image.size) for n, image in enumerate(shown))
    request = Request("row", chat("How many?", images), described, 1)
    return case_of(loaded, request, shown, answer, True, 4)


@pytest.fixture(scope="module")
def one_layer(tmp_path_factory):
    """Gemma 3's classes with one layer in each half, in float64."""
    from workflow_scripts.synthetic.pretraining import build_model, build_processor

    folder = tmp_path_factory.mktemp("one") / "layer"
    processor = build_processor(vocabulary=600, seed=0)
    build_model(processor, width=64, layers=1, seed=3).save_pretrained(folder)
    processor.save_pretrained(folder)
    record = folder.with_suffix(".json")
    write_record(record, "layer", "gemma3", folder, None)
    loaded = load(record)
    loaded.model.double()
    return loaded


def test_relevance_by_hand():
    weights = torch.tensor([[[1.0, 0.0], [0.25, 0.75]], [[1.0, 0.0], [0.5, 0.5]]])
    gradient = torch.tensor([[[0.0, 1.0], [4.0, -2.0]], [[0.0, 0.0], [-1.0, 2.0]]])
    # Positive parts: [0, 0; 1, 0] and [0, 0; 0, 1], whose mean is [0, 0; 0.5, 0.5].
    first = rollout([(weights, gradient)])
    assert first.tolist() == [[1.0, 0.0], [0.5, 1.5]]
    # A second layer: R + C · R with the same C.
    assert rollout([(weights, gradient)] * 2).tolist() == [[1.0, 0.0], [1.25, 2.25]]


def test_chefers_relevance_of_one_layer_is_attention_times_its_measured_effect(one_layer, root):
    model = AnswerModel(one_layer, 8)
    explained = case(one_layer, root)
    ((_, values),) = token_maps(model, explained, ["chefer"])["chefer"]
    state = {"shift": None, "weights": None}

    def attend(module, query, key, value, attention_mask, scaling, **options):
        groups = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        weights = (query @ key.transpose(2, 3) * scaling + attention_mask[..., : key.shape[2]]).softmax(-1)
        state["weights"] = weights[0]
        if state["shift"] is not None:
            weights = weights + state["shift"]
        return (weights @ value).transpose(1, 2).contiguous(), weights

    AttentionInterface.register("shifted", attend)
    AttentionMaskInterface.register("shifted", eager_mask)
    base = one_layer.base
    base.set_attn_implementation({"text_config": "shifted"})
    try:
        (likelihood,) = model.log_likelihoods(explained, [explained.images])
        weights = state["weights"]
        ids = explained.prompt_ids + explained.answer_ids
        image = one_layer.family.image_token_id(one_layer.processor)
        columns = [place for place, token in enumerate(ids) if token == image][:6]
        rows = range(len(explained.prompt_ids) - 1, len(ids) - 1)
        expected = np.zeros(len(columns))
        for row, (number, column), head in product(rows, enumerate(columns), range(weights.shape[0])):
            state["shift"] = torch.zeros_like(weights)
            state["shift"][head, row, column] = SHIFT
            (moved,) = model.log_likelihoods(explained, [explained.images])
            effect = (moved - likelihood) / SHIFT
            expected[number] += max(0.0, effect * float(weights[head, row, column])) / weights.shape[0]
    finally:
        base.set_attn_implementation("sdpa")
    assert np.allclose(values[:6], expected / len(rows), rtol=0.02, atol=1e-6) and values.max() > 0


def test_gradient_times_input_is_the_effect_of_making_a_token_a_little_larger(one_layer, root):
    model, explained = AnswerModel(one_layer, 8), case(one_layer, root)
    ((_, values),) = token_maps(model, explained, ["gradient_x_input"])["gradient_x_input"]
    features = model.features([explained.images])
    encoded = one_layer.family.encoder_outputs(one_layer.base, one_layer.processor, features, explained.sizes)
    tokens = encoded["mm_encoder_outputs"]["image"].pooler_output
    for token in (0, 7, 15):
        scores = []
        for factor in (1 + 1e-4, 1 - 1e-4):
            scaled = tokens.clone()
            scaled[0, token] *= factor
            encoded["mm_encoder_outputs"]["image"].pooler_output = scaled
            with torch.no_grad():
                scores.append(model.answer_log_probabilities(explained, encoded, 1).mean().item())
        assert values[token] == pytest.approx((scores[0] - scores[1]) / 2e-4, rel=1e-3, abs=1e-6)


def test_occlusion_is_the_fall_of_the_answers_likelihood_window_by_window(one_layer, root):
    model, explained = AnswerModel(one_layer, 3), case(one_layer, root, images=2)
    fillers = [filler_of(image, "mean") for image in explained.images]
    first, second = occlusion(model, explained, fillers)
    windows = windows_of(explained.grids[1], *explained.images[1].size, 4)
    (whole,) = AnswerModel(one_layer, 1).log_likelihoods(explained, [explained.images])
    for window in (0, 9):
        changed = filled(explained.images[1], fillers[1], windows.labels == window)
        (score,) = AnswerModel(one_layer, 1).log_likelihoods(explained, [[explained.images[0], changed]])
        assert second[1][windows.tokens[window]].sum() == pytest.approx(whole - score, abs=1e-5)
    assert len(first[1]) == len(second[1]) == 16


@pytest.fixture(scope="module")
def of_family(tiny, tmp_path_factory):
    def loaded(name):
        if name == "gemma3":
            return load(tiny)
        folder = tmp_path_factory.mktemp(name) / "model"
        build(name, folder)
        write_record(folder.with_suffix(".json"), name, name, folder, None)
        return load(folder.with_suffix(".json"))

    return loaded


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_explained_as_it_answers(of_family, root, name):
    loaded = of_family(name)
    model, explained = AnswerModel(loaded, 4), case(loaded, root)
    maps = token_maps(model, explained, ["gradient_x_input", "chefer"])
    tokens = loaded.family.image_tokens(loaded.processor, explained.sizes[0])
    for ((grids, values),) in maps.values():
        assert grids == explained.grids[0] and len(values) == tokens and np.ptp(values) > 0
    assert min(maps["chefer"][0][1]) >= 0
    ((grid,), values) = occlusion(model, explained, [filler_of(explained.images[0], "blur")])[0]
    assert len(values) == grid.tokens and np.ptp(values) > 0
    # After maps of full attention, generation goes on as before: its first token is the likeliest here too.
    (text,) = answers_to(model, explained, [explained.images])
    with torch.no_grad():
        encoded = loaded.family.encoder_outputs(
            loaded.base, loaded.processor, model.features([explained.images]), explained.sizes
        )
        likeliest = model.forward(explained, encoded, 1)[1].logits[0, 0].argmax()
    assert text == loaded.processor.tokenizer.decode([likeliest], skip_special_tokens=True)
    again = token_maps(model, explained, ["gradient_x_input"])["gradient_x_input"][0][1]
    assert np.allclose(again, maps["gradient_x_input"][0][1], rtol=1e-3, atol=1e-6)


def test_several_copies_score_as_each_alone(of_family, root):
    loaded = of_family("gemma3")
    explained = case(loaded, root, images=2)
    other = replace(explained, images=explained.images[::-1])
    variants = [explained.images, other.images, [explained.images[0], explained.images[0]], explained.images]
    together = AnswerModel(loaded, 4).log_likelihoods(explained, variants)
    alone = np.concatenate([AnswerModel(loaded, 1).log_likelihoods(explained, [one]) for one in variants])
    assert np.allclose(together, alone, atol=1e-5) and together[0] == pytest.approx(together[3], abs=1e-6)
    assert abs(together[0] - together[1]) > 1e-6


def test_an_answer_that_was_cut_is_explained_without_its_closing_token(of_family, root):
    loaded = of_family("gemma3")
    ended = case(loaded, root)
    cut = case_of(loaded, ended.request, ended.images, "17", False, 4)
    assert cut.answer_ids == ended.answer_ids[: len(cut.answer_ids)] and len(cut.answer_ids) < len(ended.answer_ids)


def test_redrawn_weights_are_others_of_the_same_spread_and_the_same_for_a_seed(of_family):
    one, other = of_family("gemma3"), of_family("gemma3")
    before = {name: value.clone() for name, value in one.model.named_parameters()}
    redraw_weights(one, 5)
    redraw_weights(other, 5)
    for (name, value), again in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        assert torch.equal(value, again)
        if value.numel() > 1000:
            assert not torch.allclose(value, before[name])
            assert value.std().item() == pytest.approx(before[name].std().item(), rel=0.1)
