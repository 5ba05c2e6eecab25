"""Rows of one task and subset with every system's answer, sorted by the kind of answer that the rows' columns show."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workflow_scripts.core.rows import Outcome, Row
from workflow_scripts.core.tasks import tasks

KINDS = ("instances", "boxes", "number", "labels", "places", "class", "text")
"""What an answer may be: the typed columns of `Row`; places are of words in a text, a class is one label, and free text
has no column."""


@dataclass(frozen=True)
class Answers:
    """One task of one subset. References and answers are as the task's readers give them, in the order of the rows."""

    task: str
    subset: str
    kind: str  # see KINDS
    rows: list[Row]
    references: list[object]
    strict: dict[str, list[object]]  # by system; None where an answer cannot be read
    outcomes: dict[str, list[Outcome]]  # by system


def answers_of(rows: Iterable[Row], outcomes: Iterable[Outcome], systems: Sequence[str]) -> list[Answers]:
    """Each task and subset with the answers of some systems; tasks in the order of their registry.

    Args:
        rows: of the split.
        outcomes: of all systems.
        systems: those to show, in their order.
    """
    of_row: dict[str, dict[str, Outcome]] = {}
    for outcome in outcomes:
        of_row.setdefault(outcome.uid, {})[outcome.system] = outcome
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.uid in of_row:
            groups.setdefault((row.task, row.subset), []).append(row)
    answers = []
    for task in tasks():
        for (name, subset), members in sorted(groups.items(), key=lambda entry: entry[0]):
            if name != task:
                continue
            present = [system for system in systems if all(system in of_row[row.uid] for row in members)]
            if not present:
                continue
            by_system = {system: [of_row[row.uid][system] for row in members] for system in present}
            first = [next(iter(of_row[row.uid].values())) for row in members]
            answers.append(
                Answers(
                    task=task,
                    subset=subset,
                    kind=kind_of(members, [json.loads(outcome.reference) for outcome in first]),
                    rows=members,
                    references=[json.loads(outcome.reference) for outcome in first],
                    strict={system: [_value(outcome) for outcome in of] for system, of in by_system.items()},
                    outcomes=by_system,
                )
            )
    return answers


def kind_of(rows: Sequence[Row], references: Sequence[object]) -> str:
    """The kind of answer that rows of one task have, by their typed columns and the references as they are read."""
    task = tasks()[rows[0].task]
    columns: Mapping[str, bool] = {
        "instances": any(row.instances is not None for row in rows),
        "boxes": any(row.boxes is not None for row in rows),
        "number": any(row.number is not None for row in rows),
        "labels": any(isinstance(reference, list) for reference in references)
        and any(row.labels is not None for row in rows),
        "places": any(isinstance(reference, list) for reference in references),
        "class": not (task.free_text or task.open_ended),
    }
    return next((kind for kind, present in columns.items() if present), "text")


def _value(outcome: Outcome) -> object:
    return None if outcome.strict is None else json.loads(outcome.strict)
