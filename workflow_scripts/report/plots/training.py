"""What happened while a system was tuned: loss, token accuracy, entropy, evaluation loss and learning rate by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import altair as alt

from workflow_scripts.core.rows import TrainingStep
from workflow_scripts.report.palette import INK, MUTED
from workflow_scripts.report.plots.style import COUNT, WIDTH, Drawing, Panel, anchor, chart_data, number, plural

MOST_POINTS = 150
"""Raw points of a panel; more steps are thinned evenly."""
WINDOWS = 25
"""The smooth line is a mean over a window of 1/25 of the steps, centred."""


@dataclass(frozen=True)
class Series:
    """One quantity of a training log."""

    field: str  # of TrainingStep
    title: str
    smooth: bool
    number_format: str


SERIES = (
    Series("loss", "loss, nats a token", True, ".2~f"),
    Series("evaluation_loss", "loss on held-out rows, nats a token", False, ".2~f"),
    Series("token_accuracy", "share of answer tokens right", True, ".2~f"),
    Series("entropy", "entropy, nats", True, ".2~f"),
    Series("gradient_norm", "norm of the gradient", True, ".2~f"),
    Series("learning_rate", "learning rate", False, ".0~e"),
)


def smoothed(values: Sequence[float], width: int) -> list[float]:
    """Means over centred windows of `width` values, fewer at the ends."""
    half = width // 2
    return [fmean(values[max(0, place - half) : place + half + 1]) for place in range(len(values))]


def thinned(count: int, most: int = MOST_POINTS) -> list[int]:
    """Places of at most `most` of `count` values, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})


def training_curves(histories: Mapping[str, Sequence[TrainingStep]], colours: Mapping[str, str]) -> list[Drawing]:
    """For each tuned system, a panel for each quantity that its log holds.

    Args:
        histories: training logs by system.
        colours: of the systems.
    """
    drawings = []
    for system, steps in histories.items():
        panels, sentences = [], []
        for series in SERIES:
            known = [(step.step, getattr(step, series.field)) for step in steps]
            points = [(step, float(value)) for step, value in known if value is not None]
            if not points:
                continue
            width = max(1, len(points) // WINDOWS)
            means = smoothed([value for _, value in points], width)
            last = means[-1] if series.smooth else points[-1][1]
            first = means[0] if series.smooth else points[0][1]
            wording = number if abs(first) >= 0.01 or abs(last) >= 0.01 else lambda value: f"{value:.1e}"
            sentences.append(f"{series.title} from {wording(first)} to {wording(last)}")
            panels.append(_panel(points, means, series, colours[system], steps[-1].step))
        if panels:
            drawings.append(
                Drawing(
                    name=anchor("training", system),
                    section="training",
                    title=f"Training of {system}",
                    caption="By optimiser step. Points: the log, thinned to "
                    f"{MOST_POINTS} where it is longer; line: mean over a window of {max(1, len(steps) // WINDOWS)} "
                    "steps.",
                    description=f"{plural(len(steps), 'step')}, {number(steps[-1].epoch)} epochs. "
                    + "; ".join(sentences)
                    + ".",
                    chart=alt.concat(*panels, columns=2, spacing={"row": 16, "column": 24}),
                )
            )
    return drawings


def _panel(
    points: Sequence[tuple[int, float]], means: Sequence[float], series: Series, colour: str, last: int
) -> Panel:
    places = thinned(len(points))
    data = chart_data({"step": points[place][0], "raw": points[place][1], "mean": means[place]} for place in places)
    shown = [points[place][1] for place in places]
    low = min(0.0, *shown) if len(shown) > 1 else min(0.0, shown[0])
    x = alt.X(
        "step:Q",
        title="step",
        scale=alt.Scale(domain=[0, last], nice=False),
        axis=alt.Axis(tickCount=3, format=COUNT, grid=False, labelFlush=True),
    )
    scale = alt.Scale(domainMin=low, zero=True, nice=True)
    y = alt.Y("raw:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4, format=series.number_format, minExtent=50))
    base = alt.Chart(data)
    line = alt.Y("mean:Q" if series.smooth else "raw:Q", title=None, scale=scale)
    layers = [base.mark_line(color=colour, strokeWidth=2).encode(x=x, y=line)]
    if series.smooth:
        layers.insert(0, base.mark_point(filled=True, color=MUTED, size=8, opacity=0.45).encode(x=x, y=y))
    elif len(shown) < 40:
        layers.append(base.mark_point(filled=True, color=colour, size=30, opacity=1).encode(x=x, y=y))
    return alt.layer(*layers).properties(
        width=(WIDTH - 100) / 2,
        height=110,
        title=alt.TitleParams(series.title, color=INK, fontWeight="normal"),
    )
