"""Open answers under every published protocol, each under its own name.

The primary `token_f1` is the metric of MedGemma's report and of its model card ("tokenized F1", arXiv 2507.05201, 3.4),
whose code is not published; its words are SQuAD's. It is the one protocol whose number falls where an answer says more
than it was asked for and where it says less. Upstream's faults stand in columns that end in `_as_published`; what is
mended stands beside them. Protocols take the final answer as it is written, in whatever form; a missing one is empty.
"""

from collections.abc import Callable, Sequence

import numpy as np

from workflow_scripts.core.metrics import Facts, Metric, ScoredAnswer, Sums, count_facts, of_reading, wrong_format
from workflow_scripts.tasks.vqa import llava_med, lmms_eval, medevalkit, squad
from workflow_scripts.tasks.vqa.columns import mean_of, scores, texts_of, unless_stopped

MEDEVALKIT = "MedEvalKit 9b12e3b"
LLAVA_MED = "LLaVA-Med 1.0"


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """The scores of each row under each protocol. A row's score is its token F1.

    Strictly, `token_f1` and its like take the whole final answer; leniently, what the lenient reader finds in it.
    """
    texts = texts_of(answers)
    meant = [(str(answer.reference), "" if answer.lenient is None else str(answer.lenient)) for answer in answers]
    columns = count_facts(answers)
    columns |= scores([_short_answer_scores(*pair, "strict") for pair in texts])
    columns |= scores([_short_answer_scores(*pair, "lenient") for pair in meant])
    columns |= scores([_published_scores(*pair) for pair in texts])
    metrics = [
        *of_reading(_short_answer_metrics("strict"), "strict"),
        *of_reading(_short_answer_metrics("lenient"), "lenient"),
        *_published_metrics(),
        wrong_format(),
    ]
    return Facts(columns, metrics, np.array(columns["token_f1 strict"]))


def _short_answer_scores(reference: str, answer: str, reading: str) -> dict[str, float]:
    return {
        f"token_f1 {reading}": squad.token_f1(reference, answer),
        f"exact_match {reading}": squad.exact_match(reference, answer),
    }


def _short_answer_metrics(reading: str) -> list[Metric]:
    return [
        Metric(
            "token_f1",
            mean_of(f"token_f1 {reading}"),
            direction="higher",
            definition="flarebench (after MedGemma and SQuAD 1.1)",
            primary=True,
        ),
        Metric(
            "exact_match",
            mean_of(f"exact_match {reading}"),
            direction="higher",
            definition="flarebench (after SQuAD 1.1)",
        ),
    ]


def _published_scores(reference: str, answer: str) -> dict[str, float]:
    texts = llava_med.compared(reference, answer)
    lettered = llava_med.compared_with_letters(reference, answer)
    published, mended = llava_med.overlap_as_published(texts), llava_med.overlap(lettered)
    kit = medevalkit.open_scores(reference, answer)
    return {
        "llava_med exact": llava_med.exact_match(lettered),
        "llava_med exact published": llava_med.exact_match_as_published(texts),
        "llava_med f1": mended.f1,
        "llava_med f1 published": published.f1,
        "llava_med precision": mended.precision,
        "llava_med precision published": published.precision,
        "llava_med recall": mended.recall,
        "llava_med recall published": published.recall,
        "llava_med different": llava_med.recall_of_different_words(lettered),
        "llava_med bleu": llava_med.bleu(texts),
        "llava_med contained": llava_med.contained(lettered),
        "llava_med contained published": llava_med.contained_as_published(texts),
        "lmms_eval right": lmms_eval.right(reference, answer),
        "medevalkit exact": kit.exact_match,
        "medevalkit bleu": kit.bleu_1,
        "medevalkit f1": kit.f1,
        "medevalkit precision": kit.precision,
        "medevalkit recall": kit.recall,
        "medevalkit stops": float(kit.stops),
    }


