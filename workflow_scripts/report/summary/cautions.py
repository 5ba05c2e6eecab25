"""What a reader must bear in mind, as sentences, each with the place on the page where it belongs."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from workflow_scripts.core.pages.texts import metric_label
from workflow_scripts.core.rows import Agreement, LeftOutRow, MetricValue, Prediction, QuarantinedRow, Row
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.tables import JUDGED

CHEST_XRAY = frozenset({"xray", "cxr", "chestxray"})
"""Modalities whose reports CRIMSON and GREEN were validated on, lower case without signs."""

LOW_PARSE_RATE = 0.9
"""Share of valid answers below which a system's numbers say more of its format than of its knowledge."""

LOST_SHARE = 0.05
"""Share of source rows in quarantine from which on a reader is told, beside the rows that are evaluated."""

HARMLESS = frozenset({"superseded", "duplicate"})
"""Reasons of a row in quarantine whose question is evaluated all the same."""

RESEARCH_USE = (
    "For research use only. Nothing here was validated for clinical decisions, and no number here says that a system"
    " is safe."
)


@dataclass(frozen=True)
class Caution:
    """A sentence, and the task that it is about, if it is about one."""

    text: str
    task: str | None = None


def judge_cautions(values: Iterable[MetricValue], rows: Sequence[Row], rule_based: Collection[str]) -> list[Caution]:
    """That a judge is a set of rules, and that reports outside chest X-ray are judged by metrics made for these."""
    judges = {value.judge for value in values if value.judge and value.metric in JUDGED}
    reports = [row for row in rows if tasks()[row.task].judged_by == "reports"]
    about = reports[0].task if reports else None
    cautions = [
        Caution(
            f"The judge {judge} is a set of rules and a vocabulary, no model: its scores check the workflow and are not"
            " CRIMSON or GREEN as published.",
            about,
        )
        for judge in sorted(judges & set(rule_based))
    ]
    outside = sorted({row.modality for row in reports if not is_chest_xray(row.modality)})
    if outside and judges:
        text = "CRIMSON and GREEN were validated on chest X-ray reports. Their scores for "
        cautions.append(Caution(f"{text}{', '.join(outside)} are exploratory.", about))
    return cautions


def is_chest_xray(modality: str) -> bool:
    """Whether a modality is that of chest X-ray, however it is written."""
    return "".join(character for character in modality.lower() if character.isalnum()) in CHEST_XRAY


def parse_cautions(values: Iterable[MetricValue], baselines: Collection[str]) -> list[Caution]:
    """In which tasks which systems often give answers that are not valid; one sentence for all."""
    shares: dict[str, list[str]] = {}
    for value in values:
        compared = value.primary and value.subset == "macro" and value.system not in baselines
        if compared and value.valid_share < LOW_PARSE_RATE:
            shares.setdefault(value.task, []).append(f"{value.system} {value.valid_share:.0%}")
    if not shares:
        return []
    listed = "; ".join(f"{task.replace('_', ' ')}: {', '.join(of_task)}" for task, of_task in shares.items())
    return [
        Caution(
            f"Many answers are not valid. Shares of valid ones: {listed}. The others count against their system, so"
            " that its number says as much of its format as of its knowledge."
        )
    ]


def disagreement(row: Agreement) -> str:
    """Two report metrics that disagree about which of two systems is better."""
    return (
        f"{metric_label(row.metric_1, row.judge_1)} and {metric_label(row.metric_2, row.judge_2)} disagree: from"
        f" {row.system_a} to {row.system_b} one moves by {row.difference_1:+.3f}, the other by"
        f" {row.difference_2:+.3f}."
    )


def is_loud(row: Agreement, baselines: Collection[str]) -> bool:
    """Whether a disagreement is one of judges about systems that are no baselines."""
    return {row.metric_1, row.metric_2} == set(JUDGED) and not {row.system_a, row.system_b} & set(baselines)


def leak_cautions(left_out: Mapping[str, Iterable[LeftOutRow]]) -> list[Caution]:
    """How many rows the training splits left out because an evaluated row shares their image, case or group."""
    cautions = []
    for split, rows in left_out.items():
        leaks = [row for row in rows if row.reason.startswith("leaked")]
        if leaks:
            count = f"{len(leaks)} training rows" if len(leaks) > 1 else "One training row"
            cautions.append(
                Caution(
                    f"{count} of the split {split} shared an image, a case or a group with evaluated rows and"
                    f" {'were' if len(leaks) > 1 else 'was'} left out of training."
                )
            )
    return cautions


def quarantine_cautions(rows: Sequence[Row], quarantine: Iterable[QuarantinedRow]) -> list[Caution]:
    """That many source rows of the evaluated folders and subsets could not be used, with the reasons.

    A split may take a part of a folder alone, so that the two numbers are said side by side, and no share.
    """
    places = {(row.folder, row.subset) for row in rows}
    lost = Counter(
        row.reason
        for row in quarantine
        if row.source_row is not None and (row.folder, row.subset) in places and row.reason not in HARMLESS
    )
    count = lost.total()
    if not count or count < LOST_SHARE * (count + len(rows)):
        return []
    reasons = ", ".join(f"{number} {reason.replace('_', ' ')}" for reason, number in lost.most_common())
    folders = ", ".join(sorted({folder for folder, _ in places}))
    return [
        Caution(
            f"Beside the {len(rows):,} evaluated rows, {count:,} source row{'' if count == 1 else 's'} of the same"
            f" subsets in {folders} cannot be used ({reasons}): no number here says anything of them."
        )
    ]


def differing_conditions(
    answers: Mapping[str, Sequence[Prediction]], pairs: Iterable[tuple[str, str]] = ()
) -> list[str]:
    """Sentences about systems that answered under different conditions, so that more than the model differs.

    Args:
        answers: predictions by system, in the systems' order.
        pairs: systems of one model, which should have been asked in the same words.
    """
    engines: dict[str, list[str]] = {}
    grammars: dict[str, list[str]] = {}
    for system, predictions in answers.items():
        generated = [prediction for prediction in predictions if prediction.engine]
        engines[system] = sorted({str(prediction.engine) for prediction in generated})
        grammars[system] = sorted({str(prediction.constrained) for prediction in generated})
    sentences = []
    for name, values in (("engine", engines), ("bound by a grammar", grammars)):
        if len({tuple(of_system) for of_system in values.values() if of_system}) > 1:
            listed = "; ".join(f"{system}: {', '.join(of_system)}" for system, of_system in values.items() if of_system)
            sentences.append(f"{name} — {listed}")
    for first, second in pairs:
        if first in answers and second in answers:
            prompts = {answer.uid: answer.prompt_hash for answer in answers[first] if answer.prompt_hash}
            others = [(prompts.get(answer.uid), answer.prompt_hash) for answer in answers[second]]
            if any(one and other and one != other for one, other in others):
                sentences.append(f"prompt — {first} and {second} were asked in different words")
    return sentences
