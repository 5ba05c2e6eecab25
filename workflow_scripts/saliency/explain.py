"""All that is computed of one row: maps of its images, how faithful they are, and what filling a region changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image

from workflow_scripts.core.answers import final_answer
from workflow_scripts.core.config.report import Saliency
from workflow_scripts.core.requests import RequestImage
from workflow_scripts.core.rows import Row
from workflow_scripts.core.saliency.boxes import boxes_of, image_of_boxes
from workflow_scripts.core.saliency.grids import Numbers, pixel_map, window_values
from workflow_scripts.core.saliency.rows import CENTRED, OWN, RANDOMISED
from workflow_scripts.core.tasks import load_part
from workflow_scripts.engines.local.engine import TransformersEngine
from workflow_scripts.saliency.filling import Mask, filled, filler_of, moved, region_of_boxes, region_of_windows
from workflow_scripts.saliency.measures import (
    centred_map,
    deletion_and_insertion,
    mass_in_box,
    middles_inside,
    pointing_game,
    rank_correlation,
    windows_in_order,
)
from workflow_scripts.saliency.methods import Map, occlusion, token_maps
from workflow_scripts.saliency.model import AnswerModel, Case

Maps = Mapping[str, list[Map]]
"""By method, a map of each image."""

Fact = tuple[str, str, str, float]
"""Method, weights, measure, value."""


def maps_of(model: AnswerModel, case: Case, spec: Saliency) -> Maps:
    """The maps of the methods that are asked for."""
    maps = dict(token_maps(model, case, spec.methods))
    if "occlusion" in spec.methods:
        maps["occlusion"] = occlusion(model, case, _fillers(case, spec))
    return {method: maps[method] for method in spec.methods if method in maps}


def facts_of(
    model: AnswerModel, case: Case, row: Row, spec: Saliency, own: Maps, randomised: Maps, seed: int
) -> list[Fact]:
    """What is measured of a row.

    Args:
        own: the model's maps.
        randomised: those of the same network with redrawn weights; deletion and insertion are the model's own.
        seed: of ties and random regions.
    """
    rng = np.random.default_rng(seed)
    measured = _Measured(model, case, row, _fillers(case, spec), spec, rng)
    facts: list[Fact] = []
    shown = {
        (method, weights): maps for weights, of in ((OWN, own), (RANDOMISED, randomised)) for method, maps in of.items()
    }
    for (method, weights), maps in shown.items():
        facts += measured.of_map(method, weights, [_on_pixels(case, place, one) for place, one in enumerate(maps)])
    if shown:
        facts += measured.of_map("", CENTRED, [centred_map(*size) for size in case.sizes])
    for method in own:
        one, other = (
            measured.on_windows([_on_pixels(case, p, m) for p, m in enumerate(of[method])]) for of in (own, randomised)
        )
        if (correlation := rank_correlation(one, other)) is not None:
            facts.append((method, OWN, "rank_correlation", correlation))
    if measured.region is not None:
        facts.append(("", "", "box_area", float(measured.region.mean())))
        facts.append(("", "", "pointing_chance", float(measured.inside.mean())))
    if "counterfactual" in spec.methods:
        facts += measured.counterfactual(own)
    return facts


def _fillers(case: Case, spec: Saliency) -> list[Image]:
    return [filler_of(image, spec.fill) for image in case.images]


def _on_pixels(case: Case, place: int, one: Map) -> Numbers:
    return pixel_map(*one, *case.sizes[place])


@dataclass
class _Measured:
    """One row under the model: what its images are filled with, and the region of its reference boxes."""

    model: AnswerModel
    case: Case
    row: Row
    fillers: list[Image]
    spec: Saliency
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.boxed = image_of_boxes(self.row)
        region = region_of_boxes(boxes_of(self.row), *self.case.sizes[self.boxed])
        self.region: Mask | None = region if region.any() else None
        self.inside = middles_inside(self.case.windows[self.boxed].labels, region)
        self._known: dict[bytes, float] = {}

    def on_windows(self, of_pixels: Sequence[Numbers]) -> Numbers:
        """Values of all windows, one image's after the other's."""
        pairs = zip(self.case.windows, of_pixels, strict=True)
        return np.concatenate([window_values(windows, values) for windows, values in pairs])

    def of_map(self, method: str, weights: str, of_pixels: list[Numbers]) -> list[Fact]:
        """Deletion and insertion of a map, and where boxes are, whether it points at them."""
        deletion, insertion = deletion_and_insertion(
            self.on_windows(of_pixels), self.probabilities, self.spec.steps, self.rng
        )
        facts = [(method, weights, "deletion_auc", deletion), (method, weights, "insertion_auc", insertion)]
        if self.region is not None:
            values = window_values(self.case.windows[self.boxed], of_pixels[self.boxed])
            facts.append((method, weights, "pointing_game", pointing_game(values, self.inside)))
            mass = mass_in_box(of_pixels[self.boxed], self.region)
            facts += [] if mass is None else [(method, weights, "mass_in_box", mass)]
        return facts

    def probabilities(self, sets: Sequence[npt.NDArray[np.int64]]) -> Numbers:
        """The geometric mean probability of the answer's tokens, where sets of windows are filled."""
        keys = [np.sort(chosen).tobytes() for chosen in sets]
        waiting = {key: chosen for key, chosen in zip(keys, sets, strict=True) if key not in self._known}
        variants = [self.with_windows(chosen) for chosen in waiting.values()]
        scores = self.model.log_likelihoods(self.case, variants) if variants else np.zeros(0)
        self._known |= dict(zip(waiting, np.exp(scores).tolist(), strict=True))
        return np.array([self._known[key] for key in keys])

    def with_windows(self, chosen: npt.NDArray[np.int64]) -> list[Image]:
        """The images with some windows filled."""
        return self._with(self.regions(chosen))

    def regions(self, chosen: npt.NDArray[np.int64]) -> dict[int, Mask]:
        """The pixels of some windows, by image; an image without any is left out."""
        regions, first = {}, 0
        for place, windows in enumerate(self.case.windows):
            inside = chosen[(chosen >= first) & (chosen < first + windows.count)] - first
            if len(inside):
                regions[place] = region_of_windows(windows, inside)
            first += windows.count
        return regions

    def _with(self, regions: Mapping[int, Mask]) -> list[Image]:
        images = list(self.case.images)
        for place, region in regions.items():
            images[place] = filled(images[place], self.fillers[place], region)
        return images

    def counterfactual(self, own: Maps) -> list[Fact]:
        """Whether the answer becomes another when boxes, or the top of each map, are filled; and elsewhere."""
        regions: list[tuple[str, str, dict[int, Mask]]] = []
        if self.region is not None:
            regions.append(("", "changed_box", {self.boxed: self.region}))
        for method, maps in own.items():
            values = self.on_windows([_on_pixels(self.case, place, one) for place, one in enumerate(maps)])
            top = windows_in_order(values, self.rng)[: max(1, round(self.spec.top * len(values)))]
            regions.append((method, "changed_top", self.regions(top)))
        variants = [self.case.images]
        for _, _, filled_regions in regions:
            variants.append(self._with(filled_regions))
            for _ in range(self.spec.draws):
                variants.append(self._with({place: moved(part, self.rng) for place, part in filled_regions.items()}))
        first, *others = answers_to(self.model, self.case, variants)
        same = _same_reading(self.row)
        facts: list[Fact] = []
        for number, (method, measure, _) in enumerate(regions):
            one, *elsewhere = others[number * (1 + self.spec.draws) : (number + 1) * (1 + self.spec.draws)]
            facts.append((method, OWN, measure, float(not same(first, one))))
            facts.append(
                (method, OWN, f"{measure}_random", float(np.mean([not same(first, text) for text in elsewhere])))
            )
        return facts


