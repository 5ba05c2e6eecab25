"""Classes and labels: confusion matrices of single answers, and F1 of each label of label sets."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np

from workflow_scripts.core.rows import Row
from workflow_scripts.report.palette import INK, ON_SHADE, SHADE
from workflow_scripts.report.plots.answers import Answers
from workflow_scripts.report.plots.style import (
    SMALL,
    STATED_NAME,
    WIDTH,
    Dot,
    Drawing,
    Panel,
    anchor,
    chart_data,
    dot_plot,
    metric_name,
    number,
    plural,
    short,
    short_names,
    short_system,
    task_name,
)
from workflow_scripts.tasks.language.text import squeezed

MOST_CLASSES = 12
"""Of a matrix; the others are one class."""
MOST_LABELS = 20
"""Of a plot of labels."""
OTHER, UNREAD = "other", "not read"


@dataclass(frozen=True)
class Confusion:
    """Counts of one system: reference classes by rows, predicted ones by columns, at last what could not be read."""

    classes: list[str]
    counts: np.ndarray  # [classes × (classes + 1)]
    own: int  # the first classes, which stand for themselves; one after them holds all others
    right: int  # rows whose class was named, the collected ones among them


def class_of(row: Row, answer: object) -> str | None:
    """The class that an answer names, in words where the question's options have letters; None: not read."""
    if not isinstance(answer, str):
        return None
    name = answer.strip()
    by_letter = {option.letter.lower(): option.text for option in row.expected.options}
    return by_letter.get(name.lower(), name)


def confusion(pairs: Sequence[tuple[str, str | None]]) -> Confusion:
    """The confusion of (reference, predicted) classes, compared in lower case.

    The most frequent references are classes of their own, at most `MOST_CLASSES`; all others are one. A prediction
    that is no reference class of its own is `other`.
    """
    written: dict[str, str] = {}
    for reference, _ in pairs:
        written.setdefault(reference.lower(), reference)
    frequent = Counter(reference.lower() for reference, _ in pairs).most_common()
    ranked = [name for name, _ in sorted(frequent, key=lambda entry: (-entry[1], entry[0]))]
    own = ranked if len(ranked) <= MOST_CLASSES else ranked[:MOST_CLASSES]
    place = {name: number_ for number_, name in enumerate(own)}
    rest = OTHER
    while rest in written:  # a class of the dataset has that name
        rest = f"{rest} classes"
    strays = any(predicted is not None and predicted.lower() not in place for _, predicted in pairs)
    classes = [written[name] for name in own] + ([rest] if len(own) < len(ranked) or strays else [])
    counts = np.zeros((len(classes), len(classes) + 1), dtype=int)
    for reference, predicted in pairs:
        column = len(classes) if predicted is None else place.get(predicted.lower(), len(own))
        counts[place.get(reference.lower(), len(own)), column] += 1
    right = sum(predicted is not None and predicted.lower() == reference.lower() for reference, predicted in pairs)
    return Confusion(classes, counts, len(own), right)


def confusion_matrices(answers: Iterable[Answers]) -> list[Drawing]:
    """For each subset whose answers are one class each, the confusion matrices of its systems."""
    drawings = []
    for group in answers:
        matrices = {}
        for system, values in group.strict.items():
            references = [class_of(row, value) for row, value in zip(group.rows, group.references, strict=True)]
            predicted = [class_of(row, value) for row, value in zip(group.rows, values, strict=True)]
            matrices[system] = confusion(
                [(name or "", other) for name, other in zip(references, predicted, strict=True)]
            )
        drawings.append(
            Drawing(
                name=anchor("confusion", group.task, group.subset),
                section="tasks",
                title=f"{task_name(group.task).capitalize()}, {group.subset}: which class is taken for which",
                caption="Rows are reference classes with their number of rows, columns what the strict reader read. "
                "A cell's shade is its share of its row, the number its rows; outlined: right. "
                f"At most {MOST_CLASSES} classes stand alone, the most frequent; the rest are “{OTHER}”. "
                f"“{UNREAD}”: no class could be read.",
                description=f"n = {len(group.rows):,}. "
                + "; ".join(_summary(system, matrix) for system, matrix in matrices.items())
                + ".",
                chart=alt.vconcat(
                    *(
                        _matrix(matrix, f"{short_system(system)}: {matrix.right:,} of {len(group.rows):,} right")
                        for system, matrix in matrices.items()
                    ),
                    spacing=18,
                ),
            )
        )
    return drawings


def _summary(system: str, matrix: Confusion) -> str:
    wrong = matrix.counts.copy()
    for place in range(matrix.own):
        wrong[place, place] = 0
    if matrix.own < len(matrix.classes):
        wrong[matrix.own, matrix.own] = 0  # right and wrong ones together
    text = f"{system} names the right class in {plural(matrix.right, 'row')}"
    if wrong.any():
        row, column = np.unravel_index(int(wrong.argmax()), wrong.shape)
        named, taken = (short([*matrix.classes, UNREAD][place], STATED_NAME) for place in (row, column))
        text += f"; its most frequent error: {named} as {taken}, {plural(int(wrong.max()), 'row')}"
    return text


