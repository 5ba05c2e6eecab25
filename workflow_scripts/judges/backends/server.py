"""A judge behind an OpenAI-compatible server: temperature 0, seed 42, as CRIMSON asks; JSON mode, but not for GREEN."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from workflow_scripts.core.config.judges import ServerJudge
from workflow_scripts.engines.server.client import OpenAIServer, ServerFault
from workflow_scripts.judges.judgements import JudgeDied, Judgement, Pair
from workflow_scripts.judges.prompts import chat_of, checked, prompt_hash

SEED = 42
TEMPERATURE = 0.3
"""Of a further try; the first one is greedy."""

SILENCE = 64
"""Requests in a row without a reply after which the server is asked no more."""

RETRIES = 3
"""Further tries of a request that failed for a passing cause. A pair without a reply is asked for again besides."""


class Server:
    """A chat model behind HTTP. A request that fails for good gives no reply; the token reaches no log and no identity.

    Raises:
        Refused: the token's environment variable is not set.
    """

    def __init__(self, judge: ServerJudge) -> None:
        self._judge = judge
        self._server = OpenAIServer(judge.url, judge.token_variable, judge.timeout, RETRIES, judge.workers)
        self._silent: str | None = None
        self.identity = {
            "backend": "openai",
            "metric": judge.metric,
            "model": judge.model,
            "revision": judge.revision,
            "prompt": prompt_hash(judge.metric, guidelines=judge.guidelines),
            "max_new_tokens": judge.max_new_tokens,
            "temperature": TEMPERATURE,
            "seed": SEED,
        }

    def ask(self, pairs: list[Pair], attempt: int) -> Iterator[tuple[Pair, Judgement | None]]:
        """Each pair with its judgement, as replies come; a further try asks with another seed.

        Raises:
            JudgeDied: `SILENCE` requests in a row got no reply, or no pair of the call before did.
        """
        if self._silent is not None:
            raise JudgeDied(self._silent)
        faults: set[str] = set()
        silence = replies = 0
        pool = ThreadPoolExecutor(self._judge.workers)
        try:
            requests = {pool.submit(self._reply, self._body(pair, attempt)): pair for pair in pairs}
            for future in as_completed(requests):
                reply = future.result()
                if isinstance(reply, ServerFault):
                    silence += 1
                    if str(reply) not in faults:
                        faults.add(str(reply))
                        print(f"no reply: {reply}", file=sys.stderr, flush=True)
                    if silence == SILENCE:
                        self._silent = str(reply)
                        raise JudgeDied(self._silent)
                    yield requests[future], None
                else:
                    silence, replies = 0, replies + 1
                    yield requests[future], checked(reply, self._judge.metric, requests[future])
        finally:
            pool.shutdown(cancel_futures=True)
        if faults and not replies:
            self._silent = min(faults)

    def _body(self, pair: Pair, attempt: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._judge.model,
            "messages": chat_of(pair, self._judge.metric, guidelines=self._judge.guidelines),
            "temperature": TEMPERATURE if attempt else 0.0,
            "seed": SEED + attempt,
            "max_tokens": self._judge.max_new_tokens,
        }
        if self._judge.metric in ("crimson", "rubric"):
            body["response_format"] = {"type": "json_object"}
        return body

    def _reply(self, body: dict[str, Any]) -> str | ServerFault:
        try:
            content: str | None = self._server.complete(body)["choices"][0]["message"]["content"]
            return content or ""
        except ServerFault as fault:
            return fault
