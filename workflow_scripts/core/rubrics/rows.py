"""Rows about how far a judge of rubrics agrees with human scores."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ValidityScore:
    """One answer that raters and the judge scored."""

    judge: str  # name in the configuration
    rubric: str
    pair: str  # as in JudgedPair
    status: str  # valid, abstained, invalid
    score: float | None  # the judge's
    human: tuple[float, ...]  # of each rater


@dataclass(frozen=True, slots=True)
class ValidityMeasure:
    """One measure of agreement of a judge with raters on one rubric, with its interval."""

    judge: str
    rubric: str
    measure: str  # kappa, linear_kappa, weighted_kappa, bias, or raters: the raters' own agreement by the same measure
    value: float | None  # None: undefined, as where all scores are one
    low: float | None
    high: float | None
    answers: int  # that raters scored
    scored: int  # of them, those to which the judge gave a score
    abstained: int
    invalid: int
    raters: int  # scores of an answer at most
    decisive: bool  # the measure that the configuration names
    at_least: float
    valid: bool  # whether the judge's columns of this rubric are relied on


@dataclass(frozen=True, slots=True)
class CalibrationPoint:
    """The mean human score of the answers to which a judge gave one score."""

    judge: str
    rubric: str
    score: float  # the judge's; of a rubric with many values, the mean of a tenth of the answers
    human: float
    low: float | None
    high: float | None
    answers: int