def _matrix(matrix: Confusion, title: str) -> Panel:
    names = short_names(matrix.classes, 24)
    totals = matrix.counts.sum(axis=1)
    rows = [f"{names[name]} ({total:,})" for name, total in zip(matrix.classes, totals, strict=True) if total]
    unread = bool(matrix.counts[:, -1].any())
    columns = [names[name] for name in matrix.classes] + ([UNREAD] if unread else [])
    cells = []
    for row, total in enumerate(totals[: len(rows)]):
        for column in range(len(columns)):
            count = int(matrix.counts[row, column])
            share = count / int(total) if total else 0.0
            cells.append(
                {
                    "row": rows[row],
                    "column": f"{column}",
                    "share": share,
                    "text": f"{count:,}" if count else "",
                    "right": row == column < matrix.own,
                    "dark": share > 0.55,
                }
            )
    labels = min(178, 20 + 6 * max(map(len, rows)))
    longest = max(map(len, columns))
    side = min(46.0, (WIDTH - labels - 10) / len(columns))
    flat = longest * 6 < side
    base = alt.Chart(chart_data(cells)).encode(
        x=alt.X(
            "column:N",
            sort=[f"{place}" for place in range(len(columns))],
            title="answer",
            axis=alt.Axis(
                labelExpr=f"{json.dumps(columns)}[toNumber(datum.value)]",  # strings of JSON are Vega's too
                labelAngle=0 if flat else -40,
                labelAlign="center" if flat else "right",
                labelLimit=110,
                labelColor=INK,
                domain=False,
                ticks=False,
                labelPadding=4,
            ),
        ),
        y=alt.Y(
            "row:N",
            sort=rows,
            title=None,
            axis=alt.Axis(
                labelColor=INK,
                labelLimit=labels - 6,
                domain=False,
                ticks=False,
                labelPadding=6,
                minExtent=labels,
                maxExtent=labels,
            ),
        ),
    )
    cell = base.mark_rect(fill=SHADE).encode(
        opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.04, 1]), legend=None)
    )
    right = base.mark_rect(fillOpacity=0, stroke=INK, strokeWidth=1).transform_filter("datum.right")
    text = base.mark_text(fontSize=SMALL if side >= 24 else 9).encode(
        text="text:N",
        color=alt.Color("dark:N", scale=alt.Scale(domain=[True, False], range=[ON_SHADE, INK]), legend=None),
    )
    height = min(side, 30.0) * len(rows)
    return alt.layer(cell, right, text).properties(width=side * len(columns), height=height, title=title)


def label_f1(rows: Sequence[tuple[set[str], set[str]]]) -> dict[str, tuple[float, int]]:
    """F1 and number of reference rows of each label, from the reference's and the predicted label sets.

    F1 = 2·TP / (2·TP + FP + FN), scikit-learn's with `zero_division=0`; labels of predictions alone are not listed.
    """
    support = Counter(label for reference, _ in rows for label in reference)
    named = Counter(label for _, predicted in rows for label in predicted)
    hits = Counter(label for reference, predicted in rows for label in reference & predicted)
    return {label: (2 * hits[label] / (count + named[label]), count) for label, count in support.items()}


def label_plots(answers: Iterable[Answers], colours: Mapping[str, str]) -> list[Drawing]:
    """For each subset whose answers are label sets, F1 of each label by system."""
    drawings = []
    for group in answers:
        references = [_label_set(value) for value in group.references]
        by_system = {
            system: label_f1(
                [(reference, _label_set(value)) for reference, value in zip(references, values, strict=True)]
            )
            for system, values in group.strict.items()
        }
        support = Counter(label for reference in references for label in reference)
        ranked = sorted(support, key=lambda label: (-support[label], label))
        shown = ranked[:MOST_LABELS]
        if not shown:
            continue
        written = {squeezed(label): label for value in group.references if isinstance(value, list) for label in value}
        names = short_names((written[label] for label in shown), 22)
        dots = [
            Dot(f"{names[written[label]]}\nn = {support[label]:,}", system, f1[label][0])
            for label in shown
            for system, f1 in by_system.items()
        ]
        cut = f" The {MOST_LABELS} most frequent of {len(ranked)} labels are shown." if len(ranked) > len(shown) else ""
        means = {system: float(np.mean([value for value, _ in f1.values()])) for system, f1 in by_system.items()}
        drawings.append(
            Drawing(
                name=anchor("labels", group.task, group.subset),
                section="tasks",
                title=f"{task_name(group.task).capitalize()}, {group.subset}: F1 of each label",
                caption="2·TP / (2·TP + FP + FN) over all rows of the subset, as the strict reader reads them; n "
                f"is the number of rows that bear the label. An answer that cannot be read names no label.{cut}",
                description=f"n = {len(group.rows):,}, {plural(len(ranked), 'label')}. "
                + "; ".join(f"mean over labels of {system}: {number(mean)}" for system, mean in means.items())
                + ". "
                + "; ".join(
                    f"{short(written[label], STATED_NAME)}: "
                    + ", ".join(f"{system} {number(f1[label][0])}" for system, f1 in by_system.items())
                    for label in shown
                )
                + ".",
                chart=dot_plot(dots, list(by_system), colours, metric_name("F1 of the label"), domain=[0, 1]),
            )
        )
    return drawings


def _label_set(value: object) -> set[str]:
    return {squeezed(str(label)) for label in value} if isinstance(value, list) else set()
