"""What the page says first: how many records can be used, and what somebody should look at or decide."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

from workflow_scripts.core.rows import AuditFinding, Convention, QuarantinedRow, Row
from workflow_scripts.data.auditing.balance import Balance
from workflow_scripts.data.auditing.leaks import ORDER, Leaks

HARMLESS = ("superseded", "duplicate")
"""Reasons for quarantine under which nothing is lost: an equal row is used."""
MANY, MOST = 0.05, 0.2
"""Shares of a folder's records in quarantine from which on it is mentioned, and called a problem."""
AGREEMENT = 0.9
"""Share of the rows that agree with a convention below which it is mentioned."""
DOMINANT = 0.9
"""Share of one label from which on it is mentioned."""
LISTED = 3
"""Places that one line names."""

Level = Literal["problem", "look", "note"]


@dataclass(frozen=True)
class Point:
    """Something that a reader should know, and where the page shows it."""

    level: Level  # problem: act; look: judge for yourself; note: it was dealt with
    text: str
    link: str  # fragment of the page


@dataclass(frozen=True)
class FolderCount:
    """The records of one subset in one split folder."""

    subset: str
    folder: str
    rows: int
    quarantined: int
    lost: int  # quarantined, and no equal row is used
    left_out: int  # rows that training leaves out

    @property
    def records(self) -> int:
        """Rows and quarantined records."""
        return self.rows + self.quarantined


def folder_counts(rows: Sequence[Row], quarantine: Sequence[QuarantinedRow], leaks: Leaks) -> list[FolderCount]:
    """Records of each subset and split folder, in their order."""
    usable = Counter((row.subset, row.folder) for row in rows)
    entries = [entry for entry in quarantine if entry.source_row is not None]
    quarantined = Counter((entry.subset, entry.folder) for entry in entries)
    lost = Counter((entry.subset, entry.folder) for entry in entries if entry.reason not in HARMLESS)
    left_out = Counter((entry.row.subset, entry.row.folder) for entry in leaks.shared)
    places = sorted({*usable, *quarantined}, key=lambda place: (place[0], _order(place[1])))
    return [FolderCount(*place, usable[place], quarantined[place], lost[place], left_out[place]) for place in places]


def _order(folder: str) -> int:
    return ORDER.index(folder) if folder in ORDER else len(ORDER)


def findings_link(**filters: str) -> str:
    """The fragment under which the page lists the findings of these filters."""
    return f"#{urlencode(filters)}"


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def verdict(counts: Sequence[FolderCount], files: int) -> str:
    """How many records can be used, in a sentence or two.

    Args:
        counts: of each subset and split folder.
        files: question files that could not be read.
    """
    records = sum(count.records for count in counts)
    quarantined, lost = sum(count.quarantined for count in counts), sum(count.lost for count in counts)
    left_out = sum(count.left_out for count in counts)
    usable = sum(count.rows for count in counts) - left_out
    text = f"{usable:,} of {counted(records, 'record')} can be used"
    if quarantined:
        text += f"; {quarantined:,} {'is' if quarantined == 1 else 'are'} in quarantine"
        if lost < quarantined:
            text += f", {quarantined - lost:,} of them because an equal row is used"
    if left_out:
        text += f"; {left_out:,} {'is' if left_out == 1 else 'are'} left out of training, since "
        text += f"{'its' if left_out == 1 else 'their'} image or case is in a later folder too"
    if files:
        text += f". {counted(files, 'question file').capitalize()} could not be read at all"
    return text + "."


