"""A loaded model that says how likely one answer is, for an image as it is and for changed copies of it."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

from workflow_scripts.core.command import Refused
from workflow_scripts.core.requests import Request
from workflow_scripts.core.saliency.grids import Numbers, TokenGrid, Windows, windows_of
from workflow_scripts.models.families.family import Size, arguments
from workflow_scripts.models.loading import Loaded


@dataclass(frozen=True)
class Case:
    """A row with the answer that is explained, as a model reads it."""

    request: Request
    images: list[Image]  # RGB, turned as their EXIF says
    answer: str  # as the model wrote it
    prompt_ids: list[int]
    answer_ids: list[int]
    grids: list[list[TokenGrid]]  # of each image
    windows: list[Windows]  # of each image

    @property
    def sizes(self) -> list[Size]:
        """Width and height of each image."""
        return [image.size for image in self.images]


def case_of(loaded: Loaded, request: Request, images: list[Image], answer: str, ended: bool, most: int) -> Case:
    """A request with the answer to explain.

    Args:
        answer: as the model wrote it; encoded anew, which may give other tokens than were generated.
        ended: whether the model closed its answer: the closing token then belongs to it.
        most: windows a side.

    Raises:
        Refused: the family does not say which part of an image its tokens see.
    """
    family, processor = loaded.family, loaded.processor
    sizes = [image.size for image in images]
    grids = []
    for size in sizes:
        of_image = family.token_grids(processor, size)
        if of_image is None or sum(grid.tokens for grid in of_image) != family.image_tokens(processor, size):
            raise Refused(
                "explanation maps need to know which part of an image each token sees, and this checkpoint's image "
                "tokens do not say; leave its systems out of `saliency`"
            )
        grids.append(of_image)
    answer_ids = family.answer_ids(processor, answer)
    closing = family.answer_ids(processor, "")
    if not ended and len(answer_ids) > len(closing):
        answer_ids = answer_ids[: len(answer_ids) - len(closing)]
    return Case(
        request,
        images,
        answer,
        family.prompt_ids(processor, request.chat, sizes),
        answer_ids,
        grids,
        [windows_of(of_image, *size, most) for of_image, size in zip(grids, sizes, strict=True)],
    )


class AnswerModel:
    """Scores answers of one loaded model, many changed copies of a row's images at a time.

    Args:
        batch: most copies at once; halved, for good, when the device's memory does not hold them.
    """

    def __init__(self, loaded: Loaded, batch: int) -> None:
        self.loaded = loaded
        self.batch = batch
        loaded.base.requires_grad_(False)

    @torch.no_grad()
    def log_likelihoods(self, case: Case, variants: Sequence[Sequence[Image]]) -> Numbers:
        """Mean log-probability of the answer's tokens, in nats, for each variant of the row's images."""
        values: list[float] = []
        while len(values) < len(variants):
            batch = variants[len(values) : len(values) + self.batch]
            try:
                values += self._log_likelihoods(case, batch)
                continue
            except torch.OutOfMemoryError:
                if self.batch == 1:
                    raise Refused(
                        f"the GPU's memory does not hold the row {case.request.uid} alone; use a larger GPU"
                    ) from None
            self.batch = max(1, self.batch // 2)  # the memory of the failed try is freed only here
            gc.collect()
            torch.cuda.empty_cache()
            print(f"out of memory: from here on {self.batch} copies at once")
        return np.array(values)

    def _log_likelihoods(self, case: Case, variants: Sequence[Sequence[Image]]) -> list[float]:
        family, base, processor = self.loaded.family, self.loaded.base, self.loaded.processor
        features = self.features(variants)
        encoded = family.encoder_outputs(base, processor, features, case.sizes * len(variants))
        return self.answer_log_probabilities(case, encoded, len(variants)).mean(1).tolist()

    def features(self, variants: Sequence[Sequence[Image]]) -> torch.Tensor:
        """The vision tower's output of all images of all variants; an image that several show is computed once."""
        family, base, processor = self.loaded.family, self.loaded.base, self.loaded.processor
        shown = [image for images in variants for image in images]
        distinct = list({id(image): image for image in shown}.values())
        pixels = torch.cat([family.pixels(processor, image) for image in distinct])
        sizes = [image.size for image in distinct]
        features = family.features(base, processor, pixels.to(self.loaded.device, base.dtype), sizes)
        if len(distinct) == len(shown):
            return features
        parts = features.split([family.image_tokens(processor, size) for size in sizes])
        of_image = {id(image): part for image, part in zip(distinct, parts, strict=True)}
        return torch.cat([of_image[id(image)] for image in shown])

    def answer_log_probabilities(
        self, case: Case, encoded: dict[str, Any], copies: int, **options: Any
    ) -> torch.Tensor:
        """Log-probabilities of the answer's tokens: (copies, tokens of the answer), float32.

        Args:
            encoded: arguments of `forward` that hold the images of all copies.
            options: further arguments of `forward`.
        """
        return self.forward(case, encoded, copies, **options)[0]

    def forward(self, case: Case, encoded: dict[str, Any], copies: int, **options: Any) -> tuple[torch.Tensor, Any]:
        """See `answer_log_probabilities`; with all that the model gives out."""
        family, base, processor, device = (
            self.loaded.family,
            self.loaded.base,
            self.loaded.processor,
            self.loaded.device,
        )
        row = case.prompt_ids + case.answer_ids
        ids = torch.tensor([row] * copies, device=device)
        mask = torch.ones_like(ids)
        text = family.text_inputs(processor, ids, mask, [case.sizes] * copies, [len(case.prompt_ids)] * copies)
        output = base(
            input_ids=ids,
            attention_mask=mask,
            **arguments(text),
            **encoded,
            use_cache=False,
            logits_to_keep=len(case.answer_ids) + 1,
            **options,
        )
        logits = output.logits[:, :-1].float()
        answer = ids[:, len(case.prompt_ids) :, None]
        return logits.log_softmax(-1).gather(2, answer)[..., 0], output


def redraw_weights(loaded: Loaded, seed: int) -> None:
    """Draw every parameter anew, all layers at once: normal, with the mean and the spread that its tensor had.

    Source: the model parameter randomisation test of Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018,
    in its complete form; the spread of each tensor is kept, so that layers stay of the scale that they were trained to.
    """
    generator = torch.Generator(loaded.device).manual_seed(seed)
    with torch.no_grad():
        for parameter in loaded.model.parameters():
            values = parameter.float()
            spread = values.std() if values.numel() > 1 else torch.zeros((), device=values.device)
            drawn = torch.randn(values.shape, generator=generator, device=values.device)
            parameter.copy_(values.mean() + spread * drawn)
