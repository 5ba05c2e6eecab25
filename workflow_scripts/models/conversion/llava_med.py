"""LLaVA-Med 1.5 as its authors publish it (`llava_mistral`), and as transformers' LLaVA.

Its tower was trained along with the rest and lies in the checkpoint; the authors' loader puts stock CLIP in its place.
Which of the two is meant must be said.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from transformers import LlavaConfig, LlavaForConditionalGeneration, MistralConfig

from workflow_scripts.core.command import Refused

MODEL_TYPE = "llava_mistral"

OLD_NAMES = ("rope_theta", "rope_scaling")
"""What a Mistral's configuration may hold besides the fields of today's."""

IMAGE, PAD = "<image>", "<pad>"

OWN_TOWER = "model.vision_tower.vision_tower."

RENAMES = (
    (re.compile(r"^model\.vision_tower\.vision_tower\."), "vision_tower."),
    (re.compile(r"^model\.mm_projector\.0\."), "multi_modal_projector.linear_1."),
    (re.compile(r"^model\.mm_projector\.2\."), "multi_modal_projector.linear_2."),
    (re.compile(r"^model\.(?=embed_tokens\.|layers\.|norm\.)"), "language_model.model."),
    (re.compile(r"^lm_head\."), "language_model.lm_head."),
)
"""Names of tensors in the authors' checkpoint, and what takes the place of their beginning."""

DERIVED = re.compile(r"\.(?:position_ids|inv_freq)$")
"""Tensors that a network computes from its configuration, and old checkpoints hold."""

VOCABULARY = ("language_model.model.embed_tokens.weight", "language_model.lm_head.weight")
"""Tensors with a row a token."""

MULTIPLE = 64
"""The vocabulary is filled up to a multiple of it."""

HEAD = 64
"""Width of a head of every CLIP tower: the published configuration leaves the tower's shape to another repository."""


def new_name(name: str) -> str | None:
    """What transformers calls a tensor of the authors' checkpoint; None for one that the network computes.

    Raises:
        Refused: the tensor is none of LLaVA-Med 1.5.
    """
    if DERIVED.search(name):
        return None
    for pattern, place in RENAMES:
        if pattern.match(name):
            return pattern.sub(place, name)
    raise Refused(f"{name} is no tensor of LLaVA-Med 1.5: this conversion knows its tower, projector and Mistral alone")


def clip_name(name: str) -> str | None:
    """What transformers' LLaVA calls a tensor of a CLIP checkpoint; None for the text half, heads and buffers."""
    if DERIVED.search(name) or not name.startswith("vision_model."):
        return None
    return f"vision_tower.{name}"


def padded_size(tokens: int) -> int:
    """Rows of the vocabulary's tensors: `tokens` and the two new ones, filled up."""
    return -(-(tokens + 2) // MULTIPLE) * MULTIPLE


def with_new_tokens(weight: torch.Tensor) -> torch.Tensor:
    """Rows for the new tokens and the filling behind the others: their mean.

    A mean row's logit is the mean of the others, so that a new token is never the likeliest.
    """
    extra = padded_size(len(weight)) - len(weight)
    mean = weight.float().mean(0, keepdim=True).to(weight.dtype)
    return torch.cat([weight, mean.expand(extra, -1)]).contiguous()


def configuration(published: Mapping[str, Any], vision: dict[str, Any], tokens: int) -> LlavaConfig:
    """The configuration of transformers' LLaVA.

    Args:
        published: the authors' `config.json`.
        vision: the tower's configuration.
        tokens: of the published vocabulary.

    Raises:
        Refused: the checkpoint is not of this kind, or a setting is one that transformers' LLaVA does not have.
    """
    if (kind := published.get("model_type")) != MODEL_TYPE:
        raise Refused(f"model_type is {kind!r}; expected {MODEL_TYPE}, LLaVA-Med 1.5 in its authors' own layout")
    expected = {
        "mm_projector_type": "mlp2x_gelu",
        "mm_use_im_start_end": False,
        "mm_hidden_size": vision["hidden_size"],
        "vocab_size": tokens,
    }
    for key, value in expected.items():
        if published.get(key, value) != value:
            raise Refused(f"config.json: {key} is {published[key]!r}; expected {value!r}, as LLaVA-Med 1.5 has it")
    known = {field.name for field in fields(MistralConfig)} - {"architectures", "dtype", "transformers_version"}
    text = {key: value for key, value in published.items() if key in known or key in OLD_NAMES}
    text |= {"model_type": "mistral", "vocab_size": padded_size(tokens), "pad_token_id": tokens + 1}
    side = vision["image_size"] // vision["patch_size"]
    whole = published.get("mm_vision_select_feature", "patch") == "cls_patch"
    return LlavaConfig(
        text_config=text,
        vision_config=vision | {"model_type": "clip_vision_model"},
        image_token_index=tokens,
        image_seq_length=side**2 + whole,
        vision_feature_layer=published.get("mm_vision_select_layer", -2),
        vision_feature_select_strategy="full" if whole else "default",
        projector_hidden_act="gelu",
    )


def shape_of_tower(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The configuration of a CLIP tower from the shapes of its tensors, by their names in transformers' LLaVA.

    Raises:
        Refused: the tower lacks a tensor that says it.
    """
    start = "vision_tower.vision_model."
    try:
        width, _, patch, _ = shapes[f"{start}embeddings.patch_embedding.weight"]
        places = shapes[f"{start}embeddings.position_embedding.weight"][0]
        inner = shapes[f"{start}encoder.layers.0.mlp.fc1.weight"][0]
    except KeyError as error:
        raise Refused(f"{error.args[0]} is missing: the checkpoint holds no CLIP tower of its own") from None
    layers = {match[1] for name in shapes if (match := re.match(rf"{re.escape(start)}encoder\.layers\.(\d+)\.", name))}
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": len(layers),
        "num_attention_heads": width // HEAD,
        "patch_size": patch,
        "image_size": round((places - 1) ** 0.5) * patch,  # the class token has a place too
    }


def check_whole(shapes: Mapping[str, tuple[int, ...]], config: LlavaConfig) -> None:
    """See that the network of `config` takes exactly these tensors.

    Args:
        shapes: of the converted tensors, by name.

    Raises:
        Refused: a tensor is missing, of another shape, or has no place.
    """
    with torch.device("meta"):
        network = LlavaForConditionalGeneration(config)
    expected = {_published(name): tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, shape in expected.items():
        if name not in shapes:
            raise Refused(f"the checkpoint has no {name}; download it whole")
        if shapes[name] != shape:
            raise Refused(f"{name} is {_as_text(shapes[name])}; expected {_as_text(shape)}")
    if unknown := sorted(shapes.keys() - expected.keys()):
        raise Refused(f"{unknown[0]} has no place in the network that the configuration describes")


def _published(name: str) -> str:
    """A tensor's name in published checkpoints of transformers' LLaVA, which all its versions and vLLM read."""
    name = re.sub(r"^model\.vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.", name)
    name = re.sub(r"^model\.language_model\.", "language_model.model.", name)
    return re.sub(r"^model\.", "", re.sub(r"^lm_head\.", "language_model.lm_head.", name))


def _as_text(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
