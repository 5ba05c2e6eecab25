"""Draws a model of the Gemma 3 family from its config.json, with the adapter's places, as SVG.

`python docs/course/architecture.py` draws MedGemma 1.5 4B (`medgemma15.json`, the numbers of its published
config.json) into `architecture.svg`.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COURSE = Path(__file__).resolve().parent
INK, MUTED, RULE, PAPER = "#1b1f24", "#5c6670", "#c4cad1", "#ffffff"
VISION, BRIDGE, LANGUAGE, ADAPTER = "#dcebf5", "#e6e0f0", "#e1f0ea", "#d55e00"


@dataclass(frozen=True)
class Architecture:
    """The numbers of a Gemma 3 configuration that the drawing names."""

    side: int  # pixels of the squared image
    patch: int  # pixels of a patch's side
    vision_width: int
    vision_layers: int
    image_tokens: int
    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    inner_width: int
    vocabulary: int
    window: int

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.side // self.patch) ** 2

    @property
    def patches_a_token(self) -> int:
        """Patches that are averaged to one image token."""
        return self.patches // self.image_tokens

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of a decoder layer's projections, which the adapter stands beside."""
        queries, keys = self.heads * self.head_width, self.key_value_heads * self.head_width
        return {
            "q_proj": (self.width, queries),
            "k_proj": (self.width, keys),
            "v_proj": (self.width, keys),
            "o_proj": (queries, self.width),
            "gate_proj": (self.width, self.inner_width),
            "up_proj": (self.width, self.inner_width),
            "down_proj": (self.inner_width, self.width),
        }

    def adapter_parameters(self, rank: int) -> int:
        """Parameters of LoRA on every projection of the language model: r · (inputs + outputs) each."""
        return self.layers * sum(rank * (inputs + outputs) for inputs, outputs in self.projections.values())


