"""Decisions as a source knows them: the end of a case, from which the right decision follows."""

from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.clinical_decision.cases import case_of
from workflow_scripts.tasks.clinical_decision.evaluation import evaluated
from workflow_scripts.tasks.clinical_decision.guidelines import guidelines


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Nothing is learned: the form is the evaluator's."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """`Final Diagnosis:` and `Treatment:`, each with a text."""
    return ExpectedFormat()


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """The diagnosis and the treatments that the case needed, as text to learn.

    Raises:
        BadAnswer: the source's value describes no case of a known pathology.
    """
    case = case_of(raw)
    treatments = guidelines().pathologies[case.pathology].treatments
    required = evaluated(case, "").treatments_required
    needed = "; ".join(treatment.written for name, treatment in treatments.items() if required[name])
    return Answer(f"Final Diagnosis: Acute {case.pathology}\nTreatment: {needed}")


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """Any decision fits every question."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