def answers_to(model: AnswerModel, case: Case, variants: Sequence[Sequence[Image]]) -> list[str]:
    """The model's answers, the likeliest each, to a row's question on variants of its images."""
    loaded = model.loaded
    shown: dict[str, Image] = {}
    requests = []
    for number, images in enumerate(variants):
        names = [f"{number}/{place}" for place in range(len(images))]
        shown |= dict(zip(names, images, strict=True))
        described = tuple(RequestImage(name, "", *image.size) for name, image in zip(names, images, strict=True))
        requests.append(replace(case.request, uid=str(number), images=described))

    def vision(images: list[RequestImage]) -> torch.Tensor:
        return model.features([[shown[image.sha256] for image in images]])

    engine = TransformersEngine(loaded, vision, model.batch, tower=True)
    texts = {response.uid: response.text for responses in engine.answers(requests) for response in responses}
    return [texts[str(number)] for number in range(len(variants))]


def _same_reading(row: Row) -> Callable[[str, str], bool]:
    """Whether two answers to a row are one: the same text, or both read leniently as the same value."""
    reading = load_part(row.task, "reading")

    def same(one: str, other: str) -> bool:
        texts = [final_answer(text).text.strip() for text in (one, other)]
        values = [reading.read_lenient(row.expected, text) for text in texts]
        return texts[0] == texts[1] or (values[0] is not None and values[0] == values[1])

    return same
