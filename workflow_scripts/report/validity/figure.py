"""Figures of calibration: the mean human score of the answers to which a judge gave one score."""

from collections.abc import Iterable, Mapping, Sequence

from workflow_scripts.core.rubrics.rows import CalibrationPoint
from workflow_scripts.report.plots.style import Dot, Drawing, anchor, dot_plot, listed, number, plural


def calibration_plots(points: Iterable[CalibrationPoint], colours: Mapping[str, str]) -> list[Drawing]:
    """A figure for each rubric with a line for each score of its judges; a judge of one score alone has no figure.

    Args:
        points: of all judges.
        colours: of the judges.
    """
    by_rubric: dict[str, list[CalibrationPoint]] = {}
    for point in points:
        by_rubric.setdefault(point.rubric, []).append(point)
    return [_drawing(rubric, own, colours) for rubric, own in sorted(by_rubric.items()) if len(own) > 1]


def _drawing(rubric: str, points: Sequence[CalibrationPoint], colours: Mapping[str, str]) -> Drawing:
    judges = sorted({point.judge for point in points})
    ordered = sorted(points, key=lambda point: (point.score, point.judge))
    dots = [Dot(f"{point.score:.3g}", point.judge, point.human, point.low, point.high) for point in ordered]
    sentences = [
        f"{point.judge} {point.score:.3g}, human {number(point.human)} ({plural(point.answers, 'answer')})"
        for point in ordered
    ]
    name = rubric.replace("_", " ")
    return Drawing(
        name=anchor("calibration", rubric),
        section="validity",
        title=f"Human scores by the score of {listed(judges)}: {name}",
        caption="At the left the judge's score, beside it the mean human score of the answers that got it, with its "
        "bootstrap interval. A judge that is well calibrated shows its own scores again.",
        description=f"Mean human scores on {name}: {'; '.join(sentences)}.",
        chart=dot_plot(dots, judges, colours, f"mean human score ({name})"),
    )
