"""Boxes: precision and recall by the overlap that counts as a match, and F1 of each identity."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np

from workflow_scripts.core.answers import Corners
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.report.plots.answers import Answers
from workflow_scripts.report.plots.style import (
    STATED_NAME,
    WIDTH,
    Dot,
    Drawing,
    anchor,
    chart_data,
    dot_plot,
    listed,
    metric_name,
    number,
    short,
    short_names,
    system_key,
    system_scale,
    task_name,
)
from workflow_scripts.tasks.boxes.matching import matched, overlaps, turned

THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Overlaps above which a pair of boxes matches."""
STATED = (0.3, 0.5, 0.75)
"""Those whose numbers the description states."""

Boxes = Sequence[Corners]


@dataclass(frozen=True)
class Curve:
    """Matches at each of `THRESHOLDS`, and all boxes of both sides."""

    hits: np.ndarray
    reference: int
    predicted: int

    @property
    def precision(self) -> np.ndarray:
        """Matched over predicted boxes; 0 where none is predicted."""
        return self.hits / self.predicted if self.predicted else np.zeros(len(self.hits))

    @property
    def recall(self) -> np.ndarray:
        """Matched over reference boxes; 0 where there is none."""
        return self.hits / self.reference if self.reference else np.zeros(len(self.hits))


def curve_of(pairs: Iterable[tuple[Boxes, Boxes]], *, turns: str = "reference") -> Curve:
    """Matches between reference and predicted boxes, greedily within each pair; see `tasks.boxes.matching`.

    Args:
        pairs: reference and predicted boxes of a row, or of one identity in a row.
        turns: which side takes its best free partner in turn, `reference` or `predicted`; so the curve agrees with
            the task's own F1.
    """
    hits, reference, predicted = np.zeros(len(THRESHOLDS)), 0, 0
    for truth, guess in pairs:
        shared = overlaps(truth, guess)
        shared = shared if turns == "reference" else turned(shared)
        hits += [matched(shared, threshold) for threshold in THRESHOLDS]
        reference += len(truth)
        predicted += len(guess)
    return Curve(hits, reference, predicted)


def box_pairs(group: Answers, system: str) -> list[tuple[Boxes, Boxes]]:
    """Reference and predicted boxes of each row; of answers with identities, of each identity of a row."""
    pairs: list[tuple[Boxes, Boxes]] = []
    for reference, value in zip(group.references, group.strict[system], strict=True):
        if isinstance(reference, dict):
            predicted = value if isinstance(value, dict) else {}
            pairs += [(reference.get(name, []), predicted.get(name, [])) for name in sorted({*reference, *predicted})]
        elif isinstance(reference, list):
            pairs.append((reference, value if isinstance(value, list) else []))
    return pairs


def overlap_plots(answers: Iterable[Answers], colours: Mapping[str, str]) -> list[Drawing]:
    """For each subset whose answers are boxes, precision and recall by the overlap that counts as a match."""
    drawings = []
    for group in answers:
        with_identity = group.kind == "instances"
        curves = {
            system: curve_of(box_pairs(group, system), turns="predicted" if with_identity else "reference")
            for system in group.strict
        }
        boxes = next(iter(curves.values())).reference
        points = [
            {"side": side, "system": system, "overlap": threshold, "share": float(value)}
            for system, curve in curves.items()
            for side, values in (("precision", curve.precision), ("recall", curve.recall))
            for threshold, value in zip(THRESHOLDS, values, strict=True)
        ]
        of_row = " of the same identity" if with_identity else ""
        drawings.append(
            Drawing(
                name=anchor("overlap", group.task, group.subset),
                section="tasks",
                title=f"{task_name(group.task).capitalize()}, {group.subset}: precision and recall by overlap",
                caption=f"Share of the predicted boxes (precision) and of the reference's (recall) that are "
                f"matched{of_row} with an intersection over union above the threshold. Boxes of all rows together; "
                "answers have no confidence, so a threshold gives one point. An answer that cannot be read has no box.",
                description=f"n = {len(group.rows):,}, {boxes:,} reference boxes. "
                + "; ".join(_summary(system, curve) for system, curve in curves.items())
                + ".",
                chart=_curves(points, list(curves), colours),
            )
        )
    return drawings


def _summary(system: str, curve: Curve) -> str:
    stated = [THRESHOLDS.index(threshold) for threshold in STATED]
    texts = [
        f"precision {number(curve.precision[place])} and recall {number(curve.recall[place])} at {THRESHOLDS[place]:g}"
        for place in stated
    ]
    return f"{system} ({curve.predicted:,} predicted): {listed(texts)}"


def _curves(
    points: Sequence[dict[str, object]], systems: Sequence[str], colours: Mapping[str, str]
) -> alt.HConcatChart:
    panels = []
    for side in ("precision", "recall"):
        data = chart_data(point for point in points if point["side"] == side)
        base = alt.Chart(data).encode(
            x=alt.X(
                "overlap:Q", title="IoU above", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(tickCount=5, format=".1f")
            ),
            y=alt.Y(
                "share:Q",
                title=None,
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(tickCount=5, format=".1f", labels=True),
            ),
            color=alt.Color(
                "system:N", scale=system_scale(systems, colours), sort=list(systems), legend=system_key(systems)
            ),
        )
        panels.append(
            alt.layer(base.mark_line(strokeWidth=2), base.mark_point(filled=True, size=22, opacity=1)).properties(
                width=(WIDTH - 84) / 2, height=170, title=side
            )
        )
    return alt.hconcat(*panels, spacing=20)


def identity_plots(
    answers: Iterable[Answers], values: Iterable[MetricValue], systems: Sequence[str], colours: Mapping[str, str]
) -> list[Drawing]:
    """For each subset whose boxes have identities, the primary metric of each identity by system, with interval.

    Args:
        answers: those with identities.
        values: the metrics of the split; strata of the primary metric are identities.
        systems: in the order of display.
        colours: of the systems.
    """
    table = list(values)
    primary = {(row.task, row.metric, row.reading) for row in table if row.primary}
    drawings = []
    for group in answers:
        boxes = Counter(
            identity
            for reference in group.references
            if isinstance(reference, dict)
            for identity, of_identity in reference.items()
            for _ in of_identity
        )
        rows = [
            row
            for row in table
            if row.stratum in boxes
            and row.subset == group.subset
            and row.system in systems
            and row.value is not None
            and (row.task, row.metric, row.reading) in primary
            and row.task == group.task
        ]
        if not rows:
            continue
        order = list(dict.fromkeys(str(row.stratum) for row in rows))
        names = short_names(order, 16)
        dots = [
            Dot(
                f"{names[str(row.stratum)]}  ({boxes[str(row.stratum)]:,})",
                row.system,
                row.value or 0.0,
                row.low,
                row.high,
            )
            for row in sorted(rows, key=lambda row: order.index(str(row.stratum)))
        ]
        metric = metric_name(rows[0].metric)
        drawings.append(
            Drawing(
                name=anchor("identities", group.task, group.subset),
                section="tasks",
                title=f"{task_name(group.task).capitalize()}, {group.subset}: each identity",
                caption=f"{metric} of each identity with its interval; in brackets, its reference boxes.",
                description=f"n = {len(group.rows):,}, {sum(boxes.values()):,} reference boxes. "
                + "; ".join(
                    f"{short(identity, STATED_NAME)}: "
                    + ", ".join(f"{row.system} {number(row.value or 0.0)}" for row in rows if row.stratum == identity)
                    for identity in order
                )
                + ".",
                chart=dot_plot(dots, systems, colours, metric, domain=[0, 1], labels=110),
            )
        )
    return drawings
