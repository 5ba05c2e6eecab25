"""Requests to an OpenAI-compatible server: what passes is tried again with growing pauses, what stays is a sentence.

Engines and judges use this client. The token is read from the environment and reaches no message.
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
from typing import Any, NoReturn, TypeVar

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from workflow_scripts.core.command import Refused
from workflow_scripts.engines.server.bodies import BadBody, clean, error_message, read_body
from workflow_scripts.engines.server.proxies import proxy_note, unusable_proxy

PAUSE = 0.5
"""Seconds before the first further try, doubled for each one after it, times a random factor from 0.5 to 1.5."""

LONGEST_PAUSE = 60.0
"""The most that doubling leads to, in seconds."""

LONGEST_WAIT = 600.0
"""The longest that a server's Retry-After is honoured, in seconds."""

PASSING = (408, 429, 500, 502, 503, 504)
"""Statuses that a further try may mend."""

PROXIED = (403, 407, 502, 503, 504)
"""Statuses that proxies answer with in a server's place."""

REMEDIES = {
    401: "set `token_variable` to the environment variable that holds a valid token",
    403: "use a token that may call this model",
    404: "check the `url`, which ends in /v1, and the model's name there",
    407: "give the proxy's user and password in HTTP_PROXY or HTTPS_PROXY, or list the server's host in NO_PROXY",
    413: "let the server take larger requests: images travel in them",
}

INSTEAD = ("refusal", "tool_calls", "function_call", "reasoning_content", "reasoning")
"""Fields of a message that may stand where its text should."""

T = TypeVar("T")


class ServerFault(Refused):
    """A request failed for good; the message names the server, its own words and the remedy."""


