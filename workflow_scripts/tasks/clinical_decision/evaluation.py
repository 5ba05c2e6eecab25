"""A decision beside its case: what the evaluator of MIMIC-CDM says of it, point by point.

Equal to that evaluator (github.com/paulhager/MIMIC-Clinical-Decision-Making-Framework at e1b4a52) on what it is given:
`tests/tasks/clinical_decision_vectors.json`. Phrases are found by rules in place of its recogniser: see `negation`.
"""

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from workflow_scripts.tasks.clinical_decision.diagnosis import Stated, stated
from workflow_scripts.tasks.clinical_decision.guidelines import Guideline, Located, Name, Treatment, guidelines
from workflow_scripts.tasks.clinical_decision.negation import is_affirmed

ALIKE = 90
"""Similarity in per cent above which a word is the diagnosis, misspelt."""

_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Case(NamedTuple):
    """What is known of a case at its end."""

    pathology: str
    discharge_diagnosis: str = ""
    icd_diagnoses: tuple[str, ...] = ()
    procedures_icd9: tuple[int | str, ...] = ()
    procedures_icd10: tuple[str, ...] = ()
    procedures_discharge: tuple[str, ...] = ()


class Action(NamedTuple):
    """One step of a text that asks for information before it decides."""

    tool: str  # Physical Examination, Laboratory Tests, Imaging, …
    tests: tuple[int | str, ...] = ()  # items, or what is no known one
    region: str = ""
    modality: str = ""
    in_form: bool = True
    known: bool = True  # whether the tool exists


@dataclass
class Evaluation:
    """What is said of a decision."""

    stated: Stated
    diagnosis: bool = False
    gracious_diagnosis: bool = False
    examination_first: bool = False
    examination_late: bool = False  # at any time
    laboratory: int = 0  # categories with a test
    imaging: int = 0  # points
    laboratory_tests: dict[str, list[int]] = field(default_factory=dict)
    needless_tests: list[int | str] = field(default_factory=list)
    images: list[tuple[str, str]] = field(default_factory=list)  # region, modality
    needless_images: list[tuple[str, str]] = field(default_factory=list)
    invalid_tools: int = 0
    actions_in_form: bool = True
    rounds: int = 0
    treatments_requested: dict[str, bool] = field(default_factory=dict)
    treatments_required: dict[str, bool] = field(default_factory=dict)


def evaluated(case: Case, text: str, actions: Sequence[Action] = ()) -> Evaluation:
    """What the evaluator says of a decision.

    Raises:
        KeyError: the pathology has no guideline.
    """
    guideline = guidelines().pathologies[case.pathology]
    evaluation = Evaluation(stated(text), rounds=len(actions))
    evaluation.laboratory_tests = {category: [] for category in guideline.laboratory}
    for place, action in enumerate(actions):
        _follow(evaluation, guideline, case, action, place)
    diagnosis = evaluation.stated.diagnosis
    evaluation.diagnosis = _is_named(diagnosis, case.pathology) or _is_one_of(diagnosis, guideline.names)
    evaluation.gracious_diagnosis = evaluation.diagnosis or _is_one_of(diagnosis, guideline.gracious_names)
    for name, treatment in guideline.treatments.items():
        required, requested = _treatment(case, treatment, evaluation.stated.treatment)
        evaluation.treatments_required[name], evaluation.treatments_requested[name] = required, requested
    return evaluation


