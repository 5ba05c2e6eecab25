"""Answers that are decoded together: one that ends makes way for the next prompt, while the others go on."""

from collections import deque
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from workflow_scripts.engines.local.key_values import KeyValues

USUAL = 256
"""New tokens that an answer is thought to have before any has ended; one under way has five eighths on average."""

PRIOR = 8
"""Answers that this guess counts as."""

MARGIN = 64
"""Tokens that every row shall have memory for when another is taken up."""

WORTHWHILE = 1 << 14
"""Prompt tokens for which the rows under way on a GPU wait; fewer, where one place in so many is idle:"""

IDLE_SHARE = 16

FEWEST = 8
"""Rows that a GPU's step is never captured anew for fewer than."""


@dataclass(eq=False)
class Row:
    """An answer under way.

    Args:
        place: among all answers.
        prompt: without the prefix that all share.
        limit: most new tokens.
    """

    place: int
    prompt: list[int]
    limit: int
    tokens: list[int] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Tokens of the prompt and the answer so far."""
        return len(self.prompt) + len(self.tokens)

    @property
    def left(self) -> int:
        """New tokens that may still come."""
        return self.limit - len(self.tokens)

    def add(self, tokens: Sequence[int], stops: Container[int]) -> bool:
        """Go on by these tokens, up to and with one that ends the answer; whether it has ended."""
        for token in tokens[: self.left]:
            self.tokens.append(token)
            if token in stops:
                return True
        return not self.left


class Places:
    """Who is where among rows that are decoded together, who waits, and how long answers are thought to be.

    Args:
        patient: each pass over prompts, and each change of the number of rows, costs: on a GPU.
    """

    def __init__(self, waiting: Sequence[Row], rows: int, *, patient: bool) -> None:
        self.waiting = deque(waiting)
        self.rows: list[Row | None] = [None] * rows
        self._patient = patient
        self._ended = self._tokens = 0

    def __iter__(self) -> Iterator[tuple[int, Row]]:
        """Rows under way, with their places."""
        return ((place, row) for place, row in enumerate(self.rows) if row is not None)

    @property
    def idle(self) -> list[int]:
        """Places without a row."""
        return [place for place, row in enumerate(self.rows) if row is None]

    def standing(self, further: int) -> tuple[list[int], list[int]]:
        """Of each place, which answer is there and how many tokens it has after so many further ones."""
        numbers = [0 if row is None else row.place for row in self.rows]
        return numbers, [0 if row is None else min(len(row.tokens) + further, row.limit - 1) for row in self.rows]

    def admit(self, cache: KeyValues, *, every: bool) -> list[tuple[int, Row]]:
        """Take up rows that wait, as many as there is memory for, if they are worth a pass; with their places.

        Args:
            every: all of them, or none.

        Raises:
            torch.OutOfMemoryError: the memory does not hold one, or all.
        """
        idle = self.idle
        if not idle or not self.waiting:
            return []
        planned = [self.planned(row) for _, row in self]
        alone, number = not planned, 0
        while number < min(len(idle), len(self.waiting)):
            planned.append(self.planned(self.waiting[number]))
            if not (every or (alone and not number) or cache.fits(planned)):
                break
            number += 1
        tokens = sum(self.waiting[one].length for one in range(number))
        worthwhile = tokens >= WORTHWHILE or number * IDLE_SHARE >= len(self.rows) or number == len(self.waiting)
        if self._patient and not alone and not worthwhile:
            return []
        arrived: list[tuple[int, Row]] = []
        for place in idle[:number]:
            row = self.waiting[0]
            if not cache.reserve(place, row.length):
                if every or (alone and not arrived):
                    raise torch.OutOfMemoryError("the memory does not hold a row's prompt")
                break
            self.rows[place] = self.waiting.popleft()
            arrived.append((place, row))
        return arrived

    def planned(self, row: Row) -> int:
        """Tokens that memory is planned for, of a row under way or waiting."""
        usual = (PRIOR * USUAL + self._tokens) // (PRIOR + self._ended)  # as if any token were as likely the last
        return row.length + min(row.left, max(usual - len(row.tokens), MARGIN))

    def add(self, steps: Sequence[Sequence[int]], stops: Container[int]) -> list[Row]:
        """Go on by the tokens of each place; rows that have ended leave, and are returned."""
        ended = []
        for place, row in self:
            before = len(row.tokens)
            if row.add(steps[place], stops):
                ended.append(row)
                self.rows[place] = None
            self._tokens += len(row.tokens) - before
        self._ended += len(ended)
        return ended

    def reserve(self, cache: KeyValues, steps: int, *, every: bool) -> None:
        """Have memory for so many tokens more of each row; the youngest rows go back to those that wait for it.

        Args:
            every: none may go back.

        Raises:
            torch.OutOfMemoryError: the memory does not hold one row, or all.
        """
        for place, row in list(self):
            while self.rows[place] is row and not cache.reserve(place, row.length + steps):
                _, youngest = min((len(other.tokens), number) for number, other in self)
                back = self.rows[youngest]
                if every or back is None or len(self.idle) + 1 == len(self.rows):
                    raise torch.OutOfMemoryError("the memory does not hold the rows of a batch")
                self.rows[youngest] = None
                self.waiting.appendleft(back)
                cache.release([youngest])

    def shall_close_up(self) -> bool:
        """Whether the rows that are left go on alone: a GPU then captures a step anew, a CPU copies what they hold."""
        left = [row.left for _, row in self]
        if self.waiting or not left:
            return False
        if not self._patient:
            return len(left) * 4 <= len(self.rows) * 3
        return len(left) * 2 <= len(self.rows) > FEWEST and max(left) >= MARGIN

    def close_up(self) -> list[int]:
        """Go on with the places that have a row alone; which they were."""
        places = [place for place, _ in self]
        self.rows = [self.rows[place] for place in places]
        return places
