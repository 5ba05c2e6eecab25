"""The configuration, and what the rules ask of it. Nothing here imports torch."""

import gc
from functools import cache
from inspect import signature


from snakemake.exceptions import WorkflowError

from workflow_scripts.cache.folders import identity_of_files
from workflow_scripts.core.manifest import dataset_stamps
from workflow_scripts.models.record import checkpoint_identity
from workflow_scripts.judges.prompt_files import prompt_files
from workflow_scripts.cache.fingerprints import identity as code
from workflow_scripts.core.config.datasets import HubDataset, LocalDataset, SyntheticDataset
from workflow_scripts.core.config.judges import RecordedJudge, ServerJudge, CheckpointJudge
from workflow_scripts.core.config.models import HubModel, SyntheticModel
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems import ImportedSystem, ModelSystem, BaselineSystem
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration
from workflow_scripts.core.files import BadFile, temporary_folder
from workflow_scripts.core.tasks import tasks
from workflow_scripts.infer.shards import finished_shards
from workflow_scripts.cache.given_files import identity_of_file

# A plan makes millions of objects and drops few of them, and no module is ever dropped: looking for those every so
# often, and at the end once more, costs a sixth of its time.
gc.freeze()
gc.set_threshold(50_000, 50, 1000)

try:
    CONFIG = load_configuration(config, ", ".join(map(str, workflow.configfiles)) or "the configuration")
except ConfigurationError as error:
    raise WorkflowError(str(error)) from None

R = CONFIG.results
STORE = CONFIG.store or f"{R}/store"
CONDA = "../envs/flarebench.yaml"
# Snakemake's default is a function that it calls for every job; its scheduler fails where nothing can be written.
try:
    TMPDIR = temporary_folder()
except BadFile as error:
    raise WorkflowError(str(error)) from None


def named(entries, kind):
    """A wildcard's pattern: the names of the entries of this kind, or nothing."""
    return "|".join(name for name, entry in entries.items() if isinstance(entry, kind)) or "(?!)"


def of_models(fits):
    """A wildcard's pattern: the names of the systems of a model that `fits` holds for, or nothing."""
    fitting = (name for name, entry in CONFIG.systems.items() if isinstance(entry, ModelSystem) and fits(entry))
    return "|".join(fitting) or "(?!)"


def root_of(dataset):
    """The folder that the image paths of a dataset start from."""
    entry = CONFIG.datasets[dataset]
    return str(CONFIG.folder_of(dataset)) if isinstance(entry, LocalDataset) else f"{R}/data/{dataset}/root"


def protected_from(split):
    """The evaluated splits whose images and cases a split must not share; evaluated and submitted ones stay whole."""
    return [] if split in CONFIG.evaluate + CONFIG.submit else [CONFIG.splits[name] for name in CONFIG.evaluate]


def other_protected(split):
    """The datasets of those splits, besides its own."""
    return sorted({other.dataset for other in protected_from(split)} - {CONFIG.splits[split].dataset})


def root_of_split():
    """The folder that the image paths of a job's split start from; a constant where it is one for all splits."""
    roots = {root_of(split.dataset) for split in CONFIG.splits.values()}
    return roots.pop() if len(roots) == 1 else lambda w: root_of(CONFIG.splits[w.split].dataset)


def features_for_tuning(wildcards):
    """The index of the training split's features; nothing for a recipe that tunes the tower."""
    system = CONFIG.systems[wildcards.system]
    return (
        [] if CONFIG.recipes[system.recipe].tunes_tower else f"{R}/features/{system.model}/{system.train}/index.parquet"
    )


def load_group_of(system):
    """The shared-load group of a system, joined by `+`: those that one job answers with; most stand alone."""
    return next(("+".join(group) for group in CONFIG.inference.together if system in group), system)


def model_of(group):
    """The one model that the systems of a shared-load group have."""
    return CONFIG.systems[group.split("+")[0]].model


def base_of(system):
    """The system of the same model as a tuned one, untuned: with the same engine, prompt and grammar if there is one."""
    entry = CONFIG.systems[system]
    bases = [
        name
        for name, other in CONFIG.systems.items()
        if isinstance(other, ModelSystem) and other.model == entry.model and other.recipe is None
    ]
    same = ("engine", "prompt", "constrained")
    return max(
        bases,
        key=lambda name: [getattr(CONFIG.systems[name], key) == getattr(entry, key) for key in same].count(True),
        default=None,
    )


