"""Decisions by the evaluator of MIMIC-CDM at e1b4a52, row by row, and their shares.

The primary `diagnosis_accuracy` is that evaluator's: it reads a diagnosis in whatever form, under the heading
`Diagnosis:`. Beside it, under `reading`, are the shares of right diagnoses among texts in the form that is asked for
(strict) and with texts that have no heading (lenient). Metrics of actions are over the rows whose text holds actions:
there are none in full-information mode.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    ScoredAnswer,
    Sums,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)
from workflow_scripts.tasks.clinical_decision.actions import actions_of, decision_of, with_heading
from workflow_scripts.tasks.clinical_decision.cases import case_of
from workflow_scripts.tasks.clinical_decision.evaluation import Case, Evaluation, evaluated
from workflow_scripts.tasks.clinical_decision.guidelines import guidelines
from workflow_scripts.tasks.language.text import LONGEST

MIMIC_CDM = "MIMIC-CDM e1b4a52"


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """What the evaluator says of each row; a row's score is 1 for a right diagnosis.

    Raises:
        BadAnswer: a row's source describes no case.
    """
    cases = [case_of(json.loads(answer.reference_raw)) for answer in answers]
    published = [_evaluated(case, answer.text) for case, answer in zip(cases, answers, strict=True)]
    meant = [
        evaluated(case, with_heading((answer.text or "")[:LONGEST]))
        for case, answer in zip(cases, answers, strict=True)
    ]
    columns = count_facts(answers)
    right = _column(published, lambda one: one.diagnosis)
    columns |= {
        "diagnosis": right,
        "gracious": _column(published, lambda one: one.gracious_diagnosis),
        "diagnosis form": _column(published, lambda one: not one.stated.diagnosis_form),
        "treatment form": _column(published, lambda one: not one.stated.treatment_form),
        "right strict": right * np.array([answer.strict is not None for answer in answers], dtype=float),
        "right lenient": _column(meant, lambda one: one.diagnosis),
    }
    metrics = [
        *_diagnosis_metrics(),
        *of_reading([_accuracy("right strict")], "strict"),
        *of_reading([_accuracy("right lenient")], "lenient"),
        wrong_format(),
    ]
    for part in (_by_pathology(cases, published, columns), _treatments(published), _actions(published)):
        columns |= part.columns
        metrics += part.metrics
    return Facts(columns, metrics, right)


def _evaluated(case: Case, text: str | None) -> Evaluation:
    text = (text or "")[:LONGEST]
    return evaluated(case, decision_of(text), actions_of(text))


def _column(evaluations: Sequence[Evaluation], fact: Callable[[Evaluation], float]) -> np.ndarray:
    return np.array([fact(one) for one in evaluations], dtype=float)


def _share(fact: str, rows: str = "rows") -> Callable[[Sums], np.ndarray]:
    return lambda sums: ratio(sums[fact], sums[rows])


def _accuracy(fact: str) -> Metric:
    return Metric("diagnosis_in_form", _share(fact), direction="higher", definition="flarebench (after MIMIC-CDM)")


def _diagnosis_metrics() -> list[Metric]:
    return [
        Metric("diagnosis_accuracy", _share("diagnosis"), direction="higher", definition=MIMIC_CDM, primary=True),
        Metric("gracious_diagnosis_accuracy", _share("gracious"), direction="higher", definition=MIMIC_CDM),
        Metric("diagnosis_out_of_form", _share("diagnosis form"), direction="lower", definition=MIMIC_CDM),
        Metric("treatment_out_of_form", _share("treatment form"), direction="lower", definition=MIMIC_CDM),
    ]


def _by_pathology(cases: Sequence[Case], published: Sequence[Evaluation], counted: dict[str, np.ndarray]) -> Facts:
    """Accuracies of each pathology, and their mean."""
    columns: dict[str, np.ndarray] = {}
    metrics = []
    pathologies = list(guidelines().pathologies)
    for pathology in pathologies:
        here = np.array([case.pathology == pathology for case in cases], dtype=float)
        columns |= {
            f"{fact} {pathology}": here * counted[fact] for fact in ("rows", "unread", "valid", "diagnosis", "gracious")
        }
        of_pathology = [
            Metric(
                "diagnosis_accuracy",
                _share(f"diagnosis {pathology}", f"rows {pathology}"),
                direction="higher",
                definition=MIMIC_CDM,
            ),
            Metric(
                "gracious_diagnosis_accuracy",
                _share(f"gracious {pathology}", f"rows {pathology}"),
                direction="higher",
                definition=MIMIC_CDM,
            ),
        ]
        metrics += [
            replace(
                one,
                stratum=pathology,
                rows=f"rows {pathology}",
                unread=f"unread {pathology}",
                valid=f"valid {pathology}",
            )
            for one in of_pathology
        ]

    def mean(sums: Sums) -> np.ndarray:
        shares = np.array([ratio(sums[f"diagnosis {name}"], sums[f"rows {name}"]) for name in pathologies])
        there = ~np.isnan(shares)
        return ratio(np.where(there, shares, 0.0).sum(axis=0), there.sum(axis=0))

    metrics.append(Metric("mean_diagnosis_accuracy", mean, direction="higher", definition=MIMIC_CDM))
    return Facts(columns, metrics)


def _treatments(published: Sequence[Evaluation]) -> Facts:
    """Of each treatment, the share of the cases that needed it in which it is asked for; and of all treatments."""
    names = sorted({name for guideline in guidelines().pathologies.values() for name in guideline.treatments})
    columns: dict[str, np.ndarray] = {}
    metrics = []
    for name in names:
        needed = f"{name} needed"
        required = np.array([one.treatments_required.get(name, False) for one in published], dtype=float)
        requested = np.array([one.treatments_requested.get(name, False) for one in published], dtype=float)
        columns |= {needed: required, f"{name} met": required * requested}
        metrics.append(
            Metric(
                "treatment_requested",
                _share(f"{name} met", needed),
                direction="higher",
                definition=MIMIC_CDM,
                stratum=name.lower(),
                rows=needed,
            )
        )
    columns["treatments needed"] = np.sum([columns[f"{name} needed"] for name in names], axis=0)
    columns["treatments met"] = np.sum([columns[f"{name} met"] for name in names], axis=0)
    metrics.append(
        Metric(
            "treatment_requested",
            _share("treatments met", "treatments needed"),
            direction="higher",
            definition=MIMIC_CDM,
        )
    )
    return Facts(columns, metrics)


def _actions(published: Sequence[Evaluation]) -> Facts:
    """What the texts that hold actions asked for; nothing where there is none."""
    acting = _column(published, lambda one: one.rounds > 0)
    if not acting.any():
        return Facts({}, [])
    columns = {
        "acting": acting,
        "examination first": _column(published, lambda one: one.examination_first),
        "examination": _column(published, lambda one: one.examination_late),
        "laboratory": acting * _column(published, lambda one: one.laboratory),
        "laboratory needed": acting * _column(published, lambda one: len(one.laboratory_tests)),
        "imaging": acting * _column(published, lambda one: one.imaging),
        "needless tests": acting * _column(published, lambda one: len(one.needless_tests)),
        "needless images": acting * _column(published, lambda one: len(one.needless_images)),
        "invalid tools": acting * _column(published, lambda one: one.invalid_tools),
        "rounds": acting * _column(published, lambda one: one.rounds),
    }
    metrics = [
        metric("examination_first", "examination first", direction="higher"),
        metric("examination", "examination", direction="higher"),
        metric("laboratory_coverage", "laboratory", "laboratory needed", direction="higher"),
        metric("imaging_points", "imaging", direction="higher"),
        metric("needless_tests", "needless tests", direction="lower"),
        metric("needless_images", "needless images", direction="lower"),
        metric("invalid_tools", "invalid tools", direction="lower"),
        metric("rounds", "rounds", direction="lower"),
    ]
    return Facts(columns, metrics)


def metric(name: str, fact: str, whole: str = "acting", *, direction: Literal["higher", "lower"]) -> Metric:
    """A metric over the rows whose text holds actions."""
    return Metric(name, _share(fact, whole), direction=direction, definition=MIMIC_CDM, rows="acting")
