"""Closed answers under every published protocol, each under its own name.

The primary `accuracy` is what all of them mean by a closed answer: it names the reference's alternative. It goes by the
strict reader, so that an answer which says everything is never right. Upstream's faults stand in columns that end in
`_as_published`; what is mended stands beside them. Protocols take the final answer as it is written, in whatever form;
a missing one is empty. Where the reference is a letter, the mended columns compare letters; the published ones drop an
A as an article.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Note,
    Reading,
    ScoredAnswer,
    Sums,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.vqa import llava_med, lmms_eval, medevalkit, squad
from workflow_scripts.tasks.vqa.columns import mean_of, scores, texts_of

MEDEVALKIT = "MedEvalKit 9b12e3b"
LLAVA_MED = "LLaVA-Med 1.0"
YES_NO, CHOICE = "yes or no", "choice"
"""Strata: rows whose reference is yes or no, and all others."""


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Whether each row is right under each protocol. A row's score is 1 where the strict reader reads the reference."""
    columns = count_facts(answers)
    reference = [squeezed(str(answer.reference)) for answer in answers]
    polar = np.array([name in medevalkit.YES_NO for name in reference], dtype=bool)
    columns |= {f"rows {YES_NO}": polar.astype(float), f"rows {CHOICE}": (~polar).astype(float)}
    for word in medevalkit.YES_NO:
        columns[f"reference {word}"] = np.array([name == word for name in reference], dtype=float)
    read = {"strict": [answer.strict for answer in answers], "lenient": [answer.lenient for answer in answers]}
    metrics: list[Metric] = []
    for reading, values in read.items():
        right = np.array(
            [value is not None and squeezed(str(value)) == name for value, name in zip(values, reference, strict=True)],
            dtype=bool,
        )
        none = np.array([value is None for value in values], dtype=bool)
        columns[f"right {reading}"] = right.astype(float)
        for stratum, rows in ((YES_NO, polar), (CHOICE, ~polar)):
            columns[f"right {reading} {stratum}"] = (right & rows).astype(float)
            columns[f"unread {reading} {stratum}"] = (none & rows).astype(float)
        metrics += _accuracies("strict" if reading == "strict" else "lenient")
    valid = columns["valid"] > 0
    columns |= {f"valid {YES_NO}": (valid & polar).astype(float), f"valid {CHOICE}": (valid & ~polar).astype(float)}
    columns |= scores([_published_scores(*pair) for pair in texts_of(answers)])
    return Facts(columns, [*metrics, *_published_metrics(), wrong_format()], np.array(columns["right strict"]))


def _single_class(s: Sums) -> Note | None:
    """The note where all references are yes, or all are no."""
    return "single_class" if np.max([s["reference yes"], s["reference no"]]) == s["rows"] else None


def _accuracies(reading: Reading) -> list[Metric]:
    accuracy = Metric(
        "accuracy",
        mean_of(f"right {reading}"),
        direction="higher",
        definition="flarebench",
        primary=True,
        caution=_single_class,
    )
    strata = [
        replace(
            accuracy,
            value=mean_of(f"right {reading} {stratum}", f"rows {stratum}"),
            primary=False,
            reading=reading,
            stratum=stratum,
            rows=f"rows {stratum}",
            valid=f"valid {stratum}",
            unread=f"unread {reading} {stratum}",
            caution=None,
        )
        for stratum in (YES_NO, CHOICE)
    ]
    return [*of_reading([accuracy], reading), *strata]


def _published_scores(reference: str, answer: str) -> dict[str, float]:
    texts, mended = llava_med.compared(reference, answer), llava_med.compared_with_letters(reference, answer)
    polar = medevalkit.is_yes_no(reference)
    hit = llava_med.closed_as_published(texts)
    return {
        "token_f1": squad.token_f1(reference, answer),
        "exact_match": squad.exact_match(reference, answer),
        "llava_med closed": llava_med.closed(mended),
        "llava_med closed published": hit,
        "llava_med left out": float(llava_med.speaks_as_published(texts) and not hit),
        "llava_med contained published": llava_med.contained_as_published(texts),
        "llava_med recall published": llava_med.overlap_as_published(texts).recall,
        "medevalkit yes_no": medevalkit.yes_no(reference, answer) if polar else 0.0,
        "medevalkit yes_no published": medevalkit.yes_no_as_published(reference, answer) if polar else 0.0,
        "medevalkit slake": medevalkit.slake_closed(reference, answer),
        "medevalkit slake published": medevalkit.slake_closed_as_published(reference, answer),
        "lmms_eval right": lmms_eval.right(reference, answer),
    }


def _published_metrics() -> list[Metric]:
    """Two measures of the words, then the protocols in the order of their publication."""

    def first_closed(s: Sums) -> np.ndarray:
        return ratio(s["llava_med closed published"], s["rows"] - s["llava_med left out"], empty=0.0)

    yes_no_rows = f"rows {YES_NO}"
    return [
        Metric(
            "token_f1",
            mean_of("token_f1"),
            direction="higher",
            definition="flarebench (after MedGemma and SQuAD 1.1)",
        ),
        Metric("exact_match", mean_of("exact_match"), direction="higher", definition="flarebench (after SQuAD 1.1)"),
        Metric(
            "llava_med_closed_accuracy_2023_as_published",
            first_closed,
            direction="higher",
            definition="LLaVA-Med 1.0, before December 2023",
            unread="llava_med left out",
        ),
        Metric(
            "llava_med_closed_accuracy_as_published",
            mean_of("llava_med closed published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_closed_contained_as_published",
            mean_of("llava_med contained published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_closed_recall_as_published",
            mean_of("llava_med recall published"),
            direction="higher",
            definition=LLAVA_MED,
        ),
        Metric(
            "llava_med_closed_accuracy",
            mean_of("llava_med closed"),
            direction="higher",
            definition="flarebench (after LLaVA-Med 1.0)",
        ),
        Metric(
            "medevalkit_yes_no_accuracy_as_published",
            mean_of("medevalkit yes_no published", yes_no_rows),
            direction="higher",
            definition=MEDEVALKIT,
            rows=yes_no_rows,
            valid=f"valid {YES_NO}",
            unread=f"unread strict {YES_NO}",
        ),
        Metric(
            "medevalkit_yes_no_accuracy",
            mean_of("medevalkit yes_no", yes_no_rows),
            direction="higher",
            definition="flarebench (after MedEvalKit 9b12e3b)",
            rows=yes_no_rows,
            valid=f"valid {YES_NO}",
            unread=f"unread strict {YES_NO}",
        ),
        Metric(
            "medevalkit_slake_closed_accuracy_as_published",
            mean_of("medevalkit slake published"),
            direction="higher",
            definition=MEDEVALKIT,
        ),
        Metric(
            "medevalkit_slake_closed_accuracy",
            mean_of("medevalkit slake"),
            direction="higher",
            definition="flarebench (after MedEvalKit 9b12e3b)",
        ),
        Metric(
            "lmms_eval_slake_accuracy",
            mean_of("lmms_eval right"),
            direction="higher",
            definition="lmms-eval 75571cf",
        ),
    ]