TUNED_FROM = {
    name: base_of(name) for name, entry in CONFIG.systems.items() if isinstance(entry, ModelSystem) and entry.recipe
}


def features_of(systems, split):
    """The index of the split's features; nothing for a system whose own tower was tuned."""
    recipes = [CONFIG.systems[system].recipe for system in systems]
    if any(recipe is not None and CONFIG.recipes[recipe].tunes_tower for recipe in recipes):
        return []
    return f"{R}/features/{CONFIG.systems[systems[0]].model}/{split}/index.parquet"


def adapter_of(system):
    """The tuned system's weights; nothing for a base model."""
    return [f"{R}/systems/{system}/adapter/adapter_model.safetensors"] if CONFIG.systems[system].recipe else []


def option(flag, values):
    """A flag with its values for a list that `:q` quotes word by word; nothing where there is no value."""
    values = [values] if isinstance(values, str) else list(values)
    return [flag, *values] if values else []


def state_of_file(file, record):
    """Text that changes with the bytes of a file that somebody gives; what a job read of it stands in `record`."""
    try:
        return identity_of_file(Path(file), Path(record))
    except OSError as error:
        raise WorkflowError(f"{file} cannot be read: {error.strerror}") from None


def member(system):
    """What the answering step has to know of a system."""
    entry = CONFIG.systems[system]
    return {
        "system": system,
        "adapter": f"{R}/systems/{system}/adapter" if entry.recipe else None,
        "prompt": entry.prompt.model_dump(mode="json"),
        "constrained": entry.constrained,
    }


def with_signature(function):
    """Store a function's signature: Snakemake asks for it several times a job, and builds it anew each time."""
    function.__signature__ = signature(function)
    return function


@with_signature
def answering(wildcards):
    """The model, the features and the adapters that a shared-load group answers with."""
    systems = wildcards.group.split("+")
    return {
        "record": f"{R}/models/{CONFIG.systems[systems[0]].model}.json",
        "features": features_of(systems, wildcards.split),
        "adapter": [adapter for system in systems for adapter in adapter_of(system)],
    }


def growing(amount):
    """An amount, or a function of wildcards, multiplied by the attempt: a job that was retried gets more."""
    return with_signature(lambda w, attempt: attempt * (amount(w) if callable(amount) else amount))


def per_model(value_of):
    """`value_of(gpus)` for a job's model; a constant, cheap to plan with, where it is one for all models."""
    values = {value_of(entry.gpus) for entry in CONFIG.models.values()}
    if len(values) == 1:
        return values.pop()
    return lambda w: value_of(CONFIG.models[w.get("model") or model_of(w.get("group") or w.system)].gpus)


def shards_of_system(wildcards):
    """The shards that hold a system's answers: as many as are configured, or as finished answers were written with."""
    folder = f"{R}/predictions/{wildcards.split}/{load_group_of(wildcards.system)}"
    items = finished_shards(Path(f"{R}/predictions/{wildcards.split}/{wildcards.system}.parquet"), Path(folder))
    return [f"{folder}/{item}.parquet" for item in items] or gather.infer(f"{folder}/{{scatteritem}}.parquet")


def one(gpus):
    """GPUs of a job of one process: shards, splits and systems use the others."""
    return min(1, gpus)


def engine_of(wildcards):
    """The server that answers for a system."""
    return CONFIG.engines[CONFIG.systems[wildcards.system].engine]


def served_model(wildcards):
    """The model that a system's server is to hold, as JSON."""
    return canonical_json(
        CONFIG.models[CONFIG.systems[wildcards.system].model].model_dump(mode="json", exclude={"gpus"})
    )


def record_of_served(system):
    """The record of a local checkpoint that a server is to hold; nothing for a repository, which its commit names."""
    model = CONFIG.systems[system].model
    return [f"{R}/models/{model}.json"] if model in CHECKPOINTS and CHECKPOINTS[model].local else []


def launcher(gpus):
    """How a step starts that has one process for each of its GPUs."""
    several = f"accelerate launch --num_processes {gpus} --num_machines 1"
    several += " --main_process_port 0 --mixed_precision no --dynamo_backend no --module"
    return f"python -m workflow_scripts.cli.devices {gpus} -- {several if gpus > 1 else 'python -m'}"


def shards_of_judge(judge):
    """The jobs that share a judge's pairs, `K-of-N` each."""
    count = getattr(CONFIG.judges[judge], "shards", 1)
    return [f"{number + 1}-of-{count}" for number in range(count)]


