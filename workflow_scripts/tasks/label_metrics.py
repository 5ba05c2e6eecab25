"""Classification and multi-label metrics, equal to scikit-learn's where it defines them.

Exact match follows FLARE 2026: the whole answer, stripped and in lower case. An answer that cannot be read names no
class: it is wrong, and it takes precision from none. An unreadable label answer is the empty set.
"""

import re

import numpy as np

from workflow_scripts.core.metrics import Answer, Facts, Measure, Sums, count_facts, ratio, wrong_format
from workflow_scripts.tasks.expected import squeezed


def classification_facts(answers: list[Answer]) -> Facts:
    """Support, hits and predictions of each gold class, by exact match and by the lenient reader."""
    gold = [str(answer.gold).strip().lower() for answer in answers]
    classes = {name: place for place, name in enumerate(sorted(set(gold)))}
    truth = np.array([classes[name] for name in gold], dtype=int)
    exact = [None if answer.text is None else answer.text.strip().lower() for answer in answers]
    meant = [None if answer.lenient is None else str(answer.lenient).strip().lower() for answer in answers]
    columns = count_facts(answers) | {"support": _one_hot(truth, len(classes))}
    measures = []
    for suffix, said in (("", exact), ("_lenient", meant)):
        places = np.array([classes.get(name, -1) for name in said], dtype=int)
        columns["named" + suffix] = _one_hot(places, len(classes))
        columns["hits" + suffix] = _one_hot(np.where(places == truth, places, -1), len(classes))
        measures += _classification_measures(suffix)
    return Facts(columns, [*measures, wrong_format()])


def _one_hot(places: np.ndarray, width: int) -> np.ndarray:
    """One row each with a one at its place; a place of -1 gives zeros."""
    found = np.zeros((len(places), width))
    known = places >= 0
    found[np.flatnonzero(known), places[known]] = 1
    return found


def _classification_measures(suffix: str) -> list[Measure]:
    named, hits, unread = "named" + suffix, "hits" + suffix, "unread" + suffix

    def balanced(s: Sums) -> np.ndarray:
        recalls = ratio(s[hits], s["support"])
        present = s["support"] > 0
        return ratio(np.where(present, recalls, 0).sum(axis=-1), present.sum(axis=-1))

    def weighted(s: Sums, share: np.ndarray) -> np.ndarray:
        return ratio((share * s["support"]).sum(axis=-1), s["support"].sum(axis=-1))

    def f1(s: Sums) -> np.ndarray:
        return weighted(s, ratio(2 * s[hits], s["support"] + s[named], empty=0.0))

    def precision(s: Sums) -> np.ndarray:
        return weighted(s, ratio(s[hits], s[named], empty=0.0))

    def accuracy(s: Sums) -> np.ndarray:
        return ratio(s[hits].sum(axis=-1), s["rows"])

    rule = "own" if suffix else "2026"
    beside = "own" if suffix else "2025"
    return [
        Measure("balanced_accuracy" + suffix, balanced, "higher", rule, primary=not suffix, unread=unread),
        Measure("accuracy" + suffix, accuracy, "higher", beside, unread=unread),
        Measure("weighted_f1" + suffix, f1, "higher", beside, unread=unread),
        Measure("weighted_precision" + suffix, precision, "higher", beside, unread=unread),
        Measure("weighted_recall" + suffix, accuracy, "higher", beside, unread=unread),
    ]


def multi_label_facts(answers: list[Answer]) -> Facts:
    """Shared, gold and predicted labels of each row: FLARE's split at `;` and `,`, and the lenient reader's."""
    columns = count_facts(answers)
    official = [
        (_split("; ".join(answer.gold)), set() if answer.text is None else _split(answer.text)) for answer in answers
    ]
    meant = [
        ({squeezed(label) for label in answer.gold}, {squeezed(label) for label in answer.lenient or ()})
        for answer in answers
    ]
    measures = []
    for suffix, pairs in (("", official), ("_lenient", meant)):
        shared = np.array([len(gold & said) for gold, said in pairs], dtype=float)
        gold_size = np.array([len(gold) for gold, _ in pairs], dtype=float)
        said_size = np.array([len(said) for _, said in pairs], dtype=float)
        columns["hits" + suffix], columns["gold" + suffix], columns["named" + suffix] = shared, gold_size, said_size
        # FLARE 2025 leaves out rows whose reference names nothing.
        columns["labelled" + suffix] = (gold_size > 0).astype(float)
        columns["row_f1" + suffix] = np.where(gold_size > 0, ratio(2 * shared, gold_size + said_size, empty=0.0), 0.0)
        columns["row_precision" + suffix] = np.where(gold_size > 0, ratio(shared, said_size, empty=0.0), 0.0)
        columns["row_recall" + suffix] = ratio(shared, gold_size, empty=0.0)
        columns["exact" + suffix] = np.array([gold == said for gold, said in pairs], dtype=float)
        measures += _multi_label_measures(suffix)
    return Facts(columns, [*measures, wrong_format()])


def _split(text: str) -> set[str]:
    """FLARE 2026: parts between `;` and `,`, stripped and in lower case; empty parts are none."""
    return {part.strip().lower() for part in re.split("[;,]", text)} - {""}


def _multi_label_measures(suffix: str) -> list[Measure]:
    hits, gold, named, unread = "hits" + suffix, "gold" + suffix, "named" + suffix, "unread" + suffix

    def mean_of(column: str, rows: str = "labelled" + suffix):
        return lambda s: ratio(s[column + suffix], s[rows])

    rule = "own" if suffix else "2026"
    beside = "own" if suffix else "2025"
    return [
        Measure(
            "micro_f1" + suffix,
            lambda s: ratio(2 * s[hits], s[gold] + s[named], empty=1.0),
            "higher",
            rule,
            primary=not suffix,
            unread=unread,
        ),
        Measure(
            "micro_precision" + suffix, lambda s: ratio(s[hits], s[named], empty=0.0), "higher", rule, unread=unread
        ),
        Measure("micro_recall" + suffix, lambda s: ratio(s[hits], s[gold], empty=0.0), "higher", rule, unread=unread),
        Measure("sample_f1" + suffix, mean_of("row_f1"), "higher", beside, unread=unread),
        Measure("sample_precision" + suffix, mean_of("row_precision"), "higher", beside, unread=unread),
        Measure("sample_recall" + suffix, mean_of("row_recall"), "higher", beside, unread=unread),
        Measure("exact_sets" + suffix, mean_of("exact", "rows"), "higher", "own", unread=unread),
    ]
