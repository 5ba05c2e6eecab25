"""How a subset writes its answers, learned from its rows: separator, percentage, box convention, letter or words."""

import json
from collections.abc import Mapping, Sequence

from workflow_scripts.core.answers import Conventions, SourceAnswer
from workflow_scripts.core.config.sources.entry import SubsetConventions
from workflow_scripts.core.rows import Convention
from workflow_scripts.core.tasks import load_part, normalise_task, tasks
from workflow_scripts.data.conversion.question_files import QuestionFile, is_unicode

TRAINING = "training"
"""The split folder whose rows are believed before all others: conventions are known before an answer is scored."""


def learn_conventions(
    files: Mapping[QuestionFile, Sequence[object]], settings: SubsetConventions, subset: str
) -> list[Convention]:
    """The conventions of each task of one subset, over its split folders: they write alike.

    They are learned from the training rows where a task has any, else from all others; of these a task whose module
    `answers` says so learns no words of single questions. What the configuration sets is not learned.

    Args:
        files: raw records of all the subset's question files.
        settings: what the configuration says of the subset.
        subset: its name.
    """
    training: dict[str, list[SourceAnswer]] = {}
    others: dict[str, list[SourceAnswer]] = {}
    for file, records in files.items():
        by_task = training if file.folder == TRAINING else others
        for record in records:
            if isinstance(record, dict) and isinstance(record.get("Question"), str) and is_unicode(record):
                task = normalise_task(record.get("TaskType"))
                if task is not None:
                    by_task.setdefault(task, []).append(SourceAnswer(record["Question"], record.get("Answer")))
    given = {field: value for field, value in settings.model_dump().items() if value is not None}
    conventions = []
    for task in tasks():
        rows, source = training.get(task), "training rows"
        if not rows:
            rows, source = others.get(task), "other rows"
        if not rows:
            continue
        for field, value in given.items():
            conventions.append(Convention(subset, task, field, "", json.dumps(value), 0, 0, "configuration"))
        part = load_part(task, "answers")
        without_words = source == "other rows" and getattr(part, "WORDS_OF_TRAINING_ROWS_ALONE", False)
        for learned in part.conventions(rows):
            of_question = learned.field == "labels" and learned.question
            if learned.field not in given and not (without_words and of_question):
                value = json.dumps(learned.value, ensure_ascii=True)
                conventions.append(
                    Convention(
                        subset, task, learned.field, learned.question, value, learned.votes, learned.rows, source
                    )
                )
    return conventions


def by_task(conventions: Sequence[Convention]) -> dict[str, Conventions]:
    """The conventions of one subset as its tasks look them up."""
    entries: dict[str, list[tuple[Convention, object]]] = {task: [] for task in tasks()}
    for convention in conventions:
        entries[convention.task].append((convention, json.loads(convention.value)))
    return {task: Conventions(listed) for task, listed in entries.items()}
