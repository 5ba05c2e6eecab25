"""A judge of recorded replies: for tests, for replies from elsewhere, and to score again without a model.

A line has a reference, a hypothesis and a reply; where one pair is graded more than once, `question` or `rubric` (as a
row states it) say which of its gradings the reply is.
"""

import json
from collections.abc import Iterator

from workflow_scripts.core.config.judges import RecordedJudge
from workflow_scripts.core.files import BadFile, sha256_of_file
from workflow_scripts.core.rubrics.stated import BadRubric
from workflow_scripts.judges.judgements import Judgement, Pair
from workflow_scripts.judges.prompts import checked
from workflow_scripts.judges.rubrics.rubric import resolved


class RecordedReplies:
    """Replies by reference and hypothesis. Where a pair has several, each further try takes the next."""

    def __init__(self, judge: RecordedJudge) -> None:
        path = judge.file
        self._metric = judge.metric
        self._replies: dict[tuple[str, str], list[tuple[dict[str, str], str]]] = {}
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
                which = {name: str(entry[name]).strip() for name in ("question",) if name in entry}
                which |= {"rubric": resolved(entry["rubric"]).text()} if "rubric" in entry else {}
                self._replies.setdefault(key, []).append((which, str(entry["reply"])))
            except BadRubric as fault:
                raise BadFile(f"{path}, line {number}: rubric: {fault}") from None
            except (ValueError, KeyError, TypeError, AttributeError):
                raise BadFile(f"{path}, line {number}: expected reference, hypothesis and reply") from None
        self.identity = {"backend": "recorded", "metric": judge.metric, "sha256": sha256_of_file(path)}

    def ask(self, pairs: list[Pair], attempt: int) -> Iterator[tuple[Pair, Judgement | None]]:
        """Each pair with its recorded reply, None where there is none."""
        for pair in pairs:
            yield pair, checked(self._reply(pair, attempt), self._metric, pair)

    def _reply(self, pair: Pair, attempt: int) -> str | None:
        context = json.loads(pair.context).items()
        listed = self._replies.get((pair.reference, pair.hypothesis), [])
        replies = [reply for which, reply in listed if which.items() <= context]
        return replies[min(attempt, len(replies) - 1)] if replies else None