def pairs_at_most(split, judge):
    """How many pairs of a split a judge has to judge at most, in words: known once the split is written."""
    rows = Path(f"{R}/splits/{split}/rows.parquet")
    if not rows.is_file():
        return "pairs are known once the split is written"
    frozen = getattr(CONFIG.judges[judge], "metric", None) == "crimson" and CONFIG.judges[judge].freeze_references
    return f"at most {reports_of_split(rows, rows.stat().st_mtime_ns) * (len(CONFIG.systems) + frozen):,} pairs"


@cache
def reports_of_split(rows, changed):
    """Rows of a split whose answers are judged; `changed` is the file's time."""
    from pyarrow.parquet import read_table  # slow to import, and of use to later plans alone

    free_text = {task.name for task in tasks().values() if task.free_text}
    column = read_table(rows, columns=["task"])["task"].value_counts().to_pylist()
    return sum(entry["counts"] for entry in column if entry["values"] in free_text)


def gpus_of_judge(judge):
    """GPUs of a judge's job; none for a judge that loads no model."""
    return getattr(CONFIG.judges[judge], "gpus", 0)


def state_of(dataset):
    """Text that changes with the files of a local dataset."""
    root = Path(root_of(dataset))
    try:
        stamps = dataset_stamps(root, [Path(folder) for folder in results_inside(dataset)])
        return identity_of_files(root, Path(f"{R}/data/{dataset}/seen.json"), stamps)
    except BadFile as error:
        raise WorkflowError(str(error)) from None


def results_inside(dataset):
    """The folders that are written to and lie inside a local dataset's: they are no part of it."""
    root = Path(root_of(dataset)).resolve()
    return [folder for folder in dict.fromkeys([R, STORE]) if Path(folder).resolve().is_relative_to(root)]


def images_of(split):
    """What is known of the images of a split's dataset and of those that evaluated splits are drawn from."""
    return [f"{R}/data/{dataset}/images.parquet" for dataset in [CONFIG.splits[split].dataset, *other_protected(split)]]


def size_of_checkpoint(name):
    """What fetching a checkpoint downloads, in words."""
    entry = CHECKPOINTS[name]
    if entry.local:
        return "a local folder"
    return f"about {entry.gigabytes} GB" if entry.gigabytes else "of unknown size"


def state_of_checkpoint(name):
    """Text that changes with the files of a local checkpoint."""
    try:
        return checkpoint_identity(CHECKPOINTS[name].checkpoint, Path(f"{R}/models/{name}.json"))
    except (BadFile, OSError) as error:
        raise WorkflowError(str(error)) from None


@with_signature
def features_option(wildcards, input):
    """The index of the vision features, where the job reads one."""
    return option("--features", input.features)


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


LOADED = [name for name, s in CONFIG.systems.items() if isinstance(s, ModelSystem) and s.engine is None]
CHECKPOINTS = CONFIG.checkpoints()
TRAINING_SPLITS = sorted({s.train for s in CONFIG.systems.values() if isinstance(s, ModelSystem) and s.train})

GATED = (
    [
        Gated(entry.checkpoint, f"https://huggingface.co/{entry.checkpoint}", f"{R}/models/{name}.json")
        for name, entry in CONFIG.models.items()
        if isinstance(entry, HubModel) and entry.gated and not CHECKPOINTS[name].local and CONFIG.loads(name)
    ]
    + [
        Gated(entry.checkpoint, f"https://huggingface.co/{entry.checkpoint}", f"{R}/models/judges/{name}.json")
        for name, entry in CONFIG.judges.items()
        if isinstance(entry, CheckpointJudge) and entry.gated and not CHECKPOINTS[f"judges/{name}"].local
    ]
    + [
        Gated(entry.repo, f"https://huggingface.co/datasets/{entry.repo}", f"{R}/data/{name}/manifest.json")
        for name, entry in CONFIG.datasets.items()
        if isinstance(entry, HubDataset)
        and entry.mirror is None
        and any(split.dataset == name for split in CONFIG.splits.values())
    ]
)


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    split="[A-Za-z0-9_-]+",
    model="[A-Za-z0-9_-]+",
    system="[A-Za-z0-9_-]+",
    group="[A-Za-z0-9_+-]+",
    judge="[A-Za-z0-9_-]+",
    shard="[0-9]+-of-[0-9]+",
