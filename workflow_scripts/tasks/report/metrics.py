"""Report metrics as facts that add up: judged and lexical scores, their worst-case bounds, and output diversity."""

import re
from collections import Counter

import numpy as np

from workflow_scripts.core.metrics import Answer, Facts, Measure, Sums, count_facts, ratio

ReportScores = dict[str, dict[str, dict[str, tuple[float | None, str]]]]
"""system → metric → uid → (value, status)."""

BOUNDS = {"crimson": (-1.0, 1.0), "green": (0.0, 1.0)}
"""Range of the judged scores: what a row without a judgement could have scored."""


def report_facts(
    answers: list[Answer], uids: list[str], scores: dict[str, dict[str, tuple]], headline: str | None
) -> Facts:
    """Facts of the report task of one system; a metric counts the rows for which `scores` has a record.

    `headline` is the primary metric, the same for all systems: see `headline_of`.
    """
    columns = count_facts(answers)
    measures: list[Measure] = []
    for name in sorted(scores):
        if "." not in name:
            measures += _scored(columns, name, uids, scores[name], primary=name == headline)
    for name in sorted({name.split(".")[0] for name in scores if "." in name}):
        measures += _efficacy(columns, name, uids, scores)
    columns |= _diversity(answers)
    measures += [
        Measure("distinct_share", lambda s: ratio(s["first_seen"], s["rows"]), "higher", "own", interval=False),
        Measure("commonest_share", lambda s: ratio(s["commonest"], s["rows"]), "lower", "own", interval=False),
    ]
    return Facts(columns, measures)


def headline_of(scores: ReportScores) -> str | None:
    """The metric that heads the tables: CRIMSON by a model judge, else by the offline judge, else ROUGE-L.

    A judge that scored no row of any system (the offline one, outside chest X-ray) heads nothing.
    """
    known = {
        name
        for metrics in scores.values()
        for name, by_uid in metrics.items()
        if any(value is not None for value, _ in by_uid.values())
    }
    judged = sorted(name for name in known if re.fullmatch(r"crimson_[A-Za-z0-9-]+", name))
    by_model = [name for name in judged if name != "crimson_offline"]
    return next(iter(by_model or judged or known & {"rouge_l"}), None)


def _scored(
    columns: dict[str, np.ndarray], name: str, uids: list[str], scores: dict[str, tuple], *, primary: bool
) -> list[Measure]:
    found = [scores.get(uid) for uid in uids]
    asked, read, summed = f"asked {name}", f"read {name}", f"sum {name}"
    columns[asked] = np.array([record is not None for record in found], dtype=float)
    columns[read] = np.array([record is not None and record[0] is not None for record in found], dtype=float)
    columns[summed] = np.array([record[0] if record and record[0] is not None else 0.0 for record in found])
    columns[f"null {name}"] = columns[asked] - columns[read]
    counts = {"rows": asked, "unread": f"null {name}", "valid": read}
    family = name.split("_")[0]
    rule = "judge" if family in BOUNDS else "2025" if family == "rule" else "text"
    measures = [
        Measure(name, lambda s: ratio(s[summed], s[read]), "higher", rule, primary=primary, **counts)
    ]  # fmt: skip
    if family in BOUNDS and not name.endswith("normal"):
        for ending, bound in zip(("lowest", "highest"), BOUNDS[family], strict=True):

            def bounded(s: Sums, bound: float = bound) -> np.ndarray:
                return ratio(s[summed] + bound * (s[asked] - s[read]), s[asked])

            measures.append(Measure(f"{name}_{ending}", bounded, "higher", rule, **counts))
    return measures


def _efficacy(columns: dict[str, np.ndarray], name: str, uids: list[str], scores: dict[str, dict]) -> list[Measure]:
    """Clinical efficacy: micro precision, recall and F1 over the finding classes that a lexicon finds."""
    parts = {part: scores[f"{name}.{part}"] for part in ("hits", "gold", "named")}
    read = np.array([uid in parts["hits"] for uid in uids], dtype=float)
    columns[f"asked {name}"], columns[f"null {name}"] = np.ones(len(uids)), 1.0 - read
    columns[f"read {name}"] = read
    for part, found in parts.items():
        columns[f"{name}.{part}"] = np.array([found[uid][0] if uid in found else 0.0 for uid in uids])

    def of(top: str, *below: str):
        return lambda s: ratio(len(below) * s[f"{name}.{top}"], sum(s[f"{name}.{part}"] for part in below), empty=0.0)

    counts = {"rows": f"asked {name}", "unread": f"null {name}", "valid": f"read {name}"}
    return [
        Measure(f"{name}_f1", of("hits", "gold", "named"), "higher", "2025", **counts),
        Measure(f"{name}_precision", of("hits", "named"), "higher", "2025", **counts),
        Measure(f"{name}_recall", of("hits", "gold"), "higher", "2025", **counts),
    ]


def _diversity(answers: list[Answer]) -> dict[str, np.ndarray]:
    """Which rows are the first of their text within a data set, and which have its commonest text."""
    seen: set[tuple[str, str | None]] = set()
    first = []
    for answer in answers:
        key = (answer.dataset, answer.text)
        first.append(key not in seen)
        seen.add(key)
    tally = Counter((answer.dataset, answer.text) for answer in answers)
    top: dict[str, str | None] = {}
    for (dataset, text), _ in tally.most_common():
        top.setdefault(dataset, text)
    return {
        "first_seen": np.array(first, dtype=float),
        "commonest": np.array([answer.text == top[answer.dataset] for answer in answers], dtype=float),
    }
