"""A judge behind an OpenAI-compatible server: temperature 0, seed 42, JSON mode for CRIMSON, as upstream asks."""

import json
import os
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import ServerJudge
from workflow_scripts.score.judge_prompts import chat_of, checked
from workflow_scripts.score.judgements import Judgement, Pair

SEED = 42


class Server:
    """A chat model behind HTTP. A request that fails gives no reply; the token reaches no log and no identity."""

    def __init__(self, judge: ServerJudge) -> None:
        self._judge = judge
        self._token = None
        if judge.token_variable is not None:
            self._token = os.environ.get(judge.token_variable)
            if not self._token:
                raise Refused(f"the environment variable {judge.token_variable} is not set; the judge needs it")
        self.identity = {
            "backend": "openai",
            "metric": judge.metric,
            "model": judge.model,
            "revision": judge.revision,
            "guidelines": judge.guidelines,
            "max_new_tokens": judge.max_new_tokens,
        }

    def ask(self, pairs: list[Pair], attempt: int) -> list[Judgement | None]:
        """Replies to all pairs; a further try asks with another seed."""
        bodies = [self._body(pair, attempt) for pair in pairs]
        with ThreadPoolExecutor(self._judge.workers) as pool:
            replies = list(pool.map(self._reply, bodies))
        return [checked(reply, self._judge.metric) for reply in replies]

    def _body(self, pair: Pair, attempt: int) -> dict:
        body: dict = {
            "model": self._judge.model,
            "messages": chat_of(pair, self._judge.metric, guidelines=self._judge.guidelines),
            "temperature": 0.0 if attempt == 0 else 0.3,
            "seed": SEED + attempt,
            "max_tokens": self._judge.max_new_tokens,
        }
        if self._judge.metric == "crimson":
            body["response_format"] = {"type": "json_object"}
        return body

    def _reply(self, body: dict) -> str | None:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(
            f"{self._judge.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers
        )
        try:
            with urllib.request.urlopen(request, timeout=self._judge.timeout) as response:
                answer = json.loads(response.read())
            return str(answer["choices"][0]["message"]["content"])
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return None
