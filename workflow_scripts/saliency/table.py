"""Step: what explanation maps measure over rows, with intervals, as a table and for the page."""

import io
from collections import defaultdict
from collections.abc import Mapping, Sequence
from csv import writer as writer_of
from pathlib import Path

import numpy as np
from scipy.stats import norm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import write_text
from workflow_scripts.core.saliency.grids import Numbers
from workflow_scripts.core.saliency.rows import SaliencyFact, SaliencyValue
from workflow_scripts.core.tables import read_rows, write_rows

RESAMPLES, LEVEL = 2000, 0.95
SHARES = ("pointing_game", "changed_box", "changed_top")
"""Measures that are 0 or 1 on most rows: their interval is Wilson's, since a bootstrap of equal values has no width."""
AGAINST_RANDOM = {"changed_box": "changed_box_random", "changed_top": "changed_top_random"}
"""Measures beside which the same at random regions stands; their difference is a line of its own."""

Key = tuple[str, str, str]
"""Method, weights, measure."""


def write_table(*, names: list[str], facts: list[Path], table: Path, csv: Path) -> None:
    """Summarise the measures of each entry of `saliency` on one split.

    Args:
        names: of the entries.
        facts: tables of measures of rows, one an entry.
        table: Parquet to write, for the page.
        csv: the same for readers: one line a measure.
    """
    tables = zip(names, facts, strict=True)
    values = [value for name, path in tables for value in values_of(name, read_rows(path, SaliencyFact))]
    write_rows(table, values, SaliencyValue)
    write_text(csv, _csv_text(values))


def _csv_text(values: Sequence[SaliencyValue]) -> str:
    # Names and measures are this project's words, and names of entries hold letters, digits, _ and - alone.
    stream = io.StringIO()
    columns = list(SaliencyValue.__dataclass_fields__)
    writer = writer_of(stream, lineterminator="\n")
    writer.writerow(columns)
    for value in values:
        cells = (getattr(value, column) for column in columns)
        writer.writerow(f"{cell:.6g}" if isinstance(cell, float) else cell for cell in cells)
    return stream.getvalue()


def values_of(name: str, facts: Sequence[SaliencyFact]) -> list[SaliencyValue]:
    """The mean of each measure over rows, with its interval over cases."""
    by_key: dict[Key, dict[str, SaliencyFact]] = defaultdict(dict)
    for fact in facts:
        by_key[fact.method, fact.weights, fact.measure][fact.uid] = fact
    values = [_value(name, key, of_rows) for key, of_rows in by_key.items()]
    for (method, weights, measure), of_rows in list(by_key.items()):
        if measure in AGAINST_RANDOM:
            elsewhere = by_key[method, weights, AGAINST_RANDOM[measure]]
            differences = {uid: _minus(fact, elsewhere[uid]) for uid, fact in of_rows.items()}
            values.append(_value(name, (method, weights, f"{measure}_difference"), differences))
    return values


def _minus(one: SaliencyFact, other: SaliencyFact) -> SaliencyFact:
    return SaliencyFact(one.uid, one.case_id, one.system, one.method, one.weights, one.measure, one.value - other.value)


def _value(name: str, key: Key, of_rows: Mapping[str, SaliencyFact]) -> SaliencyValue:
    facts = list(of_rows.values())
    numbers = np.array([fact.value for fact in facts])
    cases = list(dict.fromkeys(fact.case_id for fact in facts))
    places = {case: place for place, case in enumerate(cases)}
    case_of_row = np.array([places[fact.case_id] for fact in facts])
    mean = float(numbers.mean())
    if key[2] in SHARES:
        low, high = wilson(mean, len(cases))
    else:
        low, high = bootstrap(numbers, case_of_row, len(cases))
    return SaliencyValue(name, facts[0].system, *key, mean, low, high, len(facts), len(cases))


def wilson(share: float, count: int) -> tuple[float, float]:
    """Wilson's interval of a share of `count` trials (Wilson, 1927); rows of one case count as one trial."""
    z = float(norm.ppf((1 + LEVEL) / 2))
    middle = share + z**2 / (2 * count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, float((middle - half) / (1 + z**2 / count))), min(1.0, float((middle + half) / (1 + z**2 / count)))


def bootstrap(numbers: Numbers, case_of_row: np.ndarray, cases: int) -> tuple[float, float]:
    """Percentile interval of the mean over rows, cases drawn with replacement; the same at every run."""
    rng = np.random.default_rng(0)
    sums, counts = (np.bincount(case_of_row, weights, cases) for weights in (numbers, np.ones(len(numbers))))
    drawn = rng.integers(cases, size=(RESAMPLES, cases))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


if __name__ == "__main__":
    run_step(write_table)
