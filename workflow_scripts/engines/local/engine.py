"""Greedy generation with transformers on precomputed vision features."""

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.requests import Request, RequestImage, Response
from workflow_scripts.engines.local.constraint import Constraint
from workflow_scripts.engines.local.decoding import Decoder, greedily
from workflow_scripts.engines.local.library import LibraryDecoder
from workflow_scripts.models.families.family import Size, arguments
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.vision_features import FeatureStore, open_converted

Vision = Callable[[list[RequestImage]], torch.Tensor]
"""Features (image tokens of all, feature width) of images."""


def vision_source(loaded: Loaded, root: Path, index: Path | None) -> Vision:
    """How images become features: from the store at `index`, or by the model's own tower.

    An adapter that tuned the tower has no store: what is stored is the base tower's output.
    """
    family, processor = loaded.family, loaded.processor
    if index is not None:
        store = FeatureStore(index)
        return lambda images: store.read([image.sha256 for image in images])

    def compute(images: list[RequestImage]) -> torch.Tensor:
        opened = [open_converted(root, image.path, image.sha256) for image in images]
        pixels = torch.cat([family.pixels(processor, image) for image in opened])
        return family.features(loaded.base, processor, pixels.to(loaded.device, loaded.base.dtype), _sizes(images))

    return compute


class TransformersEngine:
    """Answers requests with one loaded model, greedily.

    Args:
        batch: most rows at once; halved, for good, when the device's memory does not hold them.
    """

    def __init__(self, loaded: Loaded, vision: Vision, batch: int) -> None:
        self._loaded = loaded
        self._vision = vision
        self.batch = batch
        tokenizer, family = loaded.processor.tokenizer, loaded.family
        stops = loaded.base.generation_config.eos_token_id
        self._stops = {stops} if isinstance(stops, int) else set(stops or ())
        self._stops |= {tokenizer.convert_tokens_to_ids(family.end_of_answer(loaded.processor))}
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        decoder = LibraryDecoder if family.library_decoding else Decoder
        self._decoder = decoder(loaded.base, pad, self._stops, family.first_position)

    @property
    def settings(self) -> dict:
        """What answers depend on besides prompts, limits of new tokens and adapter."""
        return {
            "engine": "transformers",
            "decoding": "greedy",
            "dtype": str(self._loaded.base.dtype).removeprefix("torch."),
            "stops": sorted(self._stops),
            "revision": self._loaded.revision,
        }

    @property
    def settings_hash(self) -> str:
        """The settings in 16 digits."""
        return hashlib.sha256(canonical_json(self.settings).encode()).hexdigest()[:16]

    def answers(self, requests: Sequence[Request]) -> Iterator[list[Response]]:
        """Responses to all requests, batch by batch; rows of one limit and of similar length share one.

        Raises:
            Refused: the device's memory does not hold a single row.
        """
        family, processor = self._loaded.family, self._loaded.processor
        waiting = [
            (request, family.prompt_ids(processor, request.chat, _sizes(request.images))) for request in requests
        ]
        waiting.sort(key=lambda pair: (-pair[0].max_new_tokens, -len(pair[1]), pair[0].uid))
        while waiting:
            limit = waiting[0][0].max_new_tokens
            batch = [pair for pair in waiting[: self.batch] if pair[0].max_new_tokens == limit]
            batch = batch[: self._decoder.rows_that_fit(len(batch[0][1]) + limit)]
            try:
                responses = self.generate(batch)
            except torch.OutOfMemoryError:
                responses = None  # the memory of the failed try is freed only after this block
            if responses is None:
                self._halve(batch[0][0])
                continue
            del waiting[: len(batch)]
            yield responses

    def _halve(self, request: Request) -> None:
        if self.batch == 1:
            raise Refused(f"the GPU's memory does not hold the row {request.uid} alone; use a larger GPU")
        self.batch = max(1, self.batch // 2)
        gc.collect()
        torch.cuda.empty_cache()
        print(f"out of memory: from here on {self.batch} rows at once")

    @torch.inference_mode()
    def generate(self, batch: Sequence[tuple[Request, list[int]]]) -> list[Response]:
        """Responses to requests of one limit, given with the ids of their prompts, in one batch."""
        family, base, processor = self._loaded.family, self._loaded.base, self._loaded.processor

        def inputs(first: int, last: int, ids: torch.Tensor, mask: torch.Tensor) -> dict:
            rows = [request.images for request, _ in batch[first:last]]
            images = [image for row in rows for image in row]
            text = family.text_inputs(processor, ids, mask, [_sizes(row) for row in rows])
            if not images:
                return arguments(text)
            features = self._vision(images).to(self._loaded.device)
            return arguments(text) | family.encoder_outputs(base, processor, features, _sizes(images))

        options: dict = {"inputs": inputs if family.reads_images else None}
        tokenizer = processor.tokenizer
        if any(request.grammar for request, _ in batch):
            constraint = Constraint(tokenizer, [request.grammar for request, _ in batch], self._stops)
            options |= {
                "choose": lambda logits, rows, length: greedily(constraint.mask(logits), rows, length),
                "accept": constraint.accept,
                "keep": constraint.keep,
            }
        generated = self._decoder.generate([ids for _, ids in batch], batch[0][0].max_new_tokens, **options)
        return [self._response(request, prompt, new) for (request, prompt), new in zip(batch, generated, strict=True)]

    def _response(self, request: Request, prompt: list[int], new: list[int]) -> Response:
        ended = bool(new) and new[-1] in self._stops
        images = [image.sha256 for image in request.images]
        return Response(
            uid=request.uid,
            text=self._loaded.processor.tokenizer.decode(new[:-1] if ended else new, skip_special_tokens=True),
            finish_reason="stop" if ended else "length",
            prompt_tokens=len(prompt),
            new_tokens=len(new),
            prompt_hash=hashlib.sha256(repr((prompt, images)).encode()).hexdigest()[:16],
        )


def _sizes(images: Sequence[RequestImage]) -> list[Size]:
    return [(image.width, image.height) for image in images]
