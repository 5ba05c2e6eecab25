"""A judge of recorded replies: for tests, for replies from elsewhere, and to score again without a model."""

import json
from collections.abc import Iterator

from workflow_scripts.core.config.judges import RecordedJudge
from workflow_scripts.core.files import BadFile, sha256_of_file
from workflow_scripts.judges.judgements import Judgement, Pair
from workflow_scripts.judges.prompts import checked


class RecordedReplies:
    """Replies by reference and hypothesis. Where a pair has several, each further try takes the next."""

    def __init__(self, judge: RecordedJudge) -> None:
        path = judge.file
        self._metric = judge.metric
        self._replies: dict[tuple[str, str], list[str]] = {}
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise BadFile(f"{path} is missing; it should hold the recorded replies") from None
        for number, line in enumerate(text.split("\n"), start=1):  # JSON strings may hold other line separators
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                key = (entry["reference"].strip(), entry["hypothesis"].strip())
                self._replies.setdefault(key, []).append(str(entry["reply"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                raise BadFile(f"{path}, line {number}: expected reference, hypothesis and reply") from None
        self.identity = {"backend": "recorded", "metric": judge.metric, "sha256": sha256_of_file(path)}

    def ask(self, pairs: list[Pair], attempt: int) -> Iterator[tuple[Pair, Judgement | None]]:
        """Each pair with its recorded reply, None where there is none."""
        for pair in pairs:
            yield pair, checked(self._reply(pair, attempt), self._metric)

    def _reply(self, pair: Pair, attempt: int) -> str | None:
        replies = self._replies.get((pair.reference, pair.hypothesis), [])
        return replies[min(attempt, len(replies) - 1)] if replies else None