def points(
    counts: Sequence[FolderCount],
    findings: Sequence[AuditFinding],
    conventions: Sequence[Convention],
    balance: Sequence[Balance],
) -> list[Point]:
    """What a reader should know, problems first.

    Args:
        counts: of each subset and split folder.
        findings: all of them.
        conventions: of all subsets.
        balance: of all subsets and tasks with labels.
    """
    kinds = Counter(finding.kind for finding in findings)
    unread = Counter(finding.kind for finding in findings if finding.source_row is None)
    listed = [
        *(
            Point("problem", f"{counted(number, 'question file')}: {kind.replace('_', ' ')}", findings_link(kind=kind))
            for kind, number in unread.items()
        ),
        *_of_quarantine(counts, findings),
        *_of_labels(balance),
        *_of_conventions(conventions),
    ]
    for kind, text in (
        ("near_duplicate", "with an image that looks like one of a later folder stay in: compare the two"),
        ("swapped_boxes", "whose two structures may be exchanged"),
        ("kept_defect", "that a policy uses in spite of a defect"),
        ("repaired", "that a policy repaired"),
    ):
        if kinds[kind]:
            link = "#look-alikes" if kind == "near_duplicate" else findings_link(kind=kind)
            listed.append(Point("look", f"{counted(kinds[kind], 'row')} {text}", link))
    leaks = kinds["leaked_image"] + kinds["leaked_case"]
    if leaks:
        text = f"{counted(leaks, 'row')} tied to a later folder by an image or a case: left out of training"
        listed.append(Point("note", text, "#leaks"))
    order = {"problem": 0, "look": 1, "note": 2}
    return sorted(listed, key=lambda point: order[point.level])


def _of_quarantine(counts: Sequence[FolderCount], findings: Sequence[AuditFinding]) -> list[Point]:
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for finding in findings:
        if finding.action == "quarantined" and finding.source_row is not None and finding.kind not in HARMLESS:
            reasons.setdefault((finding.subset, finding.folder), Counter())[finding.kind] += 1
    worst = sorted(
        (count for count in counts if count.lost > MANY * count.records),
        key=lambda count: (-count.lost / count.records, count.subset),
    )
    listed = []
    for count in worst:
        (reason, number), *_ = reasons[count.subset, count.folder].most_common(1)
        share = count.lost / count.records
        text = f"{count.subset}, {count.folder}: {count.lost:,} of {counted(count.records, 'record')} "
        text += f"({100 * share:.0f} %) cannot be used, {number:,} for {reason.replace('_', ' ')}"
        link = findings_link(action="quarantined", subset=count.subset, folder=count.folder)
        listed.append(Point("problem" if share >= MOST else "look", text, link))
    return listed


def _of_labels(balance: Sequence[Balance]) -> Iterable[Point]:
    for entry in balance:
        untrained = [line.label or "(none)" for line in entry.lines if line.untrained]
        if untrained:
            text = f"{entry.subset}: {counted(len(untrained), 'label')} of later folders in no training row: "
            yield Point("problem", text + _named(untrained), "#balance")
    dominant = [
        f"{entry.subset} ({100 * line.shares[0].share:.0f} % {line.label or 'none'})"
        for entry in balance
        for line in entry.lines
        if line.shares[0].share >= DOMINANT
    ]
    if dominant:
        yield Point("look", f"One label has nearly all rows: {_named(dominant)}", "#balance")


def _of_conventions(conventions: Sequence[Convention]) -> Iterable[Point]:
    doubtful = [
        f"{entry.subset} ({entry.field.replace('_', ' ')}: {entry.votes:,} of {entry.rows:,} rows agree)"
        for entry in conventions
        if entry.rows and entry.votes < AGREEMENT * entry.rows
    ]
    if doubtful:
        yield Point("look", f"Rows disagree about a convention: {_named(doubtful)}", "#conventions")
    borrowed = sorted({entry.subset for entry in conventions if entry.source == "other rows"})
    if borrowed:
        text = f"Conventions learned outside training, for want of training rows: {_named(borrowed)}"
        yield Point("look", text, "#conventions")


def _named(names: Sequence[str]) -> str:
    cut = [name if len(name) <= 120 else f"{name[:120]} …" for name in names[:LISTED]]
    more = len(names) - len(cut)
    return ", ".join(cut) + (f" and {more} more" if more > 0 else "")
