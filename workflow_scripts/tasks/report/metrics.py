"""Report metrics as facts that add up: scores by judges and of texts, their worst-case bounds, and output diversity.

Every other task scores an answer from its reading alone; reports are scored by judges and text metrics beforehand, in
the table of `ReportScore` rows.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np

from workflow_scripts.core.metrics import Facts, Metric, ScoredAnswer, Sums, count_facts, ratio
from workflow_scripts.tasks.judged.scores import (
    Bound,
    ReportScores,
    ScoreKey,
    Scores,
    definition_of,
    in_order,
    names,
    read_share,
    score_metrics,
)

DEFINITIONS = {
    "crimson": "the judge's",
    "green": "the judge's",
    "bleu": "the text metric's",
    "rouge_l": "the text metric's",
    "chrf": "the text metric's",
    "meteor": "the text metric's",
    "meteor_stem": "the text metric's",
    "bertscore": "the text metric's",
    "rule_green_2025": "FLARE 2025",
    "temporal_f1": "Libra",
}
"""Whose definition each score follows."""


BOUNDS = {
    "crimson": (Bound("crimson_lowest", -1.0), Bound("crimson_highest", 1.0)),
    "green": (Bound("green_lowest", 0.0), Bound("green_highest", 1.0)),
}
EFFICACY_COUNTS = ("efficacy_hits", "efficacy_reference", "efficacy_predicted")
"""Finding classes of a pair of reports: shared ones, the reference's, the prediction's. Counts, not scores."""


def facts(answers: Sequence[ScoredAnswer], scores: Scores, headline: ScoreKey | None) -> Facts:
    """Facts of one system's reports; a metric counts the rows for which `scores` has a record.

    Args:
        answers: the system's reports.
        scores: the system's scores.
        headline: the primary metric, the same for all systems (`headline_of`); it is the score of each row, cut to
            [0, 1].

    Raises:
        ValueError: a score has no definition.
    """
    columns = count_facts(answers) | _diversity(answers)
    by_uid = scores.get(headline, {}) if headline else {}
    row_values = [by_uid.get(answer.uid, (None, ""))[0] for answer in answers]
    row_scores = np.array([np.nan if value is None else min(max(value, 0.0), 1.0) for value in row_values])
    metrics: list[Metric] = []
    for key in sorted(scores, key=in_order):
        if key.metric not in EFFICACY_COUNTS:
            definition = definition_of(key, DEFINITIONS, __name__)
            bounds = BOUNDS.get(key.metric, ())
            metrics += score_metrics(columns, key, answers, scores[key], definition, bounds, primary=key == headline)
        elif key.metric == "efficacy_hits":
            metrics += _efficacy(columns, key.judge, answers, scores)
    return Facts(
        columns,
        [
            *metrics,
            Metric(
                "distinct_share",
                lambda s: ratio(s["first_seen"], s["rows"]),
                direction="higher",
                definition="flarebench",
                interval=False,
            ),
            Metric(
                "commonest_share",
                lambda s: ratio(s["commonest"], s["rows"]),
                direction="lower",
                definition="flarebench",
                interval=False,
            ),
        ],
        row_scores,
    )


def headline_of(scores: ReportScores, rule_based_judges: Collection[str]) -> ScoreKey | None:
    """The column that heads the tables: CRIMSON by a model judge, else GREEN by one, else ROUGE-L, else chrF.

    CRIMSON's formula by a rule-based judge goes before the text metrics where no model judges, and heads nothing where
    one does. A column that has a value for less than half of the rows (of a judge that abstains outside chest X-ray; of
    ROUGE-L in a script that it cannot read) heads nothing either.

    Args:
        scores: of all systems.
        rule_based_judges: names of the judges that are rules and no models.
    """
    keys = {key for columns in scores.values() for key in columns if key.stratum is None}
    judged = sorted((key for key in keys if key.metric in ("crimson", "green") and key.judge), key=in_order)
    by_model = [key for key in judged if key.judge not in rule_based_judges]
    by_rules = [key for key in judged if key.metric == "crimson"]
    candidates = [*(by_model or by_rules), ScoreKey("rouge_l"), ScoreKey("chrf")]
    return next((key for key in candidates if read_share(scores, key) >= 0.5), None)


def _efficacy(
    columns: dict[str, np.ndarray], judge: str | None, answers: Sequence[ScoredAnswer], scores: Scores
) -> list[Metric]:
    """Clinical efficacy: micro precision, recall and F1 over the finding classes that a rule-based judge reads."""
    total, scored, without, valid = names(ScoreKey("efficacy", judge), "rows", "scored", "without", "valid")
    hits, reference, predicted = (names(ScoreKey(count, judge), "sum")[0] for count in EFFICACY_COUNTS)
    for name, count in zip((hits, reference, predicted), EFFICACY_COUNTS, strict=True):
        by_uid = scores[ScoreKey(count, judge)]
        columns[name] = np.array([by_uid.get(answer.uid, (0.0, ""))[0] or 0.0 for answer in answers])
    columns[total] = np.ones(len(answers))
    columns[scored] = np.array([answer.uid in scores[ScoreKey("efficacy_hits", judge)] for answer in answers], float)
    columns[without] = columns[total] - columns[scored]
    columns[valid] = columns["valid"] * columns[scored]

    def metric(name: str, finish: Callable[[Sums], np.ndarray]) -> Metric:
        return Metric(
            name,
            finish,
            direction="higher",
            definition="flarebench (after FLARE 2025)",
            judge=judge,
            rows=total,
            unread=without,
            valid=valid,
        )

    return [
        metric("efficacy_f1", lambda s: ratio(2 * s[hits], s[reference] + s[predicted], empty=0.0)),
        metric("efficacy_precision", lambda s: ratio(s[hits], s[predicted], empty=0.0)),
        metric("efficacy_recall", lambda s: ratio(s[hits], s[reference], empty=0.0)),
    ]


def _diversity(answers: Sequence[ScoredAnswer]) -> dict[str, np.ndarray]:
    """Which rows are the first of their text within a subset, and which have its commonest text."""
    texts = [(answer.subset, answer.text) for answer in answers]
    first = {text: place for place, text in reversed(list(enumerate(texts)))}
    commonest: dict[str, str | None] = {}
    for (subset, text), _ in Counter(texts).most_common():
        commonest.setdefault(subset, text)
    return {
        "first_seen": np.array([first[text] == place for place, text in enumerate(texts)], dtype=float),
        "commonest": np.array([commonest[subset] == text for subset, text in texts], dtype=float),
    }