def architecture_of(config: dict[str, Any]) -> Architecture:
    """The numbers of a config.json of `Gemma3ForConditionalGeneration`."""
    vision, text = config["vision_config"], config["text_config"]
    return Architecture(
        side=vision["image_size"],
        patch=vision["patch_size"],
        vision_width=vision["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        image_tokens=config["mm_tokens_per_image"],
        width=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        key_value_heads=text["num_key_value_heads"],
        head_width=text["head_dim"],
        inner_width=text["intermediate_size"],
        vocabulary=text["vocab_size"],
        window=text["sliding_window"],
    )


def parameters_of(config: dict[str, Any]) -> dict[str, int]:
    """Parameters of the vision tower, the projector and the language model; no weight is loaded."""
    import torch
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    with torch.device("meta"):
        model = Gemma3ForConditionalGeneration(Gemma3Config.from_dict(config)).model
    parts = {
        "vision tower": model.vision_tower,
        "projector": model.multi_modal_projector,
        "language model": model.language_model,
    }
    return {name: sum(weight.numel() for weight in part.parameters()) for name, part in parts.items()}


def read_config(path: Path = COURSE / "medgemma15.json") -> dict[str, Any]:
    """A config.json."""
    return json.loads(path.read_text(encoding="utf-8"))


def drawing(model: Architecture, name: str, rank: int) -> str:
    """The model as SVG: from pixels and words to the answer, and where an adapter of rank `rank` stands."""
    grid = model.side // model.patch
    pooled = round(model.image_tokens**0.5)
    parts = [_frame(name, model)]
    column, width = [24, 214, 420, 640, 874], [166, 182, 196, 210, 226]
    top, height = 84, 148

    def stage(place: int, title: str, lines: list[str], fill: str) -> None:
        parts.append(_box(column[place], top, width[place], height, fill))
        parts.append(_text(column[place] + 14, top + 28, title, 15, weight="600"))
        for number, line in enumerate(lines):
            parts.append(_text(column[place] + 14, top + 54 + 20 * number, line, 13))
        if place:
            start = column[place - 1] + width[place - 1]
            parts.append(_arrow(start + 3, top + height / 2, column[place] - 4, top + height / 2))

    stage(0, "Image", [f"squared to {model.side} × {model.side}", "RGB, values −1 to 1"], PAPER)
    stage(1, "Patches", [f"{grid} × {grid} = {model.patches:,}", f"of {model.patch} × {model.patch} pixels"], VISION)
    stage(
        2,
        "Vision tower, SigLIP",
        [f"{model.vision_layers} layers, frozen", f"{model.patches:,} vectors", f"of width {model.vision_width:,}"],
        VISION,
    )
    stage(
        3,
        "Average pooling",
        [
            f"each {round(model.patches_a_token**0.5)} × {round(model.patches_a_token**0.5)} → one",
            f"{pooled} × {pooled} = {model.image_tokens} vectors",
            f"of width {model.vision_width:,}:",
            "stored once an image",
        ],
        VISION,
    )
    stage(
        4,
        "Projector",
        [
            "norm, one matrix",
            f"{model.vision_width:,} → {model.width:,}",
            f"{model.image_tokens} image tokens",
            f"of width {model.width:,}, frozen",
        ],
        BRIDGE,
    )
    parts += _sequence(model)
    parts += _decoder(model, rank)
    return "\n".join(parts) + "\n</svg>\n"


def _frame(name: str, model: Architecture) -> str:
    described = (
        f"{name}: an image of {model.side} by {model.side} pixels becomes {model.patches:,} patches, "
        f"{model.image_tokens} image tokens of width {model.width:,}, and passes {model.layers} decoder layers with "
        "the words of the question. The adapter stands beside the seven projections of every decoder layer."
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1124 700" width="1124" height="700" role="img" '
        f'font-family="Helvetica, Arial, sans-serif" aria-label="{described}">\n'
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0 10 5 0 10z" fill="{MUTED}"/></marker></defs>\n'
        f'<rect width="1124" height="700" rx="10" fill="{PAPER}"/>\n'
        + _text(24, 40, name, 20, weight="600")
        + _text(24, 63, "from pixels and words to an answer; what QLoRA adds is orange", 13, MUTED)
    )


def _sequence(model: Architecture) -> list[str]:
    """The tokens that the language model reads, with where they come from."""
    top = 292
    cells = [
        ("<bos> user", 104, LANGUAGE),
        (f"{model.image_tokens} image tokens", 260, BRIDGE),
        ("the question's tokens", 280, LANGUAGE),
        ("model", 72, LANGUAGE),
        ("the answer's tokens", 328, "#fdf1c7"),
    ]
    parts = [_text(24, top - 14, f"One sequence of width {model.width:,}", 15, weight="600")]
    left = 24
    for words, width, fill in cells:
        parts.append(_box(left, top, width, 40, fill))
        parts.append(_text(left + width / 2, top + 25, words, 13, anchor="middle"))
        left += width + 8
    middle = 360
    parts.append(
        f'<path d="M987 236V258H{middle}V{top - 4}" fill="none" stroke="{MUTED}" stroke-width="1.5" '
        'marker-end="url(#tip)"/>'
    )
    parts.append(
        _text(
            24,
            top + 62,
            f"Words come from the embedding, {model.vocabulary:,} × {model.width:,}. Image tokens see each other in "
            "both directions, all else what stands before it.",
            13,
            MUTED,
        )
    )
    parts.append(_text(24, top + 82, "The loss of fine-tuning is taken at the answer's tokens alone.", 13, MUTED))
    return parts


def _decoder(model: Architecture, rank: int) -> list[str]:
    top, left = 432, 24
    parts = [
        _box(left, top, 1076, 204, "#f6f8f7"),
        _text(left + 16, top + 28, f"Decoder layer, {model.layers} times", 15, weight="600"),
        _text(
            left + 16,
            top + 48,
            f"{model.heads} heads of width {model.head_width}, {model.key_value_heads} of keys and values; "
            f"most layers look back {model.window:,} tokens, every sixth at all of them",
            13,
            MUTED,
        ),
        _arrow(562, 384, 562, top - 4),
    ]
    place = left + 16
    for name, (inputs, outputs) in model.projections.items():
        parts.append(_box(place, top + 66, 136, 54, LANGUAGE))
        parts.append(_text(place + 68, top + 88, name, 13, anchor="middle", weight="600"))
        parts.append(_text(place + 68, top + 107, f"{inputs:,} → {outputs:,}", 12, anchor="middle"))
        parts.append(_box(place, top + 130, 136, 54, "#fbe3d3", ADAPTER))
        parts.append(_text(place + 68, top + 152, "LoRA B · A", 13, anchor="middle", weight="600"))
        parts.append(_text(place + 68, top + 171, f"{inputs:,} → {rank} → {outputs:,}", 12, anchor="middle"))
        place += 150.4
    words = f"The adapter: r = {rank} at {7 * model.layers} places, {model.adapter_parameters(rank):,} parameters."
    parts.append(_text(24, 662, words, 14, weight="600"))
    words = "All weights stay as they were published; while tuning, the seven projections are read in 4 bits (NF4)."
    parts.append(_text(24, 683, words, 13, MUTED))
    return parts


def _box(x: float, y: float, width: float, height: float, fill: str, stroke: str = RULE) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6" fill="{fill}" stroke="{stroke}" '
        'stroke-width="1.3"/>'
    )


def _text(
    x: float, y: float, words: str, size: int, fill: str = INK, anchor: str = "start", weight: str = "400"
) -> str:
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{words}</text>"
    )


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{MUTED}" stroke-width="1.5" '
        'marker-end="url(#tip)"/>'
    )


if __name__ == "__main__":
    target = COURSE / "architecture.svg"
    target.write_text(drawing(architecture_of(read_config()), "MedGemma 1.5 4B", rank=16), encoding="utf-8")
    print(f"wrote {target.name}")
