"""Generation with transformers on precomputed vision features: the likeliest answer, or several that are drawn."""

import gc
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.requests import Request, RequestImage, Response, Sampling, seed_of
from workflow_scripts.engines.local.choice import Choose, Draws, greedily
from workflow_scripts.engines.local.constraint import Constraint
from workflow_scripts.engines.local.decoding import SPARE, Decoder
from workflow_scripts.engines.local.library import LibraryDecoder
from workflow_scripts.models.families.family import Size, arguments
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.vision_features import FeatureStore, open_converted

SPARE_FOR_A_TOWER = 1 / 3
"""Share of a GPU's free memory that keys and values leave where images are encoded in the job."""

Vision = Callable[[list[RequestImage]], torch.Tensor]
"""Features (image tokens of all, feature width) of images."""


def vision_source(loaded: Loaded, root: Path, indexes: Sequence[Path]) -> Vision:
    """How images become features: from what is stored at the first of `indexes` that has one, or by the model's tower.

    An adapter that tuned the tower has no index: what is stored is the base tower's output.
    """
    family, processor = loaded.family, loaded.processor
    if indexes:
        stores = [FeatureStore(index) for index in indexes]

        def read(image: RequestImage) -> torch.Tensor:
            return next((store for store in stores if image.sha256 in store), stores[0]).read([image.sha256])

        return lambda images: torch.cat([read(image) for image in images])

    def compute(images: list[RequestImage]) -> torch.Tensor:
        opened = [open_converted(root, image.path, image.sha256) for image in images]
        pixels = torch.cat([family.pixels(processor, image) for image in opened])
        return family.features(loaded.base, processor, pixels.to(loaded.device, loaded.base.dtype), _sizes(images))

    return compute


class Query(NamedTuple):
    """A request with the ids of its prompt."""

    request: Request
    prompt: list[int]

    @property
    def prompt_hash(self) -> str:
        """SHA-256 over the ids and the hashes of images, 16 digits."""
        images = [image.sha256 for image in self.request.images]
        return hashlib.sha256(repr((self.prompt, images)).encode()).hexdigest()[:16]

    def same_prompt(self, other: "Query") -> bool:
        """Whether both are answers to one prompt."""
        return self.request.uid == other.request.uid and self.prompt == other.prompt


