"""Answers from a model behind an OpenAI-compatible server, many requests at a time."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.images import BadImage, decode_image, image_bytes, plain_format
from workflow_scripts.core.requests import Request, RequestImage, Response
from workflow_scripts.engines.server.client import OpenAIServer, ServerFault

SAMPLING = {"temperature": 0.0, "seed": 0}
"""Greedy decoding."""

FINISHES = ("stop", "length", "content_filter")
"""Ways to end that are an answer; a filter's one is kept as it came."""

MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
"""Formats that every server takes, by Pillow's name."""

WEIGHTS = "adapter_model.safetensors"


def data_url(root: Path, path: str) -> str:
    """A picture as a data URL: its own bytes where any decoder makes the pixels of them that training sees, else a PNG.

    A server neither turns a picture as its EXIF says, nor stretches 16 bits, nor drops alpha as `decode_image` does.

    Raises:
        BadImage: it is missing or cannot be decoded.
    """
    data = image_bytes(root, path)
    media = MEDIA.get(plain_format(data))
    if media is None:
        buffer = io.BytesIO()
        decode_image(data, path).save(buffer, "PNG")
        media, data = MEDIA["PNG"], buffer.getvalue()
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


class OpenAIEngine:
    """Answers requests with what the server calls `served_as`; the pictures come from `tree`."""

    def __init__(self, server: OpenAIServer, served_as: str, root: Path) -> None:
        self._server = server
        self._served_as = served_as
        self._tree = root

    def check(self, adapter: Path | None) -> dict:
        """The server's entry for the model; to be called before the first request.

        Args:
            adapter: folder of the adapter that is to answer; None for a base model. vLLM names an adapter's base as
                `parent` and its folder as `root`, so that a base model under a tuned system's name, the reverse, and
                (where the folder can be read here) other weights are found out.

        Raises:
            ServerFault: the server does not answer, lists no such model, or holds another under its name.
        """
        listed = self._server.models()
        name, url = self._served_as, self._server.url
        if name not in listed:
            remedy = f"--served-model-name {name}" if adapter is None else f"--lora-modules {name}={adapter}"
            raise ServerFault(
                f"{url} serves {', '.join(sorted(listed)) or 'nothing'}, and not {name!r}: start it with `{remedy}`, "
                "or mend `served_as`"
            )
        entry = listed[name]
        if "parent" in entry and (entry["parent"] is None) != (adapter is None):
            found, wanted = ("an adapter", "the base model") if adapter is None else ("a base model", "its adapter")
            raise ServerFault(f"{url} lists {name!r} as {found}: name {wanted} in `served_as`")
        held = Path(str(entry.get("root"))) / WEIGHTS
        if adapter is not None and held.is_file() and sha256_of_file(held) != sha256_of_file(adapter / WEIGHTS):
            raise ServerFault(
                f"{url} answers for {name!r} with {held.parent}, whose weights are not those of {adapter}: start it "
                f"with `--lora-modules {name}={adapter}`"
            )
        return entry

    def settings(self, request: Request) -> str:
        """Hash of the request's generation settings, 16 digits."""
        given = SAMPLING | {"max_tokens": request.max_new_tokens}
        return hashlib.sha256(canonical_json(given).encode()).hexdigest()[:16]

    def answers(self, requests: Sequence[Request], workers: int) -> Iterator[tuple[Request, Response]]:
        """Answer requests as the answers come, `workers` at a time.

        After a request that failed for good none is begun, those under way are still answered, and then it is raised.

        Raises:
            Refused: a request failed for good; the message names its row.
            BadImage: a picture cannot be read.
        """
        waiting = iter(requests)
        failure: Refused | BadImage | None = None
        with ThreadPoolExecutor(workers) as pool:
            flying = {pool.submit(self._answer, request): request for request in islice(waiting, workers)}
            try:
                while flying:
                    done, _ = wait(flying, return_when=FIRST_COMPLETED)
                    for future in done:
                        request = flying.pop(future)
                        try:
                            response = future.result()
                        except (Refused, BadImage) as fault:
                            failure = failure or _named(request, fault)
                            self._server.stop()
                            continue
                        yield request, response
                    if failure is None:
                        flying |= {pool.submit(self._answer, r): r for r in islice(waiting, workers - len(flying))}
            finally:
                if flying:
                    self._server.stop()
        if failure is not None:
            raise failure

    def _answer(self, request: Request) -> Response:
        messages = _messages(
            request, lambda p: {"type": "image_url", "image_url": {"url": data_url(self._tree, p.path)}}
        )
        body = {"model": self._served_as, "messages": messages, "max_tokens": request.max_new_tokens, **SAMPLING}
        answer = self._server.complete(body)
        choice = answer["choices"][0]
        finish = choice.get("finish_reason")
        if finish not in FINISHES:
            raise ServerFault(f"{self._server.url} ended the answer with {finish!r}; expected {', '.join(FINISHES)}")
        told = canonical_json(_messages(request, lambda image: {"type": "image", "sha256": image.sha256}))
        return Response(
            uid=request.uid,
            text=choice["message"]["content"] or "",
            finish=finish,
            prompt_tokens=_count(answer, "prompt_tokens"),
            new_tokens=_count(answer, "completion_tokens"),
            prompt_hash=hashlib.sha256(told.encode()).hexdigest()[:16],
        )


def _messages(request: Request, shown: Callable[[RequestImage], dict]) -> list[dict]:
    """The request's chat, each picture in its place as `shown` writes it."""
    images = iter(request.images)
    return [
        turn | {"content": [shown(next(images)) if part["type"] == "image" else part for part in turn["content"]]}
        for turn in request.chat
    ]


def _count(answer: dict, key: str) -> int | None:
    """Tokens by the server's own count; None where it gives none."""
    usage = answer.get("usage")
    value = usage.get(key) if isinstance(usage, dict) else None
    return value if isinstance(value, int) else None


def _named(request: Request, fault: Refused | BadImage) -> Refused:
    return Refused(f"row {request.uid} has no answer, and those before it are kept for the next run: {fault}")
