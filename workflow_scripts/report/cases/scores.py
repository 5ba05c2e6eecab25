"""How right each row of each system is by its task's own metric, and the class that its colour follows."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Outcome, RowFact
from workflow_scripts.core.tables import read_table

Key = tuple[str, str]
"""A uid and a system."""

Level = Literal["right", "partly", "wrong", "unscored"]
LEVELS: tuple[Level, ...] = ("right", "partly", "wrong", "unscored")

ERROR = "error strict"
"""The row fact that holds the absolute error of a number, in its own unit; zero where none could be read."""
READ = "read strict"
"""The row fact that says whether a number could be read."""


def level_of(score: float | None, missing: bool) -> Level:
    """Right at a row score of 1, wrong at 0, partly between; a missing answer without a score is wrong.

    Args:
        score: the row's score by its task's own metric, from 0 to 1; None where it is not known.
        missing: the system gave no answer.
    """
    if score is None:
        return "wrong" if missing else "unscored"
    return "right" if score >= 1 else "partly" if score > 0 else "wrong"


class RowScores:
    """Scores and absolute errors by uid and system."""

    def __init__(self, facts: Mapping[str, Mapping[Key, float]]) -> None:
        self._scores = facts[ROW_SCORE]
        self._errors = facts[ERROR]
        self._read = facts[READ]

    def score(self, key: Key) -> float | None:
        """From 0 to 1; None where it is not known."""
        return self._scores.get(key)

    def level(self, outcome: Outcome) -> Level:
        """The class of a row's answer."""
        return level_of(self.score((outcome.uid, outcome.system)), outcome.text is None)

    def change(self, uid: str, first: str, second: str) -> Literal["improved", "harmed", "unchanged"] | None:
        """How the second system did on a row: of equal scores the smaller error counts; None without two scores."""
        one, other = self.score((uid, first)), self.score((uid, second))
        if one is None or other is None:
            return None
        gain = other - one
        errors = self.error((uid, first)), self.error((uid, second))
        if gain == 0 and errors[0] is not None and errors[1] is not None:
            gain = errors[0] - errors[1]
        return "improved" if gain > 0 else "harmed" if gain < 0 else "unchanged"

    def error(self, key: Key) -> float | None:
        """The absolute error of a number that was read; None for other tasks and for unreadable answers."""
        return self._errors.get(key) if self._read.get(key) else None


def read_row_scores(path: Path) -> RowScores:
    """The scores in a table of `RowFact`."""
    return RowScores(_values_of(read_table(path, RowFact), (ROW_SCORE, ERROR, READ)))


def _values_of(table: pa.Table, names: Collection[str]) -> dict[str, dict[Key, float]]:
    """The named facts by uid and system."""
    values: dict[str, dict[Key, float]] = {}
    for name in names:
        rows = table.filter(pc.equal(table["fact"], name))
        columns = (rows[column].to_pylist() for column in ("uid", "system", "value"))
        values[name] = {(uid, system): value for uid, system, value in zip(*columns, strict=True)}
    return values