def _published_metrics() -> list[Metric]:
    """The protocols in the order of their publication."""
    return [
        Metric(
            "llava_med_exact_match_as_published",
            mean_of("llava_med exact published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_exact_match",
            mean_of("llava_med exact"),
            direction="higher",
            definition="flarebench (after LLaVA-Med 1.0)",
        ),
        Metric(
            "llava_med_f1_as_published",
            mean_of("llava_med f1 published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_precision_as_published",
            mean_of("llava_med precision published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_recall_as_published",
            mean_of("llava_med recall published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_f1",
            mean_of("llava_med f1"),
            direction="higher",
            definition="flarebench (after LLaVA-Med 1.0)",
        ),
        Metric(
            "llava_med_precision",
            mean_of("llava_med precision"),
            direction="higher",
            definition="flarebench (after LLaVA-Med 1.0)",
        ),
        Metric(
            "llava_med_recall",
            mean_of("llava_med recall"),
            direction="higher",
            definition="flarebench (after LLaVA-Med 1.0)",
        ),
        Metric(
            "llava_med_15_recall",
            mean_of("llava_med different"),
            direction="higher",
            definition="flarebench (after LLaVA-Med 1.5)",
        ),
        Metric("llava_med_bleu_1", mean_of("llava_med bleu"), direction="higher", definition=LLAVA_MED),
        Metric(
            "llava_med_contained_as_published",
            mean_of("llava_med contained published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_contained",
            mean_of("llava_med contained"),
            direction="higher",
            definition="flarebench (after LLaVA-Med 1.0)",
        ),
        *_medevalkit_metrics(),
        Metric(
            "lmms_eval_slake_accuracy",
            mean_of("lmms_eval right"),
            direction="higher",
            definition="lmms-eval 75571cf",
        ),
    ]


def _medevalkit_metrics() -> list[Metric]:
    """As published, where the names of three columns are exchanged and an empty answer ends the evaluation; mended."""

    def published(column: str) -> Callable[[Sums], np.ndarray]:
        return unless_stopped(mean_of(column), "medevalkit stops")

    return [
        Metric(
            "medevalkit_exact_match_as_published",
            published("medevalkit exact"),
            direction="higher",
            definition=MEDEVALKIT,
            unread="medevalkit stops",
        ),
        Metric(
            "medevalkit_bleu_1_as_published",
            published("medevalkit bleu"),
            direction="higher",
            definition=MEDEVALKIT,
            unread="medevalkit stops",
        ),
        Metric(
            "medevalkit_precision_as_published",
            published("medevalkit f1"),
            direction="higher",
            definition=MEDEVALKIT,
            unread="medevalkit stops",
        ),
        Metric(
            "medevalkit_recall_as_published",
            published("medevalkit precision"),
            direction="higher",
            definition=MEDEVALKIT,
            unread="medevalkit stops",
        ),
        Metric(
            "medevalkit_f1_as_published",
            published("medevalkit recall"),
            direction="higher",
            definition=MEDEVALKIT,
            unread="medevalkit stops",
        ),
        Metric(
            "medevalkit_exact_match",
            mean_of("medevalkit exact"),
            direction="higher",
            definition="flarebench (after MedEvalKit 9b12e3b)",
        ),
        Metric(
            "medevalkit_bleu_1",
            mean_of("medevalkit bleu"),
            direction="higher",
            definition="flarebench (after MedEvalKit 9b12e3b)",
        ),
        Metric(
            "medevalkit_f1",
            mean_of("medevalkit f1"),
            direction="higher",
            definition="flarebench (after MedEvalKit 9b12e3b)",
        ),
        Metric(
            "medevalkit_precision",
            mean_of("medevalkit precision"),
            direction="higher",
            definition="flarebench (after MedEvalKit 9b12e3b)",
        ),
        Metric(
            "medevalkit_recall",
            mean_of("medevalkit recall"),
            direction="higher",
            definition="flarebench (after MedEvalKit 9b12e3b)",
        ),
    ]
