"""Bodies of a server's answers: read within a time and a size, and their words for people."""

import json
import time
import zlib

import httpx2

MOST_BYTES = 16 << 20
"""The longest body that is read, unpacked: an answer of 16 MiB is thousands of times the longest text asked for."""

_PACKED = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Encodings that are unpacked though none is asked for, with the window of zlib."""


class BadBody(Exception):
    """A body that is not read to its end; the message says why."""


def read_body(response: httpx2.Response, deadline: float) -> bytes:
    """The body of a streamed answer, unpacked; neither a long body nor a small one that unpacks to a long one fits.

    Args:
        response: within its `stream` block.
        deadline: of the monotonic clock, in seconds.

    Raises:
        TimeoutError: the deadline has passed.
        BadBody: the body is longer than `MOST_BYTES`, or packed in a way that cannot be read.
    """
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "", *_PACKED):
        raise BadBody(f"answered in the encoding {encoding[:40]!r}, which was not asked for")
    unpack = zlib.decompressobj(_PACKED[encoding]) if encoding in _PACKED else None
    body = bytearray()
    for part in response.iter_raw():
        try:
            body += unpack.decompress(part, MOST_BYTES + 1 - len(body)) if unpack else part
        except zlib.error as error:
            raise BadBody(f"answered with a body that cannot be unpacked ({error})") from None
        if len(body) > MOST_BYTES:
            raise BadBody(f"answered with more than {MOST_BYTES >> 20} MiB")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(body)


def error_message(data: bytes) -> str:
    """The server's own message in a body, or the body's text."""
    text = data.decode("utf-8", errors="replace")
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return text if text.split() else "nothing more"
    inner = answer.get("error", answer) if isinstance(answer, dict) else answer
    message = inner.get("message", inner) if isinstance(inner, dict) else inner
    return message if isinstance(message, str) else json.dumps(message)


def clean(text: str) -> str:
    """One line of at most 300 characters."""
    return " ".join(text.split())[:300]
