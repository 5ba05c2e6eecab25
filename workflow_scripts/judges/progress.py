"""Says while a judge works how many pairs are done, how many replies were invalid and why, and the time left."""

import time
from collections import Counter
from collections.abc import Callable

PAUSE = 15.0
"""Seconds between two lines of progress."""

SHOWN = 20
"""Invalid replies that are named, each in a line; the rest is counted."""


class Progress:
    """Lines on standard output. The time left assumes that the pairs to come take as long as those that are done.

    A judge may give the judgements of a whole batch at once. So what is said is the pairs before the one that is being
    counted, with the time of the last of them: by the first of a batch, a pair would take as long as a batch.
    """

    def __init__(self, judge: str, total: int, stored: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Say how many pairs there are and how many are stored.

        Args:
            judge: its name in the configuration.
            total: pairs.
            stored: those with a stored judgement, which are not asked again.
        """
        self._judge, self._total, self._clock = judge, total - stored, clock
        self._start = self._said = self._latest = clock()
        self._statuses: Counter[str] = Counter()
        self._invalid = 0
        self._say(f"{total} distinct pairs, {stored} of them stored, {self._total} to ask")

    def reply(self, pair: str, attempt: int, reason: str | None) -> None:
        """Name an invalid reply.

        Args:
            pair: key of the pair.
            attempt: from 0.
            reason: why the reply is invalid.
        """
        self._invalid += 1
        if self._invalid <= SHOWN:
            self._say(f"pair {pair[:12]}, try {attempt + 1}: invalid: {reason}")
        elif self._invalid == SHOWN + 1:
            self._say("further invalid replies are counted and not named")

    def done(self, status: str) -> None:
        """Count a pair that will not be asked again in this run; say so far from time to time, and after the last."""
        now = self._clock()
        if now - self._said >= PAUSE:
            self._said = now
            self._say_so_far(now)
        self._statuses[status] += 1
        self._latest = now
        if self._statuses.total() == self._total:
            self._say_so_far(now)

    def _say_so_far(self, now: float) -> None:
        """Say what is done; nothing before the first pair is."""
        count = self._statuses.total()
        if not count:
            return
        seconds = max(self._latest - self._start, 1e-9)
        left = max((self._total - count) * seconds / count - (now - self._latest), 0.0)
        counts = ", ".join(f"{number} {name}" for name, number in sorted(self._statuses.items()))
        self._say(
            f"{count} of {self._total} pairs ({counts}; {self._invalid} invalid replies in all), "
            f"{count / seconds:.2f} pairs/s, {duration(left)} left"
        )

    def _say(self, text: str) -> None:
        print(f"judge {self._judge}: {text}", flush=True)


def duration(seconds: float) -> str:
    """`3 h 07 min`, `12 min`, or `40 s`."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02} min"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
