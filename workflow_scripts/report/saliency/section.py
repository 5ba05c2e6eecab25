"""What the page's section on explanation maps says: measures of each method beside those that it should beat."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.saliency.rows import CENTRED, OWN, RANDOMISED, SaliencyValue
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.saliency.overlays import METHODS

MEASURES = {
    "deletion_auc": "deletion ↓",
    "insertion_auc": "insertion ↑",
    "pointing_game": "pointing game ↑",
    "mass_in_box": "mass in boxes ↑",
    "rank_correlation": "correlation with redrawn weights",
}
"""Columns of the table of maps."""
WHOSE = {OWN: "the model", RANDOMISED: "redrawn weights", CENTRED: "Gaussian in the middle"}
CHANCE = {"pointing_game": "pointing_chance", "mass_in_box": "box_area"}
REGIONS = {"changed_box": "reference boxes", "changed_top": "top of {}"}


@dataclass(frozen=True)
class MapLine:
    """One map's measures as texts: value and interval by column, empty where there is none."""

    method: str
    whose: str
    cells: list[tuple[str, str]]
    own: bool


@dataclass(frozen=True)
class FillLine:
    """How often the answer changed when a region was filled, there and elsewhere, and the difference."""

    region: str
    cells: list[tuple[str, str]]


@dataclass(frozen=True)
class SaliencySection:
    """One entry of `saliency` on the page."""

    name: str
    system: str
    rows: int
    boxed: int  # rows that have reference boxes
    maps: list[MapLine]
    fills: list[FillLine]
    cautions: list[str]
    measures: tuple[str, ...] = tuple(MEASURES.values())  # columns of the table of maps


def saliency_sections(table: Path | None) -> list[SaliencySection]:
    """The entries of the table of measures, in its order; none without a table."""
    if table is None:
        return []
    by_name: dict[str, list[SaliencyValue]] = {}
    for value in read_rows(table, SaliencyValue):
        by_name.setdefault(value.name, []).append(value)
    return [_section(name, values) for name, values in by_name.items()]


def _section(name: str, values: Sequence[SaliencyValue]) -> SaliencySection:
    known = {(value.method, value.weights, value.measure): value for value in values}
    methods = [method for method in METHODS if any(value.method == method for value in values)]
    maps = [
        MapLine(METHODS[method], WHOSE[weights], _cells(known, method, weights), weights == OWN)
        for method in methods
        for weights in (OWN, RANDOMISED)
        if (method, weights, "deletion_auc") in known
    ]
    if ("", CENTRED, "deletion_auc") in known:
        maps.append(MapLine("", WHOSE[CENTRED], _cells(known, "", CENTRED), False))
    if ("", "", "box_area") in known:
        chance = [_text(known.get(("", "", CHANCE.get(measure, "")))) for measure in MEASURES]
        maps.append(MapLine("", "chance", chance, False))
    fills = []
    for (method, weights, measure), value in known.items():
        if measure in REGIONS:
            others = (known.get((method, weights, f"{measure}_{kind}")) for kind in ("random", "difference"))
            region = REGIONS[measure].format(METHODS.get(method, ""))
            fills.append(FillLine(region, [_text(value), *map(_text, others)]))
    boxed = known.get(("", "", "box_area"))
    return SaliencySection(
        name,
        values[0].system,
        max(value.rows for value in values),
        boxed.rows if boxed else 0,
        maps,
        fills,
        [line for method in methods if (line := _caution(known, method))],
    )


def _cells(known: dict[tuple[str, str, str], SaliencyValue], method: str, weights: str) -> list[tuple[str, str]]:
    return [_text(known.get((method, weights, measure))) for measure in MEASURES]


def _text(value: SaliencyValue | None) -> tuple[str, str]:
    """A value with its interval."""
    return ("", "") if value is None else (f"{value.value:.2f}", f"[{value.low:.2f}, {value.high:.2f}]")


def _caution(known: dict[tuple[str, str, str], SaliencyValue], method: str) -> str | None:
    """What a reader should not believe of a method's maps; None where nothing stands against them."""
    correlation = known.get((method, OWN, "rank_correlation"))
    if correlation is not None and correlation.low > 0.5:
        return (
            f"Maps by {METHODS[method]} hardly change when the weights are redrawn: they show the image, not the model."
        )
    own, centred = known.get((method, OWN, "insertion_auc")), known.get(("", CENTRED, "insertion_auc"))
    if own is not None and centred is not None and own.high < centred.low:
        return f"A Gaussian in the middle of the image explains the answers better than {METHODS[method]} does."
    return None
