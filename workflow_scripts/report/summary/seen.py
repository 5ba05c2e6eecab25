"""Which evaluated rows a tuned system's training saw: the same image or case, or an image that looks the same."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from workflow_scripts.core.rows import AuditFinding, Row
from workflow_scripts.report.summary.cautions import Caution

NEAR_DUPLICATE = "near_duplicate"
"""The audit's kind of finding: an image of a row looks like one of a later split folder."""


@dataclass(frozen=True)
class SeenRows:
    """By tuned system, the uids of evaluated rows that its training saw."""

    same: Mapping[str, frozenset[str]]  # the image or the case
    alike: Mapping[str, frozenset[str]]  # of the others, an image that looks the same


def seen_rows(
    rows: Sequence[Row],
    training: Mapping[str, Sequence[Row]],
    trained_on: Iterable[tuple[str, str]],
    findings: Iterable[AuditFinding] = (),
) -> SeenRows:
    """What each system's training saw of the evaluated rows.

    Args:
        rows: of the evaluated split.
        training: rows of training splits, by split.
        trained_on: tuned system and its training split, pair by pair.
        findings: the audit's.
    """
    pairs = [(system, split) for system, split in trained_on if split in training]
    near = [finding for finding in findings if finding.kind == NEAR_DUPLICATE]
    same = {split: seen_in_training(rows, training[split]) for _, split in pairs}
    alike = {split: alike_in_training(rows, training[split], near) - same[split] for _, split in pairs}
    return SeenRows({system: same[split] for system, split in pairs}, {system: alike[split] for system, split in pairs})


def seen_in_training(rows: Sequence[Row], training: Iterable[Row]) -> frozenset[str]:
    """The uids of evaluated rows whose image or whose case of the same subset is among the training rows."""
    images: set[str] = set()
    cases: set[str] = set()
    for row in training:
        images.update(image.sha256 for image in row.images)
        cases.add(row.case_id)
    return frozenset(
        row.uid for row in rows if row.case_id in cases or any(image.sha256 in images for image in row.images)
    )


def alike_in_training(rows: Sequence[Row], training: Iterable[Row], near: Iterable[AuditFinding]) -> frozenset[str]:
    """The uids of evaluated rows with an image that looks like one of a training row, as the audit lists them.

    A finding is of the training row, and its detail reads `PATH looks like PATH of UID (…)`.
    """
    paths = {row.uid: [image.path for image in row.images] for row in training}
    evaluated = {image.path for row in rows for image in row.images}
    shown = {
        path
        for finding in near
        for own in paths.get(finding.uid or "", ())
        if finding.detail.startswith(start := f"{own} looks like ")
        for path in _beginnings(finding.detail[len(start) :])
        if path in evaluated
    }
    images = {image.sha256 for row in rows for image in row.images if image.path in shown}
    return frozenset(row.uid for row in rows if any(image.sha256 in images for image in row.images))


def _beginnings(text: str) -> Iterator[str]:
    """What stands before each ` of `: one of them is the path, which may hold the word itself."""
    place = text.find(" of ")
    while place >= 0:
        yield text[:place]
        place = text.find(" of ", place + 1)


def seen_cautions(seen: SeenRows, rows: int) -> list[Caution]:
    """Systems that were trained on evaluated rows, or on images that look like theirs.

    Args:
        seen: by system.
        rows: how many there are.
    """
    same = [
        f"{system} was trained on the image or the case of {len(uids)} of the {rows} evaluated rows: its numbers are"
        " too good. Those cases are marked."
        for system, uids in seen.same.items()
        if uids
    ]
    alike = [
        f"{system} was trained on images that look like those of {len(uids)} of the {rows} evaluated rows (another"
        " encoding or size, or a crop; the audit lists them): its numbers may be too good. Those cases are marked."
        for system, uids in seen.alike.items()
        if uids
    ]
    return [Caution(text) for text in same + alike]
