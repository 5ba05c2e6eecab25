"""The audit as one HTML page that needs no network: images are inside, and all text of the data is escaped."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from workflow_scripts.core.pages import render_page
from workflow_scripts.core.rows import AuditFinding, Convention, SubsetSummary
from workflow_scripts.data.auditing import charts
from workflow_scripts.data.auditing.attention import AGREEMENT, FolderCount, Point, counted, findings_link
from workflow_scripts.data.auditing.balance import Balance
from workflow_scripts.data.auditing.distributions import Distributions, Histogram, ImageGroup
from workflow_scripts.data.auditing.leaks import ORDER, LeakGroup, Leaks, LookAlike
from workflow_scripts.data.auditing.listing import Example, listing, short
from workflow_scripts.data.auditing.remedies import REMEDIES
from workflow_scripts.data.auditing.thumbnails import Thumbnails
from workflow_scripts.data.conversion.reasons import FINDINGS, REASONS

TEMPLATE, STYLES, SCRIPT = "page.html.jinja", "page.css", "page.js"
GROUPS_SHOWN, PAIRS_SHOWN = 24, 48
"""Leak groups, and pairs of images that look alike, that are shown with images."""
FEW_CONVENTIONS, MOST_CONVENTIONS = 12, 200
"""Conventions of a subset that are shown at once, and in a list that opens."""

ACTIONS = ("quarantined", "left out", "kept", "repaired")
"""In the order in which they are listed."""


@dataclass(frozen=True)
class Overview:
    """What the page says besides the findings."""

    name: str  # of the dataset; empty where it is not known
    verdict: str
    points: Sequence[Point]
    counts: Sequence[FolderCount]
    tokens: str  # what lengths are counted in
    conventions: Sequence[Convention]
    summary: Sequence[SubsetSummary]
    balance: Sequence[Balance]
    distributions: Sequence[Distributions]
    images: Sequence[ImageGroup]
    leaks: Leaks


@dataclass(frozen=True)
class Kind:
    """A kind of finding."""

    name: str
    meaning: str
    remedy: str
    actions: str
    count: int
    example: str  # detail of the first


@dataclass(frozen=True)
class FolderLine:
    """The records of one split folder."""

    folder: str
    records: int
    usable: int  # neither quarantined nor left out
    left_out: int
    lost: int
    harmless: int  # quarantined because an equal row is used


@dataclass(frozen=True)
class PlaceLine:
    """A subset and split folder with its tasks."""

    count: FolderCount
    tasks: tuple[SubsetSummary, ...]


@dataclass(frozen=True)
class Plot:
    """A histogram with what stands above it."""

    histogram: Histogram
    detail: str  # unit, scale, and the task where the subset has several
    svg: Markup


@dataclass(frozen=True)
class Quantities:
    """The plots of one subset."""

    subset: str
    constant: str  # quantities that are one value everywhere
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class ShownImage:
    """An image with its path."""

    path: str
    source: str | None  # data URI


@dataclass(frozen=True)
class ShownGroup:
    """A leak group as the page shows it."""

    title: str
    link: str
    shared: str
    cases: str
    images: tuple[ShownImage, ...]


@dataclass(frozen=True)
class ShownPair:
    """Two images that look alike."""

    images: tuple[ShownImage, ShownImage]
    bits: int
    rows: int
    link: str


def render(
    root: Path, findings: Sequence[AuditFinding], examples: Mapping[str | None, Example], overview: Overview
) -> str:
    """The page.

    Args:
        root: folder that the images' paths start from.
        findings: all of them.
        examples: rows by uid, at least those that findings name.
        overview: what the page says besides.
    """
    here, thumbnails = Path(__file__).parent, Thumbnails(root)
    pairs = {entry.row.uid: (entry.path, entry.other_path) for entry in overview.leaks.alike}
    listed = listing(findings, examples, thumbnails, pairs)
    sources = list(thumbnails.sources)  # those that the list needs
    conventions: dict[str, list[Convention]] = {}
    for entry in overview.conventions:
        conventions.setdefault(entry.subset, []).append(entry)
    by_subset = sorted(conventions.items())
    return render_page(
        here,
        TEMPLATE,
        script=(here / SCRIPT).read_text(encoding="utf-8"),
        styles=(here / STYLES).read_text(encoding="utf-8"),
        overview=overview,
        folders=_folder_lines(overview.counts),
        places=_place_lines(overview),
        kinds=_kinds(findings),
        listed=listed,
        findings=len(findings),
        thumbnails=sources,
        few=[(subset, entries) for subset, entries in by_subset if len(entries) <= FEW_CONVENTIONS],
        many=[(subset, entries) for subset, entries in by_subset if len(entries) > FEW_CONVENTIONS],
        MOST_CONVENTIONS=MOST_CONVENTIONS,
        AGREEMENT=AGREEMENT,
        quantities=[_quantities(entry) for entry in overview.distributions],
        groups=[_shown_group(group, thumbnails) for group in overview.leaks.groups[:GROUPS_SHOWN]],
        pairs=_shown_pairs(overview.leaks.alike, thumbnails),
        alike=len({(pair.path, pair.other_path) for pair in overview.leaks.alike}),
        folder_class=charts.folder_class,
        number_text=charts.number_text,
        counted=counted,
        findings_link=findings_link,
        short=short,
    )


def _kinds(findings: Sequence[AuditFinding]) -> list[Kind]:
    """The kinds that there are: what is lost first, then by number."""
    meanings = REASONS | FINDINGS
    by_kind: dict[str, list[AuditFinding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    kinds = [
        Kind(
            kind,
            meanings[kind],
            REMEDIES[kind],
            ", ".join(sorted({finding.action for finding in listed}, key=ACTIONS.index)),
            len(listed),
            short(listed[0].detail, 160),
        )
        for kind, listed in by_kind.items()
    ]
    return sorted(kinds, key=lambda kind: (ACTIONS.index(kind.actions.split(", ")[0]), -kind.count, kind.name))


def _folder_lines(counts: Sequence[FolderCount]) -> list[FolderLine]:
    totals: dict[str, Counter[str]] = {}
    for count in counts:
        totals.setdefault(count.folder, Counter()).update(
            records=count.records,
            usable=count.rows - count.left_out,
            left_out=count.left_out,
            lost=count.lost,
            harmless=count.quarantined - count.lost,
        )
    order = sorted(totals, key=lambda folder: ORDER.index(folder) if folder in ORDER else len(ORDER))
    return [FolderLine(folder, **totals[folder]) for folder in order]


def _place_lines(overview: Overview) -> list[PlaceLine]:
    tasks: dict[tuple[str, str], list[SubsetSummary]] = {}
    for entry in overview.summary:
        tasks.setdefault((entry.subset, entry.folder), []).append(entry)
    return [PlaceLine(count, tuple(tasks.get((count.subset, count.folder), ()))) for count in overview.counts]


def _quantities(entry: Distributions) -> Quantities:
    listed = [("", histogram) for histogram in entry.images]
    several = len(entry.tasks) > 1
    listed += [(task if several else "", histogram) for task, histograms in entry.tasks for histogram in histograms]
    constant, plots = [], []
    for task, histogram in listed:
        svg, words = charts.histogram_svg(histogram), task.replace("_", " ")
        if svg is None:
            value = charts.number_text(histogram.series[0].median)
            constant.append(f"{histogram.quantity}{f' of {words}' if words else ''} {value}")
        else:
            details = (words, histogram.unit, "logarithmic" if histogram.logarithmic else "")
            plots.append(Plot(histogram, ", ".join(filter(None, details)), svg))
    return Quantities(entry.subset, ", ".join(constant), tuple(plots))


def _shown_group(group: LeakGroup, thumbnails: Thumbnails) -> ShownGroup:
    by_folder = Counter(row.folder for row in group.rows)
    folders = [f"{counted(by_folder[folder], 'row')} in {folder}" for folder in ORDER if by_folder[folder]]
    ties = [counted(len(group.images), "image")] if group.images else []
    ties += [counted(len(group.cases), "case")] if group.cases else []
    # Without a shared image, the first image of each folder's first row shows what the case is.
    first = {row.folder: row.images[0].path for row in reversed(group.rows) if row.images}
    paths = group.images[0] if group.images else tuple(first[folder] for folder in ORDER if folder in first)
    return ShownGroup(
        title=" · ".join(folders),
        link=findings_link(text=group.rows[0].uid),
        shared=f"{' and '.join(ties)} shared",
        cases=short(", ".join(group.cases), 160),
        images=tuple(ShownImage(path, thumbnails.source(path)) for path in paths[:4]),
    )


def _shown_pairs(alike: Sequence[LookAlike], thumbnails: Thumbnails) -> list[ShownPair]:
    pairs: dict[tuple[str, str], list[LookAlike]] = {}
    for entry in alike:
        pairs.setdefault((entry.path, entry.other_path), []).append(entry)
    nearest = sorted(pairs.items(), key=lambda item: (item[1][0].bits, item[0]))[:PAIRS_SHOWN]
    return [
        ShownPair(
            (ShownImage(one, thumbnails.source(one)), ShownImage(other, thumbnails.source(other))),
            entries[0].bits,
            len(entries),
            findings_link(kind="near_duplicate", text=one),
        )
        for (one, other), entries in nearest
    ]
