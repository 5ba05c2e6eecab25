"""How much of the judges' real prompts is the same from the beginning on: `benchmarks.judge_gpu prefix`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.judges.judgements import Pair
from workflow_scripts.judges.prompts import chat_of

REPORTS = [
    ("The heart is normal in size. The lungs are clear. No effusion.", "Small left effusion. No pneumothorax."),
    ("Right lower lobe opacity, as before.", "Normal chest radiograph."),
]
"""Pairs of reports that begin and end with different words."""


def prefix(judge: str, tokenizer: Path | None) -> str:
    """How much of the real prompts of two pairs is the same from the beginning on, and of two pairs of one reference.

    Characters of the messages; with the folder of the judge's tokenizer also tokens.
    """
    (reference, hypothesis), (other_reference, other) = REPORTS
    pairs = [Pair(reference, hypothesis), Pair(other_reference, other), Pair(reference, other)]
    chats = [chat_of(pair, judge, guidelines=False) for pair in pairs]  # type: ignore[arg-type]
    texts: list[Sequence[Any]] = ["\n".join(message["content"] for message in chat) for chat in chats]
    parts = [f"{judge}: {_common(texts)} characters"]
    if tokenizer is not None:
        from transformers import AutoTokenizer

        encode = AutoTokenizer.from_pretrained(tokenizer, local_files_only=True, trust_remote_code=False)
        parts.append(f"{_common([encode(text)['input_ids'] for text in texts])} tokens")
    return ", ".join(parts)


def _common(sequences: list[Sequence[Any]]) -> str:
    first, other, same_reference = sequences
    any_two, of_reference = _same(first, other), _same(first, same_reference)
    share = any_two / len(first)
    return f"{any_two} of {len(first)} ({share:.0%}) in any two pairs, {of_reference} in two of one reference, of"


def _same(first: Sequence[Any], other: Sequence[Any]) -> int:
    return next((n for n, (one, two) in enumerate(zip(first, other, strict=False)) if one != two), len(first))
