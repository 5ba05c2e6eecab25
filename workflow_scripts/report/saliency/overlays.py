"""Explanation maps of the cases that the page shows: transparent PNGs to lie over an image, with words beside them."""

import base64
import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from workflow_scripts.core.pages import cut
from workflow_scripts.core.saliency.grids import Numbers, TokenGrid, pixel_map
from workflow_scripts.core.saliency.rows import OWN, RANDOMISED, SaliencyFact, SaliencyMap
from workflow_scripts.core.tables import read_rows

SIDE = 320
"""Longest side of an overlay, in pixels; the page scales it to its image."""
FOR, AGAINST = (214, 48, 39), (49, 92, 214)
"""Red: what speaks for the answer. Blue: what speaks against it."""
OPACITY, STEPS = 200, 24
"""Of the strongest value, of 255; and levels between nothing and that."""
LONGEST = 300
"""Characters of the answer in words beside a map."""
METHODS = {"occlusion": "occlusion", "gradient_x_input": "gradient × input", "chefer": "Chefer’s attention"}
WEIGHTS = {OWN: "", RANDOMISED: ", redrawn weights"}

Facts = Mapping[tuple[str, str, str], float]
"""By method, weights and measure."""


def case_maps(maps: Sequence[Path], facts: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """What a case shows of explanation maps, by uid, as JSON for the page's script.

    `maps`: lists of the image's place, the name in the list of maps, PNG in base64, its description, and words beside
    it. `fills`: lines on what became of the answer when a region was filled.

    Args:
        maps: tables of maps, one an entry of the configuration.
        facts: tables of measures, in the same order.
    """
    cases: dict[str, dict[str, Any]] = {}
    for maps_file, facts_file in zip(maps, facts, strict=True):
        name = maps_file.parent.name
        of_row: dict[str, dict[tuple[str, str, str], float]] = defaultdict(dict)
        systems = {}
        for fact in read_rows(facts_file, SaliencyFact):
            of_row[fact.uid][fact.method, fact.weights, fact.measure] = fact.value
            systems[fact.uid] = fact.system
        for one in read_rows(maps_file, SaliencyMap):
            shown = cases.setdefault(one.uid, {"maps": [], "fills": []})
            label = f"{one.system}: {METHODS[one.method]}{WEIGHTS[one.weights]}"
            if len(maps) > 1:
                label += f" ({name})"
            on_pixels = pixels_of(one)
            data = base64.b64encode(overlay(on_pixels)).decode("ascii")
            words = _words(one, of_row[one.uid])
            shown["maps"].append([one.image, label, data, f"Map of {label}: {place_words(on_pixels)}", words])
        for uid, system in systems.items():
            if lines := _fills(system, of_row[uid]):
                cases.setdefault(uid, {"maps": [], "fills": []})["fills"] += lines
    return cases


def pixels_of(one: SaliencyMap, side: int = SIDE) -> Numbers:
    """A map on the pixels of its image, scaled so that the longer side is at most `side`: (height, width)."""
    scale = min(1.0, side / max(one.width, one.height))
    width, height = max(1, round(one.width * scale)), max(1, round(one.height * scale))
    across, down = width / one.width, height / one.height
    grids = [
        TokenGrid(grid.rows, grid.columns, grid.x1 * across, grid.y1 * down, grid.x2 * across, grid.y2 * down)
        for grid in one.grids
    ]
    return pixel_map(grids, one.values, width, height)


def overlay(values: Numbers) -> bytes:
    """A transparent PNG of a map: the stronger a value, the less transparent; zeros are not seen."""
    strongest = np.abs(values).max()
    shares = np.abs(values) / strongest if strongest > 0 else np.zeros(values.shape)
    pixels = np.empty((*values.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(values[..., None] >= 0, FOR, AGAINST)
    pixels[..., 3] = np.rint(np.rint(shares * STEPS) / STEPS * OPACITY)
    pixels[pixels[..., 3] == 0] = 0
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def place_words(values: Numbers) -> str:
    """Where a map is greatest, in words."""
    if not np.ptp(values):
        return "the same everywhere"
    top = values >= values.max() - 1e-9 * np.abs(values).max()
    down, across = (places.mean() for places in np.nonzero(top))
    height, width = values.shape
    row = ("upper", "middle", "lower")[min(2, int(3 * down / height))]
    column = ("left", "middle", "right")[min(2, int(3 * across / width))]
    return f"strongest in the {'middle' if row == column == 'middle' else f'{row} {column}'}"


def _words(one: SaliencyMap, facts: Facts) -> str:
    """How faithful a map is on its row, and which answer it explains."""
    get = {measure: facts.get((one.method, one.weights, measure)) for measure in ("deletion_auc", "insertion_auc")}
    parts = [f"{measure.removesuffix('_auc')} {value:.2f}" for measure, value in get.items() if value is not None]
    if (points := facts.get((one.method, one.weights, "pointing_game"))) is not None:
        where = "in" if points == 1 else "outside" if points == 0 else "partly in"
        parts.append(f"its top lies {where} the reference boxes")
    if (mass := facts.get((one.method, one.weights, "mass_in_box"))) is not None:
        area = facts.get(("", "", "box_area"), 0.0)
        parts.append(f"{100 * mass:.0f} % of what speaks for the answer lies in them, which cover {100 * area:.0f} %")
    return f"Explains the answer “{cut(one.explained, LONGEST)}”: {', '.join(parts)}."


def _fills(system: str, facts: Facts) -> list[str]:
    """What became of the answer when a region was filled, a line a region."""
    lines = []
    for (method, weights, measure), value in facts.items():
        if measure not in ("changed_box", "changed_top"):
            continue
        region = "reference boxes" if measure == "changed_box" else f"top of {METHODS[method]}"
        elsewhere = facts.get((method, weights, f"{measure}_random"), 0.0)
        became = "another answer" if value else "the same answer"
        lines.append(f"{system}, {region}: {became}; elsewhere, another in {100 * elsewhere:.0f} % of the draws")
    return lines
