"""Greedy generation with transformers on precomputed vision features."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from workflow_scripts.core.images import open_image
from workflow_scripts.engines.exchange import Picture, Request, Response
from workflow_scripts.models.features import FeatureStore
from workflow_scripts.models.loading import Loaded


def vision_source(loaded: Loaded, tree: Path, index: Path | None) -> Callable[[list[Picture]], torch.Tensor]:
    """How pictures become pooled features: from the store at `index`, or by the model's own tower.

    An adapter that tuned the tower has no store: what is stored is the base tower's output.
    """
    if index is not None:
        store = FeatureStore(index)
        return lambda pictures: store.read([picture.sha256 for picture in pictures])

    def compute(pictures: list[Picture]) -> torch.Tensor:
        pixels = loaded.family.pixels(loaded.processor, [open_image(tree, picture.path) for picture in pictures])
        return loaded.family.pooled_features(loaded.base, pixels.to(loaded.device, loaded.base.dtype))

    return compute


class TransformersEngine:
    """Answers batches of requests with one model, greedily."""

    def __init__(self, loaded: Loaded, vision: Callable[[list[Picture]], torch.Tensor]) -> None:
        self._loaded = loaded
        self._vision = vision
        tokenizer = loaded.processor.tokenizer
        self._pad = tokenizer.pad_token_id
        stops = loaded.base.generation_config.eos_token_id
        self._stops = {stops} if isinstance(stops, int) else set(stops)

    def batches(self, requests: Sequence[Request], size: int) -> Iterator[list[tuple[Request, list[int]]]]:
        """Requests with their prompt's ids, in batches of like budget and length."""
        encoded = [(r, self._loaded.family.prompt_ids(self._loaded.processor, r.chat)) for r in requests]
        encoded.sort(key=lambda pair: (pair[0].max_new_tokens, len(pair[1]), pair[0].uid))
        start = 0
        while start < len(encoded):
            stop = start
            budget = encoded[start][0].max_new_tokens
            while stop < len(encoded) and stop - start < size and encoded[stop][0].max_new_tokens == budget:
                stop += 1
            yield encoded[start:stop]
            start = stop

    @torch.inference_mode()
    def generate(self, batch: Sequence[tuple[Request, list[int]]]) -> list[Response]:
        """Answer one batch from `batches`. Prompts are padded on the left: the answer follows the prompt at once."""
        family, base, device = self._loaded.family, self._loaded.base, self._loaded.device
        longest = max(len(ids) for _, ids in batch)
        ids = torch.full((len(batch), longest), self._pad)
        mask = torch.zeros_like(ids)
        for row, (_, prompt) in enumerate(batch):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        pooled = self._vision([picture for request, _ in batch for picture in request.images]).to(device)
        generated = self._loaded.model.generate(
            input_ids=ids,
            attention_mask=mask,
            token_type_ids=family.token_types(self._loaded.processor, ids),
            mm_encoder_outputs=family.encoder_outputs(base, pooled),
            max_new_tokens=batch[0][0].max_new_tokens,
            do_sample=False,
        )[:, longest:].tolist()
        return [self._response(request, prompt, new) for (request, prompt), new in zip(batch, generated, strict=True)]

    def _response(self, request: Request, prompt: list[int], new: list[int]) -> Response:
        end = next((i for i, token in enumerate(new) if token in self._stops), None)
        answer = new if end is None else new[:end]
        shown = [picture.sha256 for picture in request.images]
        digest = hashlib.sha256(repr((prompt, shown)).encode()).hexdigest()[:16]
        return Response(
            uid=request.uid,
            text=self._loaded.processor.tokenizer.decode(answer, skip_special_tokens=True),
            finish="length" if end is None else "stop",
            prompt_tokens=len(prompt),
            new_tokens=len(answer) + (end is not None),
            prompt_hash=digest,
        )
