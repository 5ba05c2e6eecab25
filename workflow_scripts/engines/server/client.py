"""Talking to an OpenAI-compatible server: what passes is tried again with growing pauses, what stays is a sentence.

Engines and judges share this room. The token is read from the environment and reaches no message.
"""

import json
import os
import random
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TypeVar

import httpx2

from workflow_scripts.core.command import Refused

PAUSE = 0.5
"""Seconds before the first further try, doubled for each one after it, times a random factor from 0.5 to 1.5."""

LONGEST_PAUSE = 60.0
"""The most that doubling leads to, in seconds."""

LONGEST_WAIT = 600.0
"""The longest that a server's Retry-After is honoured, in seconds."""

PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that a further try may mend."""

REMEDIES = {
    401: "set `token_variable` to the environment variable that holds a valid token",
    403: "use a token that may call this model",
    404: "check the `url`, which ends in /v1, and the model's name there",
    413: "let the server take larger requests: pictures travel in them",
}


T = TypeVar("T")

_ABSENT = (httpx2.ConnectError, httpx2.ConnectTimeout)


class ServerFault(Refused):
    """A request failed for good; the message names the server, its own words and the remedy."""


class _Passing(Exception):
    """A try failed in a way that a further one may mend; `wait` is the server's Retry-After in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class OpenAIServer:
    """A server's address and how patiently it is asked; threads may share one. Used in a `with` block.

    Args:
        url: address up to and with `/v1`.
        token_variable: environment variable that holds the token; None sends none.
        timeout: seconds until a try is given up.
        retries: further tries of a request.
        workers: requests under way at a time.

    Raises:
        Refused: the environment variable is not set or holds no token, or the address is none.
    """

    def __init__(self, url: str, token_variable: str | None, timeout: float, retries: int, workers: int) -> None:
        self.url = url.rstrip("/")
        try:
            httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise Refused(f"{self.url} is no address of a server ({error}); mend `url`") from None
        self._timeout = timeout
        self._retries = retries
        self._token = os.environ.get(token_variable, "").strip() if token_variable else ""
        if token_variable and not self._token:
            raise Refused(f"the environment variable {token_variable} is not set; {self.url} needs its token")
        if not re.fullmatch(r"[!-~]*", self._token):
            raise Refused(f"the environment variable {token_variable} holds more than a token: a space or a line break")
        self._stopped = threading.Event()
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {self._token}"} if self._token else {},
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 30.0), pool=None),
            limits=httpx2.Limits(max_connections=workers, max_keepalive_connections=workers),
        )

    def __enter__(self) -> "OpenAIServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def stop(self) -> None:
        """Let tries under way end, and begin none again."""
        self._stopped.set()

    def models(self) -> dict[str, dict]:
        """What the server lists at `/models`, by name; where nobody listens, that is said at once.

        Raises:
            ServerFault: it does not answer, or with something else.
        """
        return self._asked("GET", "/models", None, self._models, wait_for_it=False)

    def complete(self, body: dict) -> dict:
        """The whole answer to a chat completion: its first choice holds a message with a text or null.

        Raises:
            ServerFault: the request failed for good.
        """
        return self._asked("POST", "/chat/completions", json.dumps(body).encode(), self._completion)

    def _asked(
        self, method: str, path: str, content: bytes | None, read: Callable[[object], T], wait_for_it: bool = True
    ) -> T:
        for attempt in range(self._retries + 1):
            try:
                return read(self._once(method, path, content))
            except _ABSENT as error:
                reason = self._clean(str(error)) or type(error).__name__
                if not wait_for_it:
                    raise ServerFault(f"nobody answers at {self.url} ({reason}); start it, or mend `url`") from None
                fault = _Passing(f"could not be reached ({reason})")
            except _Passing as passing:
                fault = passing
            pause = max(min(fault.wait, LONGEST_WAIT), self._pause(attempt))
            if attempt == self._retries or self._stopped.wait(pause):
                break
        tries = "once" if attempt == 0 else f"{attempt + 1} times"
        raise ServerFault(f"{self.url}{path} was asked {tries} and, the last time, {fault}; run again when it is well")

    def _pause(self, attempt: int) -> float:
        return min(PAUSE * 2**attempt, LONGEST_PAUSE) * random.uniform(0.5, 1.5)

    def _once(self, method: str, path: str, content: bytes | None) -> object:
        """The JSON of one try's answer."""
        deadline = time.monotonic() + self._timeout
        headers = {"Content-Type": "application/json"} if content else {}
        parts = []
        try:
            with self._client.stream(method, self.url + path, content=content, headers=headers) as response:
                for part in response.iter_bytes():
                    parts.append(part)
                    if time.monotonic() > deadline:
                        raise _Passing(f"gave no whole answer within {self._timeout:g} s")
        except _ABSENT:
            raise
        except httpx2.TimeoutException:
            raise _Passing(f"gave no answer within {self._timeout:g} s") from None
        except httpx2.HTTPError as error:
            raise _Passing(f"dropped the connection ({self._clean(str(error)) or type(error).__name__})") from None
        data = b"".join(parts)
        status = response.status_code
        if status in PASSING:
            wait = _seconds(response.headers.get("Retry-After"))
            raise _Passing(f"answered {status}: {self._said(data)}", wait)
        if status != 200:
            remedy = REMEDIES.get(status, "mend what the server names")
            raise ServerFault(f"{self.url}{path} answered {status}: {self._said(data)}; {remedy}")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise _Passing(f"answered with something that is no JSON: {self._clean(_text(data))}") from None

    def _models(self, answer: object) -> dict[str, dict]:
        listed = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(listed, list) or not all(
            isinstance(m, dict) and isinstance(m.get("id"), str) for m in listed
        ):
            raise _Passing("answered with JSON that is no list of models")
        return {str(entry["id"]): entry for entry in listed}

    def _completion(self, answer: object) -> dict:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict) or not isinstance(message.get("content", 0), str | None):
            raise _Passing(f"answered with JSON that is no chat completion: {self._message(answer)}")
        try:
            (message["content"] or "").encode()
        except UnicodeEncodeError:
            raise _Passing("answered with a text that is no Unicode") from None
        if choice.get("finish_reason") in ("abort", "error"):
            raise _Passing(f"broke the answer off (finish_reason {choice['finish_reason']!r})")
        return answer

    def _said(self, data: bytes) -> str:
        """The server's own message, cut to a line, without the token."""
        try:
            return self._message(json.loads(data))
        except (ValueError, RecursionError):
            return self._clean(_text(data)) or "nothing more"

    def _message(self, told: object) -> str:
        inner = told.get("error", told) if isinstance(told, dict) else told
        message = inner.get("message", inner) if isinstance(inner, dict) else inner
        return self._clean(message if isinstance(message, str) else json.dumps(message))

    def _clean(self, text: str) -> str:
        safe = text.replace(self._token, "(token)") if self._token else text
        return " ".join(safe.split())[:300]


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _seconds(retry_after: str | None) -> float:
    """Seconds that a Retry-After header asks for: a number or a date (RFC 9110, 10.2.3); 0 without a readable one."""
    if retry_after is None:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", retry_after.strip()):
        return float(retry_after)
    try:
        then = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max((then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds(), 0.0)
