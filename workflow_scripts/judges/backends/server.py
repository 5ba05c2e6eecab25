"""A judge behind an OpenAI-compatible server: temperature 0, seed 42, JSON mode for CRIMSON, as upstream asks."""

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workflow_scripts.core.config.judges import ServerJudge
from workflow_scripts.engines.server.client import OpenAIServer, ServerFault
from workflow_scripts.judges.judgements import JudgeDied, Judgement, Pair
from workflow_scripts.judges.prompts import chat_of, checked, prompt_hash

SEED = 42
TEMPERATURE = 0.3
"""Of a further try; the first one is greedy."""

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

    def ask(self, pairs: list[Pair], attempt: int) -> list[Judgement | None]:
        """Replies to all pairs; a further try asks with another seed.

        Raises:
            JudgeDied: no pair of the call before got a reply.
        """
        if self._silent is not None:
            raise JudgeDied(self._silent)
        bodies = [self._body(pair, attempt) for pair in pairs]
        with ThreadPoolExecutor(self._judge.workers) as pool:
            replies = list(pool.map(self._reply, bodies))
        faults = dict.fromkeys(str(reply) for reply in replies if isinstance(reply, ServerFault))
        for fault in faults:
            print(f"no reply: {fault}", file=sys.stderr, flush=True)
        if replies and all(isinstance(reply, ServerFault) for reply in replies):
            self._silent = next(iter(faults))
        return [None if isinstance(reply, ServerFault) else checked(reply, self._judge.metric) for reply in replies]

    def _body(self, pair: Pair, attempt: int) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._judge.model,
            "messages": chat_of(pair, self._judge.metric, guidelines=self._judge.guidelines),
            "temperature": TEMPERATURE if attempt else 0.0,
            "seed": SEED + attempt,
            "max_tokens": self._judge.max_new_tokens,
        }
        if self._judge.metric == "crimson":
            body["response_format"] = {"type": "json_object"}
        return body

    def _reply(self, body: dict[str, Any]) -> str | ServerFault:
        try:
            content: str | None = self._server.complete(body)["choices"][0]["message"]["content"]
            return content or ""
        except ServerFault as fault:
            return fault
