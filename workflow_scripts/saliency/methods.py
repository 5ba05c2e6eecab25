"""Explanation maps: how much each image token says for the answer that the model gave.

All explain the mean log-probability of the answer's tokens.

- `occlusion`: how much it falls, in nats a token, when a window of the image is filled before the tower sees it
  (Zeiler and Fergus, 2014). A positive value speaks for the answer, a negative one against it.
- `gradient_x_input`: the gradient with regard to each soft token, which is what the language model reads of an image,
  times that token, summed over its width (Shrikumar et al., 2017). What the tower mixes between patches is not undone.
- `chefer`: relevance of the soft tokens to the places that predict the answer, by the gradient-weighted attention of
  the decoder's layers: R ← R + mean over heads of (∇A ∘ A)⁺ · R, R = 1 at first (Chefer et al., ICCV 2021, equations 5
  and 6, for self-attention). Never negative. Attention is computed in full: each layer holds two arrays of
  heads × tokens × tokens, the weights and their gradient.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from transformers import PreTrainedModel

from workflow_scripts.core.command import Refused
from workflow_scripts.core.saliency.grids import Numbers, TokenGrid, token_values
from workflow_scripts.models.loading import Loaded
from workflow_scripts.saliency.filling import filled
from workflow_scripts.saliency.model import AnswerModel, Case

Map = tuple[list[TokenGrid], Numbers]
"""Grids of an image and the values of their tokens."""


def occlusion(model: AnswerModel, case: Case, fillers: Sequence[Image]) -> list[Map]:
    """A map for each image: the fall of the answer's log-probability when a window is filled.

    Args:
        fillers: what each image is filled with.
    """
    variants: list[list[Image]] = [case.images]
    for place, (image, windows) in enumerate(zip(case.images, case.windows, strict=True)):
        for window in range(windows.count):
            changed = filled(image, fillers[place], windows.labels == window)
            variants.append([*case.images[:place], changed, *case.images[place + 1 :]])
    scores = model.log_likelihoods(case, variants)
    falls, maps, first = scores[0] - scores[1:], [], 0
    for windows in case.windows:
        of_windows = falls[first : first + windows.count]
        maps.append(([windows.grid], token_values(windows, of_windows)))
        first += windows.count
    return maps


def token_maps(model: AnswerModel, case: Case, methods: Sequence[str]) -> dict[str, list[Map]]:
    """Maps of `gradient_x_input` and `chefer`, whichever are asked for: one of each image."""
    loaded = model.loaded
    family, base, processor = loaded.family, loaded.base, loaded.processor
    with torch.no_grad():
        encoded = family.encoder_outputs(base, processor, model.features([case.images]), case.sizes)
    tokens = _as_leaves(encoded)
    with _full_attention(loaded) if "chefer" in methods else nullcontext():
        scores, output = model.forward(case, encoded, 1, output_attentions="chefer" in methods)
    score = scores.mean()
    layers = _attention_of(output) if "chefer" in methods else []
    gradients = torch.autograd.grad(score, [*tokens, *layers], allow_unused=True)
    values: dict[str, Numbers] = {}
    if "gradient_x_input" in methods:
        products = [
            (_or_zero(gradient, token).float() * token.detach().float()).sum(-1).flatten()
            for token, gradient in zip(tokens, gradients, strict=False)
        ]
        values["gradient_x_input"] = torch.cat(products).double().cpu().numpy()
    if "chefer" in methods:
        weighted = zip(layers, gradients[len(tokens) :], strict=True)
        relevance = rollout([(layer[0].detach(), _or_zero(gradient, layer)[0]) for layer, gradient in weighted])
        ids = torch.tensor(case.prompt_ids + case.answer_ids)
        places = torch.nonzero(ids == family.image_token_id(processor))[:, 0]
        asking = relevance[len(case.prompt_ids) - 1 : len(ids) - 1]
        values["chefer"] = asking[:, places.to(asking.device)].mean(0).double().cpu().numpy()
    return {method: _by_image(case, of_method) for method, of_method in values.items()}


def rollout(layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Relevance of every token to every token: (tokens, tokens).

    Args:
        layers: attention weights and their gradient, from the first layer on, each (heads, tokens, tokens).
    """
    relevance = torch.eye(layers[0][0].shape[-1], device=layers[0][0].device)
    for weights, gradient in layers:
        relevance = relevance + (gradient.float() * weights.float()).clamp(min=0).mean(0) @ relevance
    return relevance


def _as_leaves(encoded: dict[str, Any]) -> list[torch.Tensor]:
    """The soft tokens of all images, in place of those in `encoded`, as what gradients are taken of."""
    outputs = encoded["mm_encoder_outputs"]["image"]
    pooled = outputs.pooler_output
    several = isinstance(pooled, list | tuple)
    leaves = [part.detach().clone().requires_grad_() for part in (pooled if several else [pooled])]
    outputs.pooler_output = leaves if several else leaves[0]
    return leaves


def _or_zero(gradient: torch.Tensor | None, of: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(of) if gradient is None else gradient


def _attention_of(output: Any) -> list[torch.Tensor]:
    layers = [layer for layer in output.attentions or () if layer is not None]
    if not layers:
        raise Refused("the decoder gives out no attention weights; leave chefer out of `saliency.NAME.methods`")
    return layers


@contextmanager
def _full_attention(loaded: Loaded) -> Iterator[None]:
    """Let the network compute attention weights as arrays, as long as it lasts."""
    parts = [part for part in loaded.base.modules() if isinstance(part, PreTrainedModel)]
    before = [part.config._attn_implementation for part in parts]
    loaded.base.set_attn_implementation("eager")
    try:
        yield
    finally:
        for part, implementation in zip(parts, before, strict=True):  # from the whole to its parts, each its own
            part.config._attn_implementation = implementation


def _by_image(case: Case, values: Numbers) -> list[Map]:
    maps, first = [], 0
    for grids in case.grids:
        tokens = sum(grid.tokens for grid in grids)
        maps.append((grids, np.asarray(values[first : first + tokens])))
        first += tokens
    if first != len(values):
        raise Refused(f"row {case.request.uid}: {len(values)} image tokens where its images have {first}")
    return maps
