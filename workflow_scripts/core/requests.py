"""What every engine takes and gives: requests with a chat and its images, responses with text and how it ended."""

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple


class RequestImage(NamedTuple):
    """One image of a request: the hash of its file, its path below the dataset's root, its size in pixels."""

    sha256: str
    path: str
    width: int
    height: int


class Sampling(NamedTuple):
    """How one of several answers to a question is drawn; its seed follows from the prompt and `draw` alone."""

    temperature: float
    top_p: float
    draw: int  # counted from 0


@dataclass(frozen=True)
class Request:
    """One question to answer."""

    uid: str
    chat: list[dict[str, Any]]  # messages as models.prompts writes them
    images: tuple[RequestImage, ...]  # in the chat's order
    max_new_tokens: int
    grammar: str | None = None  # Lark text in llguidance's dialect that bounds the answer; None leaves it free
    sampling: Sampling | None = None  # None: the likeliest answer

    @property
    def name(self) -> tuple[str, int]:
        """The row, and which of its answers is asked for."""
        return self.uid, 0 if self.sampling is None else self.sampling.draw


def seed_of(prompt: str, number: int) -> int:
    """The seed of an answer, of 60 bits: it follows from what is asked and the answer's number alone."""
    return int(hashlib.sha256(f"{prompt} {number}".encode()).hexdigest()[:15], 16)


@dataclass(frozen=True)
class Response:
    """One answer. `finish_reason` is `stop` where the model ended its turn, `length` where the limit of tokens did.

    A server may also give `content_filter`: it withheld the answer, or a part of it.
    """

    uid: str
    text: str
    finish_reason: str
    prompt_tokens: int | None  # None where a server does not say
    new_tokens: int | None
    prompt_hash: str  # sha256 over the prompt (token ids; messages of a server) and image hashes, 16 digits
    draw: int = 0  # see `Sampling`
