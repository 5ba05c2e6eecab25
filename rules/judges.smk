"""What the rules ask of judges."""

from functools import cache

from workflow_scripts.core.config.judges import RecordedJudge, ServerJudge, CheckpointJudge
from workflow_scripts.core.tasks import tasks
from workflow_scripts.judges.prompt_files import prompt_files


def shards_of_judge(judge):
    """The jobs that share a judge's pairs, `K-of-N` each."""
    count = getattr(CONFIG.judges[judge], "shards", 1)
    return [f"{number + 1}-of-{count}" for number in range(count)]


def pairs_at_most(split, judge):
    """How many pairs of a split a judge has to judge at most, in words: known once the split is written."""
    rows = Path(f"{R}/splits/{split}/rows.parquet")
    if not rows.is_file():
        return "pairs are known once the split is written"
    metric = getattr(CONFIG.judges[judge], "metric", None)
    frozen = metric == "crimson" and CONFIG.judges[judge].freeze_references
    kind = "rubrics" if metric == "rubric" else "reports"
    return f"at most {judged_rows_of_split(rows, rows.stat().st_mtime_ns, kind) * (len(NOT_ROUTED) + frozen):,} pairs"


@cache
def judged_rows_of_split(rows, changed, kind):
    """Rows of a split whose answers a judge of this kind reads; `changed` is the file's time."""
    from pyarrow.parquet import read_table  # slow to import, and of use to later plans alone

    judged = {task.name for task in tasks().values() if task.judged_by == kind}
    column = read_table(rows, columns=["task"])["task"].value_counts().to_pylist()
    return sum(entry["counts"] for entry in column if entry["values"] in judged)


def gpus_of_judge(judge):
    """GPUs of a judge's job; none for a judge that loads no model."""
    return getattr(CONFIG.judges[judge], "gpus", 0)


def model_of_judge(name):
    """The record of the checkpoint that a judge loads."""
    return [f"{R}/models/judges/{name}.json"] if isinstance(CONFIG.judges[name], CheckpointJudge) else []


def replies_of_judge(name):
    """The file that a judge's replies are recorded in."""
    judge = CONFIG.judges[name]
    return [str(judge.file)] if isinstance(judge, RecordedJudge) else []


def prompt_of_judge(name):
    """Text that changes with the upstream package that words a judge's prompt."""
    judge = CONFIG.judges[name]
    return prompt_files(judge.metric) if isinstance(judge, ServerJudge | CheckpointJudge) else ""


def human_scores_of_judge(name):
    """The file of human scores that a judge of rubrics is compared with."""
    validity = getattr(CONFIG.judges[name], "validity", None)
    return [] if validity is None else [str(validity.file)]


def states_of_files(files, record):
    """Text that changes with the bytes of files that somebody gives, one each; `record` names what a job notes of one."""
    return [state_of_file(file, record(place)) for place, file in enumerate(files)]
