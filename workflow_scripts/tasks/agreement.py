"""Counts of what answers and references have in common: of one class a row, and of sets of typed values a row."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from workflow_scripts.core.metrics import Note, Reading, Sums, ratio

MOST_TYPES = 60
"""Types of values that have metrics of their own; of more, none has."""


def one_hot(places: np.ndarray, classes: int) -> np.ndarray:
    """[rows × classes] with a one at each row's place; a place of -1 is no class."""
    return np.asarray(places[:, None] == np.arange(classes)[None, :], dtype=float)


def class_facts(
    references: Sequence[str], named: Mapping[Reading, Sequence[str | None]]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Support, predictions and hits of each class that a reference has, [rows × classes] each.

    Args:
        named: by reader, the class of each row's answer; None where it names none.

    Returns:
        `support`, and `named` and `hits` of each reader; and which rows the strict reader reads right, [rows].
    """
    classes = {name: place for place, name in enumerate(sorted(set(references)))}
    truth = np.array([classes[name] for name in references], dtype=int)
    columns = {"support": one_hot(truth, len(classes))}
    for reading, names in named.items():
        places = np.array([-1 if name is None else classes.get(name, -1) for name in names], dtype=int)
        columns[f"named {reading}"] = one_hot(places, len(classes))
        columns[f"hits {reading}"] = one_hot(np.where(places == truth, places, -1), len(classes))
    return columns, columns["hits strict"].sum(axis=1)


def single_class(support: np.ndarray) -> Note | None:
    """The note where all references are of one class."""
    return "single_class" if (support > 0).sum() == 1 else None


def values_of(value: object) -> frozenset[str]:
    """What a reader reads as a list of values; none where it cannot read the answer."""
    return frozenset(value) if isinstance(value, list) else frozenset()


def set_facts(
    reading: Reading,
    references: Sequence[frozenset[str]],
    predicted: Sequence[frozenset[str]],
    type_of: Callable[[str], str],
    types: Sequence[str],
) -> dict[str, np.ndarray]:
    """`hits`, `reference` and `predicted` of a reader: values of each row, [rows], and by type, [rows × types].

    By type only where there are types, and at most `MOST_TYPES`.
    """

    def by_type(values: Iterable[str]) -> list[int]:
        named = [type_of(value) for value in values]
        return [named.count(name) for name in types]

    sets = {
        "hits": [reference & named for reference, named in zip(references, predicted, strict=True)],
        "reference": references,
        "predicted": predicted,
    }
    columns: dict[str, np.ndarray] = {}
    for name, rows in sets.items():
        columns[f"{name} {reading}"] = np.array([len(values) for values in rows], dtype=float)
        if types and len(types) <= MOST_TYPES:
            columns[f"{name} of_type {reading}"] = np.array([by_type(values) for values in rows], dtype=float)
    return columns


def row_f1(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """F1 of each row as the strict reader reads it, [rows]: 1 where nothing is to be named, 0 where it reads none."""
    size = columns["reference strict"] + columns["predicted strict"]
    return np.asarray(ratio(2 * columns["hits strict"], size, empty=1.0) * (1 - columns["unread"]))


def f1_of(counts: Sequence[str], place: int | None = None) -> Callable[[Sums], np.ndarray]:
    """F1 over sums, 1 where nothing is to be named and nothing is; of a class, where its place is given.

    Args:
        counts: facts that count hits, references and answers.
        place: of the class in these facts.
    """

    def value(s: Sums) -> np.ndarray:
        hits, reference, predicted = (s[name] if place is None else s[name][..., place] for name in counts)
        return ratio(2 * hits, reference + predicted, empty=1.0 if place is None else np.nan)

    return value


def ratio_of(part: str, whole: str) -> Callable[[Sums], np.ndarray]:
    """One fact over another, 0 where there is nothing: precision over what answers name, recall over references."""
    return lambda s: ratio(s[part], s[whole], empty=0.0)