class _Passing(Exception):
    """A try failed in a way that a further one may mend; `wait` is the server's Retry-After in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Absent(_Passing):
    """Nobody listens at the address."""


class OpenAIServer:
    """A server's address and how patiently it is asked; threads may share one. Used in a `with` block.

    Args:
        url: address up to and with `/v1`.
        token_variable: environment variable that holds the token; None sends none.
        timeout: seconds until a try is given up.
        retries: further tries of a request.
        workers: requests under way at a time.

    Raises:
        Refused: the environment variable is not set or holds no token, the address is not valid, or the environment
            names a proxy that cannot be used.
    """

    def __init__(self, url: str, token_variable: str | None, timeout: float, retries: int, workers: int) -> None:
        self.url = url.rstrip("/")
        try:
            httpx2.URL(self.url)
        except httpx2.InvalidURL as error:
            raise Refused(f"{self.url} is not a valid address of a server ({error}); correct `url`") from None
        self._timeout = timeout
        self._retries = retries
        self._token = os.environ.get(token_variable, "").strip() if token_variable else ""
        if token_variable and not self._token:
            raise Refused(f"the environment variable {token_variable} is not set; {self.url} needs its token")
        if not re.fullmatch(r"[!-~]*", self._token):
            raise Refused(f"the environment variable {token_variable} holds more than a token: a space or a line break")
        self._stopped = threading.Event()
        self._listed: dict[str, dict[str, Any]] | None = None
        headers = {"Accept-Encoding": "identity"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            self._client = httpx2.Client(
                headers=headers,
                timeout=httpx2.Timeout(timeout, connect=min(timeout, 30.0), pool=None),
                limits=httpx2.Limits(max_connections=workers, max_keepalive_connections=workers),
            )
        except (ImportError, ValueError, httpx2.InvalidURL):
            if (fault := unusable_proxy()) is None:
                raise
            raise Refused(fault) from None

    def __enter__(self) -> "OpenAIServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def stop(self) -> None:
        """Let tries under way end, and begin none again."""
        self._stopped.set()

    def models(self) -> dict[str, dict[str, Any]]:
        """What the server lists at `/models`, by name; where nobody listens, that is said at once.

        Raises:
            ServerFault: it does not answer, or with something else.
        """
        return self._request("GET", "/models", None, self._models, patient=False)

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The whole answer to a chat completion: its first choice holds a message with a text or null.

        Null stands for an empty answer, and never for a refusal, a tool call or reasoning without an answer.

        Raises:
            ServerFault: the request failed for good, another model answered, or something else than a text came.
        """
        answer = self._request("POST", "/chat/completions", json.dumps(body).encode(), self._completion)
        self._check_model(body["model"], answer.get("model"))
        choice = answer["choices"][0]
        message = choice["message"]
        if not message.get("content"):
            for name in INSTEAD:
                if message.get(name):
                    raise ServerFault(self._instead_of_text(name, message[name], choice.get("finish_reason")))
        return answer

    def _request(
        self, method: str, path: str, content: bytes | None, read: Callable[[object], T], patient: bool = True
    ) -> T:
        """What `read` makes of the answer, after as many tries as it needs and may have."""

        def give_up(state: RetryCallState) -> NoReturn:
            tries = "once" if state.attempt_number == 1 else f"{state.attempt_number} times"
            fault = state.outcome.exception() if state.outcome else None
            raise ServerFault(
                f"{self.url}{path} was asked {tries} and, the last time, {fault}; run again when it is well"
            )

        tries = Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, _Passing) and (patient or not isinstance(error, _Absent))
            ),
            stop=stop_after_attempt(self._retries + 1),
            wait=_pause,
            sleep=self._sleep,
            retry_error_callback=give_up,
        )
        try:
            return tries(lambda: read(self._once(method, path, content)))
        except _Absent as error:
            proxy = proxy_note(self.url, {})
            raise ServerFault(f"nobody answers at {self.url} ({error}){proxy}; start it, or correct `url`") from None

    def _sleep(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise ServerFault(f"{self.url} is not asked again: another request failed for good")

    def _once(self, method: str, path: str, content: bytes | None) -> object:
        """The JSON of one try's answer."""
        deadline = time.monotonic() + self._timeout
        headers = {"Content-Type": "application/json"} if content else {}
        try:
            with self._client.stream(method, self.url + path, content=content, headers=headers) as response:
                data = read_body(response, deadline)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _Absent(self._clean(str(error)) or type(error).__name__) from None
        except httpx2.TimeoutException:
            raise _Passing(f"gave no answer within {self._timeout:g} s") from None
        except TimeoutError:
            raise _Passing(f"gave no whole answer within {self._timeout:g} s") from None
        except httpx2.ProxyError as error:
            raise _Passing(f"was not reached: a proxy answered ({self._clean(str(error))})") from None
        except httpx2.HTTPError as error:
            raise _Passing(f"dropped the connection ({self._clean(str(error)) or type(error).__name__})") from None
        except BadBody as fault:
            raise ServerFault(f"{self.url}{path} {fault}") from None
        status = response.status_code
        proxy = proxy_note(self.url, response.headers, data) if status in PROXIED else ""
        if status in PASSING:
            wait = _seconds(response.headers.get("Retry-After"))
            raise _Passing(f"answered {status}: {self._clean(error_message(data))}{proxy}", wait)
        if status != 200:
            remedy = REMEDIES.get(status, "correct what the server names")
            raise ServerFault(
                f"{self.url}{path} answered {status}: {self._clean(error_message(data))}{proxy}; {remedy}"
            )
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise _Passing(f"answered with something that is not valid JSON: {self._clean(_text(data))}") from None

    def _models(self, answer: object) -> dict[str, dict[str, Any]]:
        listed = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(listed, list) or not all(
            isinstance(m, dict) and isinstance(m.get("id"), str) for m in listed
        ):
            raise _Passing("answered with JSON that is not a list of models")
        return {str(entry["id"]): entry for entry in listed}

    def _completion(self, answer: object) -> dict[str, Any]:
        choices = answer.get("choices") if isinstance(answer, dict) else None
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if isinstance(message, dict) and any(message.get(name) for name in INSTEAD):
            message.setdefault("content", None)
        if isinstance(message, dict) and "content" in message:
            message["content"] = _joined(message["content"])
        if (
            not isinstance(answer, dict)
            or not isinstance(choice, dict)
            or not isinstance(message, dict)
            or not isinstance(message.get("content", 0), str | None)
        ):
            shown = self._clean(error_message(json.dumps(answer).encode()))
            raise _Passing(f"answered with JSON that is not a chat completion: {shown}")
        try:
            (message["content"] or "").encode()
        except UnicodeEncodeError:
            raise _Passing("answered with a text that is not valid Unicode") from None
        if choice.get("finish_reason") in ("abort", "error"):
            raise _Passing(f"broke the answer off (finish_reason {choice['finish_reason']!r})")
        return answer

    def _check_model(self, name: str, answering: object) -> None:
        """Refuse an answer of another model; a server may name the model by its root, or by another name of that root.

        Servers that do not say which model answered are believed.
        """
        if not isinstance(answering, str) or answering == name:
            return
        if self._listed is None:
            self._listed = self.models()
        root = self._listed.get(name, {}).get("root")
        if root is None or root not in (answering, self._listed.get(answering, {}).get("root")):
            raise ServerFault(
                f"{self.url} was asked for {name!r} and answered as {self._clean(answering)!r}: name the model as the "
                "server does, or start it with this one"
            )

    def _instead_of_text(self, name: str, value: object, finish: object) -> str:
        shown = self._clean(value if isinstance(value, str) else json.dumps(value))
        if name in ("reasoning_content", "reasoning"):
            remedy = "raise `max_new_tokens`, or start the server without reasoning"
        else:
            remedy = "start the server so that it answers in text"
        return f"{self.url} gave `{name}` and no answer (finish_reason {finish!r}): {shown}; {remedy}"

    def _clean(self, text: str) -> str:
        """A line of at most 300 characters without the token."""
        return clean(text.replace(self._token, "(token)") if self._token else text)


def _pause(state: RetryCallState) -> float:
    """Seconds until the next try: doubled each time, with jitter, and at least what the server asks for."""
    fault = state.outcome.exception() if state.outcome else None
    wait = fault.wait if isinstance(fault, _Passing) else 0.0
    grown = min(PAUSE * 2 ** (state.attempt_number - 1), LONGEST_PAUSE) * random.uniform(0.5, 1.5)
    return max(min(wait, LONGEST_WAIT), grown)


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _joined(content: object) -> object:
    """A content in parts that are all texts as one text; anything else as it is."""
    if not isinstance(content, list):
        return content
    texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "".join(texts) if len(texts) == len(content) else content


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