class TransformersEngine:
    """Answers requests with one loaded model, by the likeliest tokens or, where a request says so, by drawn ones.

    Args:
        batch: most rows at once; halved, for good, when the device's memory does not hold them.
        tower: whether `vision` runs a network, which takes memory of its own.
    """

    def __init__(self, loaded: Loaded, vision: Vision, batch: int, *, tower: bool = False) -> None:
        self._loaded = loaded
        self._vision = vision
        self.batch = batch
        tokenizer, family = loaded.processor.tokenizer, loaded.family
        stops = loaded.base.generation_config.eos_token_id
        self._stops = {stops} if isinstance(stops, int) else set(stops or ())
        self._stops |= {tokenizer.convert_tokens_to_ids(family.end_of_answer(loaded.processor))}
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._decoder: Decoder | LibraryDecoder
        if family.library_decoding:
            self._decoder = LibraryDecoder(loaded.base, pad, self._stops, family.first_position)
        else:
            spare = SPARE_FOR_A_TOWER if tower else SPARE
            self._decoder = Decoder(loaded.base, pad, self._stops, family.first_position, spare)

    def settings(self, sampling: Sampling | None = None) -> dict:
        """What answers depend on besides prompts, limits of new tokens, adapter and the number of a draw."""
        return {
            "engine": "transformers",
            "decoding": "greedy"
            if sampling is None
            else {"temperature": sampling.temperature, "top_p": sampling.top_p},
            "dtype": str(self._loaded.base.dtype).removeprefix("torch."),
            "stops": sorted(self._stops),
            "revision": self._loaded.revision,
        }

    def settings_hash(self, sampling: Sampling | None = None) -> str:
        """The settings in 16 digits."""
        return hashlib.sha256(canonical_json(self.settings(sampling)).encode()).hexdigest()[:16]

    def answers(self, requests: Sequence[Request]) -> Iterator[list[Response]]:
        """Responses to all requests, batch by batch; rows of one limit and of similar length share one.

        Several answers to a row stand side by side, since its prompt is then computed once a batch.

        Raises:
            Refused: the device's memory does not hold a single row.
        """
        waiting = [Query(request, prompt) for request, prompt in self._prompts(requests)]
        waiting.sort(key=lambda query: (-query.request.max_new_tokens, -len(query.prompt), *query.request.name))
        while waiting:
            limit = waiting[0].request.max_new_tokens
            batch = [query for query in waiting[: self.batch] if query.request.max_new_tokens == limit]
            batch = batch[: self._decoder.rows_that_fit(len(batch[0].prompt) + limit)]
            try:
                responses = self.generate(batch)
            except torch.OutOfMemoryError:
                responses = None  # the memory of the failed try is freed only after this block
            if responses is None:
                self._halve(batch[0].request)
                continue
            del waiting[: len(batch)]
            yield responses

    def _prompts(self, requests: Sequence[Request]) -> Iterator[tuple[Request, list[int]]]:
        """Requests with the ids of their prompts; that of a row's several answers is written once."""
        prompt: list[int] = []
        for before, request in zip((None, *requests), requests, strict=False):
            if before is None or before.uid != request.uid or before.chat is not request.chat:
                prompt = self._loaded.family.prompt_ids(self._loaded.processor, request.chat, _sizes(request.images))
            yield request, prompt

    def _halve(self, request: Request) -> None:
        if self.batch == 1:
            raise Refused(f"the GPU's memory does not hold the row {request.uid} alone; use a larger GPU")
        self.batch = max(1, self.batch // 2)
        gc.collect()
        torch.cuda.empty_cache()
        print(f"out of memory: from here on {self.batch} rows at once")

    @torch.inference_mode()
    def generate(self, batch: Sequence[Query]) -> list[Response]:
        """Responses to requests of one limit in one batch; all are drawn, or none is."""
        family, base, processor = self._loaded.family, self._loaded.base, self._loaded.processor
        limit = batch[0].request.max_new_tokens
        first_answers = [
            place
            for place, query in enumerate(batch)
            if family.library_decoding or not place or not query.same_prompt(batch[place - 1])
        ]
        prompts = [batch[place] for place in first_answers]

        def inputs(first: int, last: int, ids: torch.Tensor, mask: torch.Tensor) -> dict:
            rows = [query.request.images for query in prompts[first:last]]
            images = [image for row in rows for image in row]
            text = family.text_inputs(processor, ids, mask, [_sizes(row) for row in rows])
            if not images:
                return arguments(text)
            features = self._vision(images).to(self._loaded.device)
            # Here, where the prompts are at hand: of ids on a GPU, the model's own comparison waits for all before it.
            token = family.image_token_id(processor)
            assert token is not None
            if (expected := sum(query.prompt.count(token) for query in prompts[first:last])) != len(features):
                raise ValueError(f"{expected} image tokens in prompts, and features of {len(features)}")
            return arguments(text) | family.encoder_outputs(base, processor, features, _sizes(images))

        options: dict = {"inputs": inputs if family.reads_images else None}
        if len(prompts) < len(batch):
            ends = [*first_answers[1:], len(batch)]
            options["copies"] = [end - start for start, end in zip(first_answers, ends, strict=True)]
        choose = self._choose(batch)
        if any(query.request.grammar for query in batch):
            constraint = Constraint(processor.tokenizer, [query.request.grammar for query in batch], self._stops)
            options |= {
                "choose": lambda logits, rows, length: choose(constraint.mask(logits), rows, length),
                "accept": constraint.accept,
                "keep": constraint.keep,
            }
        elif choose is not greedily:
            options["choose"] = choose
        generated = self._decoder.generate([query.prompt for query in prompts], limit, **options)
        return [self._response(query, new) for query, new in zip(batch, generated, strict=True)]

    def _choose(self, batch: Sequence[Query]) -> Choose:
        """How the tokens of a batch are chosen."""
        sampling = batch[0].request.sampling
        if sampling is None:
            return greedily
        seeds = [seed_of(query.prompt_hash, query.request.name[1]) for query in batch]
        return Draws(seeds, batch[0].request.max_new_tokens, sampling.temperature, sampling.top_p)

    def _response(self, query: Query, new: list[int]) -> Response:
        ended = bool(new) and new[-1] in self._stops
        uid, draw = query.request.name
        return Response(
            uid=uid,
            text=self._loaded.processor.tokenizer.decode(new[:-1] if ended else new, skip_special_tokens=True),
            finish_reason="stop" if ended else "length",
            prompt_tokens=len(query.prompt),
            new_tokens=len(new),
            prompt_hash=query.prompt_hash,
            draw=draw,
        )


def _sizes(images: Sequence[RequestImage]) -> list[Size]:
    return [(image.width, image.height) for image in images]
