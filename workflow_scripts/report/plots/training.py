"""What happened while a system was tuned: its log by step, its answers to held-out rows, and a sweep's settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import altair as alt

from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.report.palette import INK, MUTED, system_colours
from workflow_scripts.report.plots.style import (
    COUNT,
    LABELS,
    SIGNED,
    SMALL,
    WIDTH,
    Drawing,
    Panel,
    anchor,
    chart_data,
    label_axis,
    nice_domain,
    number,
    plural,
    short,
    short_names,
    system_key,
    system_scale,
)

MOST_POINTS = 150
"""Raw points of a panel; more steps are thinned evenly."""
MOST_EVALUATIONS = 6
"""Evaluations whose answers are shown."""
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
    Series("loss", "loss, nats a token", True, ".3~r"),
    Series("evaluation_loss", "loss on held-out rows, nats a token", False, ".3~r"),
    Series("token_accuracy", "share of answer tokens right", True, ".3~r"),
    Series("entropy", "entropy, nats", True, ".3~r"),
    Series("gradient_norm", "norm of the gradient", True, ".3~r"),
    Series("learning_rate", "learning rate", False, ".1~e"),
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


@dataclass(frozen=True)
class SettingOfSweep:
    """One setting of a sweep, as its log shows it."""

    name: str
    losses: tuple[tuple[int, float], ...]  # step and loss on held-out rows
    step: int  # of the published checkpoint
    value: float  # of the published checkpoint, what the sweep chooses by


def training_curves(
    histories: Mapping[str, Sequence[TrainingStep]],
    colours: Mapping[str, str],
    samples: Mapping[str, Sequence[SampleAnswer]] | None = None,
) -> list[Drawing]:
    """For each tuned system, a panel for each quantity that its log holds, and its answers to held-out rows.

    Args:
        histories: training logs by system.
        colours: of the systems.
        samples: answers to held-out rows by system, where there are any.
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
                    f"{MOST_POINTS} where it is longer; line: mean over a window of "
                    f"{plural(max(1, len(steps) // WINDOWS), 'step')}.",
                    description=f"{plural(len(steps), 'step')}, {number(steps[-1].epoch)} epochs. "
                    + "; ".join(sentences)
                    + ".",
                    chart=alt.concat(*panels, columns=2, spacing={"row": 16, "column": 24}),
                )
            )
        if samples and samples.get(system):
            drawings.append(_answers(system, samples[system]))
    return drawings


def _answers(system: str, samples: Sequence[SampleAnswer]) -> Drawing:
    """Each held-out row with its reference, and the answers at the first, the last and some evaluations between."""
    steps = sorted({answer.step for answer in samples})
    shown = [steps[place] for place in thinned(len(steps), MOST_EVALUATIONS)]
    lines: list[dict[str, object]] = []
    for uid in dict.fromkeys(answer.uid for answer in samples):
        of_row = {answer.step: answer for answer in samples if answer.uid == uid}
        first = next(iter(of_row.values()))
        said = [(f"step {step:,}", of_row[step].text) for step in shown if step in of_row]
        if lines:
            lines.append({"line": len(lines), "kind": "", "text": "", "bold": False})
        for kind, text in [("question", first.question), ("reference", first.reference), *said]:
            lines.append(
                {"line": len(lines), "kind": kind, "text": short(text, 58) or "(empty)", "bold": kind[0] != "s"}
            )
    right = sum(answer.text.strip() == answer.reference.strip() for answer in samples if answer.step == steps[-1])
    count = len({answer.uid for answer in samples})
    y = alt.Y("line:O", axis=None, scale=alt.Scale(paddingInner=0.1))
    base = alt.Chart(chart_data(lines)).encode(y=y)
    words = base.mark_text(align="left", baseline="middle", fontSize=SMALL)
    return Drawing(
        name=anchor("samples", system),
        section="training",
        title=f"Answers of {system} to held-out rows",
        caption=f"{plural(count, 'row')} that training held back, answered at each evaluation"
        + (f"; {len(shown)} of {len(steps)} evaluations are shown." if len(shown) < len(steps) else ".")
        + " Long texts are cut here, and whole in samples.parquet.",
        description=f"{plural(count, 'row')}, {plural(len(steps), 'evaluation')}, the last after step {steps[-1]:,}: "
        f"{right} of {count} answers are then the reference's text.",
        chart=alt.layer(
            words.encode(x=alt.value(0), text="kind:N", color=alt.value(MUTED)),
            words.encode(x=alt.value(76), text="text:N", color=alt.value(INK)).transform_filter("!datum.bold"),
            words.encode(x=alt.value(76), text="text:N", color=alt.value(MUTED)).transform_filter("datum.bold"),
        ).properties(width=WIDTH - 20, height=16 * len(lines)),
    )


