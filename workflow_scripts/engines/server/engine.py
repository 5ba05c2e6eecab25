"""Answers from a model behind an OpenAI-compatible server, many requests at a time."""

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Any

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of, sha256_of_file
from workflow_scripts.core.images import BadImage, image_bytes, portable_image
from workflow_scripts.core.requests import Request, RequestImage, Response, Sampling, seed_of
from workflow_scripts.engines.server.client import OpenAIServer, ServerFault

GREEDY: dict[str, Any] = {"temperature": 0.0, "seed": 0}
"""The likeliest answer."""

SEEDS = 2**31
"""Below this are the seeds that every server takes."""

FINISHES = ("stop", "length", "content_filter")
"""Ways to end that are an answer; what a filter left of one is recorded as it came."""

WEIGHTS = "adapter_model.safetensors"

MOST_TOKENS = 2**31 - 1
"""The largest count of tokens that a table holds."""


def data_url(root: Path, path: str, sha256: str | None = None) -> str:
    """An image as a data URL: its own bytes where every decoder reads the pixels that training sees, else a PNG.

    A server neither turns an image as its EXIF says, nor stretches 16 bits, nor drops alpha as training does.

    Args:
        sha256: of the file that was converted; None accepts any.

    Raises:
        BadImage: it is missing, cannot be decoded, or was changed.
    """
    if sha256 is not None and sha256_of(image_bytes(root, path)) != sha256:
        raise BadImage(f"{path} is not the image that was converted: convert again")
    image = portable_image(root, path)
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


class OpenAIEngine:
    """Answers requests with what the server calls `served_as`; image paths start from `root`."""

    def __init__(self, server: OpenAIServer, served_as: str, root: Path) -> None:
        self._server = server
        self._served_as = served_as
        self._root = root

    def check(self, adapter: Path | None) -> dict[str, Any]:
        """The server's entry for the model; to be called before the first request.

        Args:
            adapter: folder of the adapter that is to answer; None for a base model. vLLM names an adapter's base as
                `parent` and its folder as `root`, so that a base model under a tuned system's name, the reverse, and
                (where the folder can be read here) other weights are refused.

        Raises:
            ServerFault: the server does not answer, lists no such model, or holds another under its name.
        """
        listed = self._server.models()
        name, url = self._served_as, self._server.url
        if name not in listed:
            remedy = f"--served-model-name {name}" if adapter is None else f"--lora-modules {name}={adapter}"
            raise ServerFault(
                f"{url} serves {', '.join(sorted(listed)) or 'nothing'}, and not {name!r}: start it with `{remedy}`, "
                "or correct `served_as`"
            )
        entry = listed[name]
        if "parent" in entry and (entry["parent"] is None) != (adapter is None):
            listing, wanted = ("an adapter", "the base model") if adapter is None else ("a base model", "its adapter")
            raise ServerFault(f"{url} lists {name!r} as {listing}: name {wanted} in `served_as`")
        served = Path(str(entry.get("root"))) / WEIGHTS
        if adapter is not None and served.is_file() and sha256_of_file(served) != sha256_of_file(adapter / WEIGHTS):
            raise ServerFault(
                f"{url} answers for {name!r} with {served.parent}, whose weights are not those of {adapter}: start it "
                f"with `--lora-modules {name}={adapter}`"
            )
        return entry

    def settings(self, request: Request) -> str:
        """Hash of the request's generation settings, 16 digits."""
        settings = (GREEDY if request.sampling is None else _drawing(request.sampling)) | {
            "max_tokens": request.max_new_tokens
        }
        return hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16]

    def answers(self, requests: Sequence[Request], workers: int) -> Iterator[tuple[Request, Response]]:
        """Answer requests as the answers come, `workers` at a time.

        After a request that failed for good no other is sent; those under way are still answered, then it is raised.

        Raises:
            Refused: a request failed for good; the message names its row.
            BadImage: an image cannot be read.
        """
        waiting = iter(requests)
        failure: Refused | BadImage | None = None
        with ThreadPoolExecutor(workers) as pool:
            pending = {pool.submit(self._answer, request): request for request in islice(waiting, workers)}
            try:
                while pending:
                    done, _ = wait(pending, return_when=FIRST_COMPLETED)
                    for future in done:
                        request = pending.pop(future)
                        try:
                            response = future.result()
                        except (Refused, BadImage) as fault:
                            failure = failure or _named(request, fault)
                            self._server.stop()
                            continue
                        yield request, response
                    if failure is None:
                        pending |= {pool.submit(self._answer, r): r for r in islice(waiting, workers - len(pending))}
            finally:
                if pending:
                    self._server.stop()
        if failure is not None:
            raise failure

    def _answer(self, request: Request) -> Response:
        def sent(image: RequestImage) -> dict[str, Any]:
            return {"type": "image_url", "image_url": {"url": data_url(self._root, image.path, image.sha256)}}

        messages = _messages(request, sent)
        prompt = canonical_json(_messages(request, lambda image: {"type": "image", "sha256": image.sha256}))
        prompt_hash = hashlib.sha256(prompt.encode()).hexdigest()[:16]
        uid, draw = request.name
        how = GREEDY
        if request.sampling is not None:
            how = {**_drawing(request.sampling), "seed": seed_of(prompt_hash, draw) % SEEDS}
        body = {"model": self._served_as, "messages": messages, "max_tokens": request.max_new_tokens, **how}
        answer = self._server.complete(body)
        choice = answer["choices"][0]
        finish_reason = choice.get("finish_reason")
        if finish_reason not in FINISHES:
            expected = ", ".join(FINISHES)
            raise ServerFault(f"{self._server.url} ended the answer with {finish_reason!r}; expected {expected}")
        return Response(
            uid=uid,
            text=choice["message"]["content"] or "",
            finish_reason=finish_reason,
            prompt_tokens=_count(answer, "prompt_tokens"),
            new_tokens=_count(answer, "completion_tokens"),
            prompt_hash=prompt_hash,
            draw=draw,
        )


def _drawing(sampling: Sampling) -> dict[str, Any]:
    """What a server is told of how an answer is drawn, but for its seed."""
    return {"temperature": sampling.temperature, "top_p": sampling.top_p}


def _messages(request: Request, write: Callable[[RequestImage], dict[str, Any]]) -> list[dict[str, Any]]:
    """The request's chat, each image in its place as `write` gives it."""
    images = iter(request.images)
    return [
        turn | {"content": [write(next(images)) if part["type"] == "image" else part for part in turn["content"]]}
        for turn in request.chat
    ]


def _count(answer: dict[str, Any], key: str) -> int | None:
    """Tokens by the server's own count; None where it gives none, or a value that counts nothing."""
    usage = answer.get("usage")
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


def _named(request: Request, fault: Refused | BadImage) -> Refused:
    return Refused(f"row {request.uid} has no answer, and those before it are cached for the next run: {fault}")
