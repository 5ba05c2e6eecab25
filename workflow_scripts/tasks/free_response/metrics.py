"""Metrics of answers in free text: scores by rubrics and of texts, as facts that add up, with worst-case bounds.

A rubric's score stands on its own scale, over the rows that are graded by it: `bond` from 0 to 5, `likert` from 0 to 2,
`r_idea` from 0 to 10, `management` from 0 to 100, `item_list` from 0 to 1. A part of a rubric is a stratum.
"""

from collections.abc import Collection, Sequence

import numpy as np

from workflow_scripts.core.metrics import Facts, ScoredAnswer, count_facts
from workflow_scripts.tasks.judged.scores import (
    Bound,
    ReportScores,
    ScoreKey,
    Scores,
    definition_of,
    in_order,
    read_share,
    score_metrics,
)

DEFINITIONS = {
    "bond": "Bond 2012",
    "likert": "the judge's",
    "r_idea": "R-IDEA",
    "management": "the case's",
    "item_list": "HealthBench",
    "bleu": "the text metric's",
    "rouge_l": "the text metric's",
    "chrf": "the text metric's",
    "meteor": "the text metric's",
    "meteor_stem": "the text metric's",
    "bertscore": "the text metric's",
}
"""Whose definition each score follows."""

BOUNDS = {
    "bond": (Bound("bond_lowest", 0.0), Bound("bond_highest", 5.0)),
    "likert": (Bound("likert_lowest", 0.0), Bound("likert_highest", 2.0)),
    "r_idea": (Bound("r_idea_lowest", 0.0), Bound("r_idea_highest", 10.0)),
    "management": (Bound("management_lowest", 0.0), Bound("management_highest", 100.0)),
    "item_list": (Bound("item_list_lowest", 0.0), Bound("item_list_highest", 1.0)),
}
"""A rubric's mean, had every row without a grade scored worst or best."""

RUBRICS = tuple(BOUNDS)
TEXT_METRICS = ("rouge_l", "chrf")
"""Metrics of texts that head the tables where no rubric does, the first that reads most references."""


def facts(answers: Sequence[ScoredAnswer], scores: Scores, headline: ScoreKey | None) -> Facts:
    """Facts of one system's answers; a metric counts the rows for which `scores` has a record.

    Args:
        answers: the system's answers.
        scores: the system's scores of these rows.
        headline: the primary metric, the same for all systems (`headline_of`); divided by the greatest score, it is
            the score of each row.

    Raises:
        ValueError: a score has no definition.
    """
    columns = count_facts(answers)
    by_uid = scores.get(headline, {}) if headline else {}
    most = BOUNDS[headline.metric][1].value if headline and headline.metric in BOUNDS else 1.0
    values = [by_uid.get(answer.uid, (None, ""))[0] for answer in answers]
    row_scores = np.array([np.nan if value is None else min(max(value / most, 0.0), 1.0) for value in values])
    metrics = []
    for key in sorted(scores, key=in_order):
        definition = definition_of(key, DEFINITIONS, __name__)
        bounds = BOUNDS.get(key.metric, ())
        metrics += score_metrics(columns, key, answers, scores[key], definition, bounds, primary=key == headline)
    return Facts(columns, metrics, row_scores)


def headline_of(scores: ReportScores, rule_based_judges: Collection[str]) -> ScoreKey | None:
    """The column that heads the tables: the rubric that grades most of these rows, by a judge whose validity is shown.

    A judge without recorded human scores, or one that agrees with them too little, heads nothing (its columns carry a
    note). Where no other is left, ROUGE-L heads, else chrF. A column with a value for less than half of its rows heads
    nothing either. Judges of one rubric stand in the order of their names.

    Args:
        scores: of all systems, of the rows of this task.
        rule_based_judges: judges that are no models; none of them grades by a rubric.
    """
    keys = {key for columns in scores.values() for key in columns if key.stratum is None}
    graded = [key for key in keys if key.metric in RUBRICS and key.note is None]
    size = {key: max(len(columns.get(key, {})) for columns in scores.values()) for key in graded}
    candidates = [*sorted(graded, key=lambda key: (-size[key], *in_order(key))), *map(ScoreKey, TEXT_METRICS)]
    return next((key for key in candidates if read_share(scores, key) >= 0.5), None)
