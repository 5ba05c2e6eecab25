"""What the systems cost: minutes of CPU and GPU by step, and rows a second, from Snakemake's benchmark files."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt

from workflow_scripts.core.files import BadFile
from workflow_scripts.report.palette import INK, MUTED
from workflow_scripts.report.plots.style import (
    LABELS,
    SMALL,
    WIDTH,
    Drawing,
    Panel,
    chart_data,
    label_axis,
    number,
    short_system,
)

NUMBERS = 112
"""Width of the text at the right, in pixels."""
ANSWERING = ("infer_answer", "infer_ask", "infer_baseline")
"""Rules whose jobs answer the rows of a split."""


@dataclass(frozen=True)
class Cost:
    """What the jobs of one rule cost for one system, or for one thing that all systems share."""

    step: str
    owner: str  # a system, several joined by +, or what is shared
    cpu_minutes: float
    gpu_minutes: float  # wall minutes times GPUs
    rows_per_second: float | None  # of job time, loading the model included


@dataclass(frozen=True)
class Time:
    """Wall and CPU seconds of some jobs."""

    wall: float = 0.0
    cpu: float = 0.0


def time_of(files: Iterable[Path]) -> Time:
    """The sum over benchmark files; where a job was too short to measure its CPU time, its wall time stands for it.

    Raises:
        BadFile: a file is no benchmark.
    """
    wall = cpu = 0.0
    for file in sorted(files):
        with file.open(encoding="utf-8") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                try:
                    seconds = float(row["s"])
                    measured = float(row["cpu_time"]) if row["cpu_time"] not in ("NA", "-") else math.nan
                except (KeyError, ValueError, TypeError):
                    raise BadFile(f"{file} is not a benchmark of Snakemake; delete it and run again") from None
                wall += seconds
                cpu += seconds if math.isnan(measured) else measured
    return Time(wall, cpu)


def costs_of(results: Path, configuration: Mapping[str, Any], split: str, rows: int) -> list[Cost]:
    """What the benchmark files below `results` say of the jobs of a split and of the tuned systems.

    Args:
        results: results folder.
        configuration: of the run that filled it.
        split: name of the evaluated split.
        rows: of the split.
    """
    benchmarks = results / "benchmarks"
    systems, models = configuration["systems"], configuration["models"]

    def gpus(model: str | None) -> int:
        return int(models[model]["gpus"]) if model in models else 0

    costs: list[Cost] = []

    def add(step: str, owner: str, files: Sequence[Path], gpus_of_job: int, done: int | None) -> None:
        if files:
            spent = time_of(files)
            rate = done / spent.wall if done and spent.wall else None
            costs.append(Cost(step, owner, spent.cpu / 60, gpus_of_job * spent.wall / 60, rate))

    for model in models:
        files = sorted((benchmarks / "features_extract").glob(f"{model}.*.tsv"))
        add("vision features", model, files, min(1, gpus(model)), None)
    for system, entry in systems.items():
        file = benchmarks / "train_tune" / f"{system}.tsv"
        add(
            "training", system, [file] if file.is_file() and entry.get("recipe") else [], gpus(entry.get("model")), None
        )
    for rule in ANSWERING:
        groups: dict[str, list[Path]] = {}
        for file in (benchmarks / rule).glob(f"{split}.*.tsv"):
            groups.setdefault(file.name.split(".")[1], []).append(file)
        for group, files in sorted(groups.items(), key=lambda entry: _place(entry[0], systems)):
            members = [system for system in group.split("+") if system in systems]
            if members:
                loaded = systems[members[0]].get("model") if rule == "infer_answer" else None
                add("answers", group, files, min(1, gpus(loaded)), rows * len(members))
    for judge, entry in configuration["judges"].items():
        files = sorted((benchmarks / "score_judge").glob(f"{split}.{judge}.*.tsv"))
        add("judging", judge, files, int(entry.get("gpus") or 0), None)
    return costs


def _place(group: str, systems: Mapping[str, Any]) -> int:
    names = list(systems)
    return min((names.index(system) for system in group.split("+") if system in systems), default=len(names))


def cost_plot(costs: Sequence[Cost], colours: Mapping[str, str]) -> list[Drawing]:
    """Minutes of CPU, and of GPU where any was used, by step and system; none without benchmarks."""
    if not costs:
        return []
    on_gpu = any(cost.gpu_minutes for cost in costs)
    panels = [_panel(costs, colours, on_gpu=False)]
    if on_gpu:
        panels.insert(0, _panel([cost for cost in costs if cost.gpu_minutes], colours, on_gpu=True))
    totals = sum(cost.cpu_minutes for cost in costs), sum(cost.gpu_minutes for cost in costs)
    return [
        Drawing(
            name="cost",
            section="cost",
            title="What it cost",
            caption="From the benchmark files that lay below the results when this figure was made; another run takes "
            "other times. CPU minutes are those of all cores, GPU minutes the wall time of a job times its GPUs. Rows "
            "a second: of a job's whole time, loading the model included. A job that found its work in the store cost "
            "little.",
            description=f"In all {number(totals[0])} CPU minutes"
            + (f" and {number(totals[1])} GPU minutes. " if on_gpu else ", no GPU. ")
            + "; ".join(
                f"{cost.step}, {cost.owner}: {_text(cost, False)}"
                + (f", {_text(cost, True)}" if cost.gpu_minutes else "")
                for cost in costs
            )
            + ".",
            chart=alt.vconcat(*panels, spacing=18),
        )
    ]


def _text(cost: Cost, on_gpu: bool) -> str:
    minutes = cost.gpu_minutes if on_gpu else cost.cpu_minutes
    rate = "" if cost.rows_per_second is None else f", {number(cost.rows_per_second)} rows/s"
    return f"{number(minutes)} {'GPU ' if on_gpu else ''}min{rate}"


def _panel(costs: Sequence[Cost], colours: Mapping[str, str], *, on_gpu: bool) -> Panel:
    labels = [f"{cost.step}, {short_system(cost.owner, 16)}" for cost in costs]
    data = chart_data(
        {
            "label": label,
            "minutes": cost.gpu_minutes if on_gpu else cost.cpu_minutes,
            "text": _text(cost, on_gpu),
            "colour": colours.get(cost.owner.split("+")[0], MUTED) if cost.step in ("training", "answers") else MUTED,
        }
        for label, cost in zip(labels, costs, strict=True)
    )
    width = WIDTH - LABELS - NUMBERS
    base = alt.Chart(data).encode(y=alt.Y("label:N", sort=labels, axis=label_axis()))
    bar = base.mark_bar(height=11).encode(
        x=alt.X("minutes:Q", title=f"{'GPU' if on_gpu else 'CPU'} minutes", axis=alt.Axis(tickCount=4, format=",.3~r")),
        color=alt.Color("colour:N", scale=None),
    )
    text = base.mark_text(align="left", fontSize=SMALL, color=INK).encode(x=alt.value(width + 8), text="text:N")
    return alt.layer(bar, text).properties(width=width, height=20 * len(costs))
