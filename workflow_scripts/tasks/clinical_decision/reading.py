"""Decisions as models write them: what is read of one is its diagnosis."""

import json

from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.clinical_decision.actions import decision_of, with_heading
from workflow_scripts.tasks.clinical_decision.cases import case_of
from workflow_scripts.tasks.clinical_decision.diagnosis import stated
from workflow_scripts.tasks.language.text import LONGEST


def read_strict(expected: ExpectedFormat, text: str) -> str | None:
    """The diagnosis of a text that has exactly the form which is asked for."""
    if len(text) > LONGEST:
        return None
    written = stated(decision_of(text))
    return written.diagnosis if written.diagnosis and written.diagnosis_form and written.treatment_form else None


def read_lenient(expected: ExpectedFormat, text: str) -> str | None:
    """The first diagnosis of a text, in whatever form."""
    return stated(with_heading(text[:LONGEST])).diagnosis or None


def reference(row: Row) -> str:
    """The pathology."""
    return case_of(json.loads(row.answer_raw)).pathology
