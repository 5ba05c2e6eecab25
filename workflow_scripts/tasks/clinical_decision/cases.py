"""The end of a case as a source writes it: pathology, discharge diagnosis, coded diagnoses and procedures."""

import json
from collections.abc import Mapping

from workflow_scripts.core.answers import BadAnswer
from workflow_scripts.core.files import loads
from workflow_scripts.tasks.clinical_decision.evaluation import Case
from workflow_scripts.tasks.clinical_decision.guidelines import guidelines

LISTS = ("icd_diagnoses", "procedures_icd9", "procedures_icd10", "procedures_discharge")
"""Keys of a source's value that hold lists; each may be missing."""


def case_of(raw: object) -> Case:
    """The case that a source's value describes: an object, or its JSON as text. A code of ICD-9 becomes a number.

    Raises:
        BadAnswer: it is none, or its pathology has no guideline.
    """
    if isinstance(text := raw, str):
        try:
            raw = loads(text)
        except (ValueError, RecursionError):
            raise BadAnswer("wrong_answer_type", f"{text[:60]!r} is not the JSON of an object") from None
    if raw is None or raw == {}:
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    if not isinstance(raw, Mapping):
        raise BadAnswer("wrong_answer_type", f"expected an object, found {type(raw).__name__}")
    pathologies = guidelines().pathologies
    pathology = str(raw.get("pathology", "")).strip().lower()
    if pathology not in pathologies:
        raise BadAnswer(
            "answer_not_an_option", f"pathology is {pathology[:60]!r}; expected one of {', '.join(pathologies)}"
        )
    lists = {key: _listed(raw, key) for key in LISTS}
    return Case(
        pathology,
        str(raw.get("discharge_diagnosis") or ""),
        lists["icd_diagnoses"],
        tuple(int(code) if code.isascii() and code.isdigit() else code for code in lists["procedures_icd9"]),
        lists["procedures_icd10"],
        lists["procedures_discharge"],
    )


def _listed(raw: Mapping[str, object], key: str) -> tuple[str, ...]:
    values = raw.get(key) or []
    if not isinstance(values, list) or not all(isinstance(value, str | int) for value in values):
        raise BadAnswer("wrong_answer_type", f"{key} is {json.dumps(values)[:60]}; expected a list of texts")
    return tuple(map(str, values))