def settings_of(
    names: Sequence[str], histories: Mapping[str, Sequence[TrainingStep]], selection: Mapping[str, Any]
) -> list[SettingOfSweep]:
    """The settings of a sweep that were evaluated.

    Args:
        names: of the settings.
        histories: their training logs.
        selection: what `selection.json` holds; empty where the sweep chooses none: then the least loss counts.
    """
    values = {entry["name"]: (entry["step"], entry[selection["metric"]]) for entry in selection.get("settings", ())}
    settings = []
    for name in names:
        known = [(entry.step, entry.evaluation_loss) for entry in histories[name]]
        losses = tuple((step, loss) for step, loss in known if loss is not None)
        if losses:
            least = min(losses, key=lambda pair: pair[1])
            step, value = values.get(name, least)
            settings.append(SettingOfSweep(name, losses, step, math.nan if value is None else value))
    return settings


def sweep_plot(sweep: str, settings: Sequence[SettingOfSweep], metric: str, chosen: str | None) -> list[Drawing]:
    """The held-out loss of each setting by step, and what the settings are compared by.

    Args:
        sweep: its name.
        settings: those that were evaluated, in their order.
        metric: loss or row_score.
        chosen: the chosen setting; None where the sweep chooses none.
    """
    if not settings:
        return []
    names = short_names((setting.name.removeprefix(f"{sweep}-") for setting in settings), 20)
    labels = {setting.name: names[setting.name.removeprefix(f"{sweep}-")] for setting in settings}
    listed, colours = list(labels.values()), system_colours(list(labels.values()))
    curves = chart_data(
        {"setting": labels[setting.name], "step": step, "loss": loss}
        for setting in settings
        for step, loss in (setting.losses[place] for place in thinned(len(setting.losses)))
    )
    key = alt.Color("setting:N", sort=listed, scale=system_scale(listed, colours), legend=system_key(listed))
    lines = (
        alt.Chart(curves)
        .mark_line(strokeWidth=2, point=alt.OverlayMarkDef(filled=True, size=25))
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(format=COUNT, tickCount=5, grid=False)),
            y=alt.Y("loss:Q", title="loss on held-out rows, nats a token", scale=alt.Scale(zero=False, nice=True)),
            color=key,
        )
        .properties(width=WIDTH - 70, height=190)
    )
    title = "loss" if metric == "loss" else "mean score of held-out answers"
    values = chart_data(
        {
            "setting": labels[setting.name],
            "value": setting.value,
            "text": number(setting.value) + (", chosen" if setting.name == chosen else ""),
            "size": 110 if setting.name == chosen else 45,
        }
        for setting in settings
        if math.isfinite(setting.value)
    )
    dots = alt.Chart(values).encode(y=alt.Y("setting:N", sort=listed, axis=label_axis()))
    x = alt.X(
        "value:Q",
        title=f"{title} of the published checkpoint",
        scale=alt.Scale(domain=nice_domain(setting.value for setting in settings), zero=False),
        axis=alt.Axis(tickCount=5),
    )
    below = alt.layer(
        dots.mark_point(filled=True, opacity=1).encode(
            x=x, color=key, size=alt.Size("size:Q", scale=None, legend=None)
        ),
        dots.mark_text(align="left", fontSize=SMALL).encode(x=alt.value(WIDTH - LABELS - 84), text="text:N"),
    ).properties(width=WIDTH - LABELS - 92, height=22 * len(settings))
    first = min(settings, key=lambda setting: (1 if metric == "loss" else -1) * setting.value)
    said = "; ".join(f"{setting.name} {number(setting.value)} at step {setting.step:,}" for setting in settings)
    return [
        Drawing(
            name=anchor("sweep", sweep),
            section="training",
            title=f"Settings of {sweep}",
            caption="Above: loss on the rows that training held back, at each evaluation. Below: of the checkpoint "
            f"that each setting published, {title}" + ("; the larger point was chosen by it." if chosen else "."),
            description=f"{plural(len(settings), 'setting')}; {title} of the published checkpoints: {said}. "
            + (f"Chosen: {chosen}." if chosen else f"Best: {first.name}."),
            chart=alt.vconcat(lines, below, spacing=18),
        )
    ]


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
        axis=alt.Axis(tickCount=min(3, last), format=COUNT, grid=False, labelFlush=True),
    )
    scale = alt.Scale(domainMin=low, zero=True, nice=True)
    axis = alt.Axis(tickCount=4, format=series.number_format, labelExpr=SIGNED, minExtent=50)
    y = alt.Y("raw:Q", title=None, scale=scale, axis=axis)
    base = alt.Chart(data)
    line = alt.Y("mean:Q" if series.smooth else "raw:Q", title=None, scale=scale, axis=axis)
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
