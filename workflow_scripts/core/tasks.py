"""The registry of tasks: name, spellings, token limit, and the package that holds all that is particular to a task.

A package has five modules, its parts (docs/extending.md): `answers` types what a source writes, `reading` reads what a
model writes, `grammar` bounds what a model may write, `metrics` scores it, `baselines` answers without an image. A part
is loaded when it is needed and not before, so that an edited metric changes no conversion. Packages installed beside
this one add tasks by entry points of the group `flarebench.tasks`, each naming a `Task`.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Literal

GROUP = "flarebench.tasks"
PARTS = ("answers", "reading", "grammar", "metrics", "baselines")


@dataclass(frozen=True)
class Task:
    """One kind of question."""

    name: str
    spellings: tuple[str, ...]  # values of TaskType: lower case, single spaces for `_` and `-`
    max_new_tokens: int  # default limit of an answer
    package: str  # of its parts
    free_text: bool = False  # answers are texts without a form, and equal questions may have several
    open_ended: bool = False  # answers are of any wording: there are no classes to be confused
    judged_by: Literal["reports", "rubrics"] | None = None  # judges of reports, or of rows' rubrics
    needs_options: bool = False  # a row without options is at fault where its table has columns for them


BUILT_IN = (
    Task("classification", ("classification",), 32, "workflow_scripts.tasks.classification", needs_options=True),
    Task(
        "multi_label",
        ("multi label classification", "multilabel classification"),
        96,
        "workflow_scripts.tasks.multi_label",
        needs_options=True,
    ),
    Task("detection", ("detection",), 512, "workflow_scripts.tasks.detection"),
    Task("instance_detection", ("instance detection",), 2048, "workflow_scripts.tasks.instance_detection"),
    Task("counting", ("counting", "cell counting"), 16, "workflow_scripts.tasks.counting"),
    Task("regression", ("regression",), 16, "workflow_scripts.tasks.regression"),
    Task("report", ("report generation",), 256, "workflow_scripts.tasks.report", free_text=True, judged_by="reports"),
    Task(
        "open_vqa",
        ("open vqa", "open ended vqa", "vqa open", "open visual question answering"),
        64,
        "workflow_scripts.tasks.open_vqa",
        open_ended=True,
    ),
    Task(
        "closed_vqa",
        ("closed vqa", "closed ended vqa", "close ended vqa", "vqa closed", "closed visual question answering"),
        32,
        "workflow_scripts.tasks.closed_vqa",
    ),
    Task(
        "free_response",
        ("free response", "free text response", "clinical free response"),
        512,
        "workflow_scripts.tasks.free_response",
        free_text=True,
        judged_by="rubrics",
    ),
    Task("entities", ("entities", "named entity recognition", "ner"), 1024, "workflow_scripts.tasks.entities"),
    Task("relations", ("relations", "relation extraction"), 1024, "workflow_scripts.tasks.relations"),
    Task("entailment", ("entailment", "natural language inference", "nli"), 16, "workflow_scripts.tasks.entailment"),
    Task("similarity", ("similarity", "semantic textual similarity", "sts"), 16, "workflow_scripts.tasks.similarity"),
    Task(
        "span_qa",
        ("span qa", "extractive question answering"),
        128,
        "workflow_scripts.tasks.span_qa",
        open_ended=True,
    ),
    Task(
        "probability",
        ("probability", "probability estimate"),
        64,
        "workflow_scripts.tasks.probability",
        open_ended=True,
    ),
    Task(
        "clinical_decision",
        ("clinical decision",),
        256,
        "workflow_scripts.tasks.clinical_decision",
        open_ended=True,
    ),
)


@cache
def tasks() -> dict[str, Task]:
    """Every task by its name: those of this package in their order, then those of entry points by name.

    Raises:
        ValueError: two tasks have one name or one spelling, or an entry point names no `Task`.
    """
    added = [point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)]
    by_name: dict[str, Task] = {}
    spellings: set[str] = set()
    for task in (*BUILT_IN, *added):
        if not isinstance(task, Task):
            raise ValueError(f"an entry point of {GROUP} names {task!r}, expected a core.tasks.Task")
        if task.name in by_name or spellings & set(task.spellings):
            raise ValueError(f"task {task.name!r} has the name or a spelling of another task; rename it")
        by_name[task.name] = task
        spellings |= set(task.spellings)
    return by_name


def normalise_task(raw: object) -> str | None:
    """The name of the task that a `TaskType` value means, or None for one that is not known."""
    return _normalised(raw) if isinstance(raw, str) else None


@lru_cache(maxsize=1024)
def _normalised(raw: str) -> str | None:
    return _by_spelling().get(" ".join(raw.strip().lower().replace("_", " ").replace("-", " ").split()))


@cache
def _by_spelling() -> dict[str, str]:
    return {spelling: task.name for task in tasks().values() for spelling in task.spellings}


def load_part(task: str, part: str) -> ModuleType:
    """A module of a task's package.

    Name the part as a literal where it is called: fingerprints of code read it there.

    Raises:
        KeyError: no task of that name.
    """
    return _module(tasks()[task].package, part)


@cache
def _module(package: str, part: str) -> ModuleType:
    return import_module(f"{package}.{part}")
