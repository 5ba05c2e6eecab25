"""The rule-based judge behind the same interface as the model judges."""

import json
from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.judges.judgements import Judgement, Pair
from workflow_scripts.judges.rule_based import judge, lexicon


class Rules:
    """The rule-based judge. Its identity is the content of its table and rules."""

    def __init__(self, table: Path = lexicon.TABLE) -> None:
        sources = [table, *sorted(lexicon.TABLE.parent.glob("*.py"))]
        self.identity = {"backend": "rule_based", "sources": {path.name: sha256_of_file(path) for path in sources}}
        self._lexicon = lexicon.load_lexicon(table)

    def ask(self, pairs: list[Pair], attempt: int) -> Iterator[tuple[Pair, Judgement | None]]:
        """Each pair with its judgement; the judge is deterministic, so that `attempt` changes nothing."""
        for pair in pairs:
            yield pair, self._judgement(pair)

    def _judgement(self, pair: Pair) -> Judgement:
        try:
            reply = judge.judge_pair(pair.reference, pair.hypothesis, json.loads(pair.context), self._lexicon)
        except judge.Abstains as reason:
            return Judgement("abstained", "", str(reason))
        return Judgement("valid", canonical_json(reply))