def similarity(word: str, other: str) -> int:
    """How alike two words are in per cent: twice the longest common subsequence over both lengths, rounded."""
    lengths = [0] * (len(other) + 1)
    for letter in word:
        diagonal = 0
        for place, beside in enumerate(other, start=1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if letter == beside else max(above, lengths[place - 1])
            diagonal = above
    return round(100 * 2 * lengths[-1] / max(1, len(word) + len(other)))


def _is_named(diagnosis: str, pathology: str) -> bool:
    """Whether a word of the diagnosis is the pathology's name, and is not denied."""
    words = diagnosis.lower().translate(_WITHOUT_PUNCTUATION).split()
    return any(similarity(word, pathology) > ALIKE and is_affirmed(diagnosis, word) for word in words)


def _is_one_of(diagnosis: str, names: Iterable[Name]) -> bool:
    plain = diagnosis.lower().translate(_WITHOUT_PUNCTUATION)
    return any(
        word in plain
        and name.location in plain
        and is_affirmed(diagnosis, name.location)
        and is_affirmed(diagnosis, word)
        for name in names
        for word in name.modifiers
    )


def _follow(evaluation: Evaluation, guideline: Guideline, case: Case, action: Action, place: int) -> None:
    """Count one action."""
    evaluation.actions_in_form &= action.in_form
    evaluation.invalid_tools += not action.known
    if action.tool == "Physical Examination":
        evaluation.examination_first |= place == 0
        evaluation.examination_late = True
    elif action.tool == "Laboratory Tests":
        for test in action.tests:
            _order_test(evaluation, guideline, case.pathology, test)
    elif action.tool == "Imaging":
        _order_image(evaluation, guideline, case, (action.region, action.modality))


def _order_test(evaluation: Evaluation, guideline: Guideline, pathology: str, test: int | str) -> None:
    """A test counts once a category; one that is neither needed nor neutral is needless."""
    for category, items in guideline.laboratory.items():
        if isinstance(test, int) and test in items:
            evaluation.laboratory += not evaluation.laboratory_tests[category]
            evaluation.laboratory_tests[category].append(test)
            return
    if test not in guidelines().neutral(pathology):
        evaluation.needless_tests.append(test)


def _order_image(evaluation: Evaluation, guideline: Guideline, case: Case, image: tuple[str, str]) -> None:
    """The first image that helps gives the points; a second one of the kind, or one that does not help, is needless."""
    region, modality = image
    helps = region == "Abdomen" and (modality in guideline.imaging or modality in guideline.imaging_if_diagnosed)
    if helps and modality in guideline.imaging:
        evaluation.imaging = evaluation.imaging or guideline.imaging[modality]
    elif helps and _is_diagnosed(case, guideline.imaging_if_diagnosed[modality]):
        evaluation.imaging += 1
    (evaluation.images if helps and image not in evaluation.images else evaluation.needless_images).append(image)


def _is_diagnosed(case: Case, keyword: str) -> bool:
    return any(is_affirmed(text, keyword) for text in (*case.icd_diagnoses, case.discharge_diagnosis))


def _treatment(case: Case, treatment: Treatment, text: str) -> tuple[bool, bool]:
    """Whether the case needs a treatment, and whether the text asks for it."""
    if treatment.if_diagnosed is not None:
        if not _is_diagnosed(case, treatment.if_diagnosed):
            return treatment.required, False
        return True, _is_requested(treatment, text)
    done = (
        any(code in case.procedures_icd9 for code in treatment.icd9)
        or _any_affirmed(case.procedures_icd10, treatment.icd10)
        or (
            _any_affirmed(case.procedures_discharge, treatment.done)
            and (not treatment.done_at or _any_affirmed(case.procedures_discharge, treatment.done_at))
        )
    )
    return treatment.required or done, _is_requested(treatment, text)


def _any_affirmed(texts: Iterable[str], keywords: Iterable[str]) -> bool:
    texts = tuple(texts)
    return any(is_affirmed(text, keyword) for keyword in keywords for text in texts)


def _is_requested(treatment: Treatment, text: str) -> bool:
    groups = treatment.requested
    if groups and all(_any_affirmed([text], group) for group in groups):
        return True
    return treatment.located is not None and _is_located(treatment.located, text)


def _is_located(located: Located, text: str) -> bool:
    """Whether one sentence affirms a place and a measure."""
    return any(
        is_affirmed(sentence, place) and is_affirmed(sentence, measure)
        for sentence in text.split(".")
        for place in located.places
        for measure in located.measures
    )
