"""Tokens that a grammar allows next: it bounds the answers of a batch while they are generated.

llguidance walks the grammars on the CPU; its packed masks are copied to the logits' device once a step and applied
there.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from llguidance import LLExecutor, LLMatcher, LLTokenizer
from llguidance.hf import from_tokenizer
from llguidance.numpy import consume_token_par
from transformers import PreTrainedTokenizerFast

from workflow_scripts.core.command import Refused


@lru_cache(maxsize=2)
def _vocabulary(tokenizer: PreTrainedTokenizerFast, stops: frozenset[int]) -> LLTokenizer:
    """The tokenizer as llguidance sees it: a second or two for 262,144 tokens, once a process."""
    return from_tokenizer(tokenizer, eos_token=sorted(stops))


@lru_cache(maxsize=4096)
def _compiled(vocabulary: LLTokenizer, grammar: str) -> LLMatcher:
    """The matcher of a grammar at its start, for rows to copy; its first mask is computed, and copied with it.

    Raises:
        Refused: llguidance does not accept the grammar.
    """
    matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_lark(grammar))
    _check(matcher)
    matcher.compute_bitmask()
    return matcher


@lru_cache(maxsize=2)
def _executor(threads: int) -> LLExecutor:
    return LLExecutor(num_threads=threads)


def _check(matcher: LLMatcher) -> None:
    if matcher.is_error():
        error = " ".join(matcher.get_error().split())
        raise Refused(f"an answer's grammar cannot be followed ({error}); set `constrained: false` for this system")


class Constraint:
    """The grammars of a batch, each at the place where its row's answer is.

    Call `mask` before a token is chosen and `accept` after; `keep` when rows leave the batch.

    Args:
        tokenizer: the model's.
        grammars: Lark text in llguidance's dialect, one a row; None leaves a row free.
        stops: tokens that end an answer. They are allowed where a grammar may end, and alone where it must.

    Raises:
        Refused: llguidance does not accept a grammar.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, grammars: Sequence[str | None], stops: set[int]) -> None:
        self._vocabulary = _vocabulary(tokenizer, frozenset(stops))
        self._stops = frozenset(stops)
        # None: a row that nothing bounds, or that has ended.
        self._rows = [None if text is None else _compiled(self._vocabulary, text).deep_copy() for text in grammars]
        self._executor = _executor(torch.get_num_threads())
        self._packed: torch.Tensor | None = None

    def mask(self, logits: torch.Tensor) -> torch.Tensor:
        """Set the logits of forbidden tokens to minus infinity, in place; free and ended rows stay as they are.

        Args:
            logits: (rows, vocabulary) on any device. Entries beyond the tokenizer's are forbidden.

        Raises:
            Refused: a grammar became too complex to follow.
        """
        active = [(row, place) for place, row in enumerate(self._rows) if row is not None]
        if not active:
            return logits
        packed = self._allocated(logits.is_cuda)
        if len(active) < len(self._rows):
            packed.fill_(-1)  # every bit set: a free row's tokens are all allowed
        self._executor.unsafe_compute_mask_ptr(active, packed.data_ptr(), packed.shape[1] * 4, packed.shape[0])
        for row, _ in active:
            _check(row)
        octets = packed.view(torch.uint8).to(logits.device, non_blocking=True)
        bits = torch.tensor([1 << bit for bit in range(8)], dtype=torch.uint8, device=logits.device)
        known = min(self._vocabulary.vocab_size, logits.shape[1])
        forbidden = (octets[:, :, None] & bits == 0).flatten(1)[:, :known]
        logits[:, :known].masked_fill_(forbidden, float("-inf"))
        logits[[place for _, place in active], known:] = float("-inf")
        return logits

    def accept(self, tokens: Sequence[int]) -> None:
        """Go on by one token a row, each one that `mask` allowed; a stop ends its row.

        Raises:
            ValueError: a token that was forbidden.
        """
        continued = []
        for place, (row, token) in enumerate(zip(self._rows, tokens, strict=True)):
            if row is None:
                continue
            if token in self._stops and row.is_accepting():
                self._rows[place] = None
            else:
                continued.append((row, token))
        if continued and not all(consume_token_par(self._executor, continued)):
            wrong = next(row for row, _ in continued if row.is_error())
            raise ValueError(f"a token was accepted that its grammar forbids: {wrong.get_error()}")

    def keep(self, places: Sequence[int]) -> None:
        """Go on with these rows of the batch alone, in this order."""
        self._rows = [self._rows[place] for place in places]

    def _allocated(self, pinned: bool) -> torch.Tensor:
        """Memory for one bit a token, (rows, words of 32), int32 on the CPU; the same in every step.

        It is free again when `mask` is called: the tokens accepted in between came from the logits.
        """
        if self._packed is None:
            words = (self._vocabulary.vocab_size + 31) // 32
            self._packed = torch.empty(len(self._rows), words, dtype=torch.int32, pin_memory=pinned)
        return self._packed[: len(self._rows)]
