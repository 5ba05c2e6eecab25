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
from workflow_scripts.core.config.datasets import PREPARED, HubDataset, LocalDataset, SyntheticDataset
from workflow_scripts.core.config.judges import RecordedJudge, ServerJudge, CheckpointJudge
from workflow_scripts.core.config.models import READS_NO_IMAGES, HubModel, SyntheticModel
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems import ImportedSystem, ModelSystem, BaselineSystem, RoutedSystem, TextEncoder
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration
from workflow_scripts.core.files import BadFile, temporary_folder
from workflow_scripts.core.tasks import tasks
from workflow_scripts.infer.shards import finished_shards
from workflow_scripts.tasks.boxes.model_sizes import OF_RESIZED_IMAGES
from workflow_scripts.cache.given_files import identity_of_file

# A plan makes millions of objects and drops few of them, and no module is ever dropped: looking for those every so
# often, and at the end once more, costs a sixth of its time.
gc.freeze()
gc.set_threshold(50_000, 50, 1000)

try:
    CONFIG = load_configuration(config, ", ".join(map(str, workflow.configfiles)) or "the configuration")
except ConfigurationError as error:
    raise WorkflowError(str(error)) from None

# What is evaluated, and the settings of sweeps that are only tuned.
ENTRIES = {**CONFIG.trained(), **CONFIG.systems}
SETTINGS = {name: sweep.names(name, CONFIG.recipes) for name, sweep in CONFIG.sweeps.items()}
SELECTED = {name: CONFIG.systems[name] for name, sweep in CONFIG.sweeps.items() if sweep.select}
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


def of_recipes(entries, *, full):
    """A wildcard's pattern: those whose recipe trains weights in full, or adapters; or nothing."""
    fitting = (name for name, entry in entries.items() if (CONFIG.recipes[entry.recipe].weights is not None) == full)
    return "|".join(fitting) or "(?!)"


def root_of(dataset):
    """The folder that the image paths of a dataset start from."""
    entry = CONFIG.datasets[dataset]
    return str(CONFIG.folder_of(dataset)) if isinstance(entry, LocalDataset) else f"{R}/data/{dataset}/root"


def code_of_source(dataset):
    """The fingerprint of what reads one kind of source."""
    return code(f"workflow_scripts.data.sources.{CONFIG.datasets[dataset].source}")


def protected_from(split):
    """The evaluated splits whose images and cases a split must not share; evaluated and submitted ones stay whole."""
    return [] if split in CONFIG.evaluate + CONFIG.submit else [CONFIG.splits[name] for name in CONFIG.evaluate]


def selections_before(split):
    """What has to be chosen before an evaluated split is written, so that nothing chooses by its rows."""
    evaluated = split in CONFIG.evaluate + CONFIG.submit
    return [ancient(f"{R}/systems/{name}/selection.json") for name in SELECTED] if evaluated else []


def other_protected(split):
    """The datasets of those splits, besides its own."""
    return sorted({other.dataset for other in protected_from(split)} - {CONFIG.splits[split].dataset})


def root_of_split():
    """The folder that the image paths of a job's split start from; a constant where it is one for all splits."""
    roots = {root_of(split.dataset) for split in CONFIG.splits.values()}
    return roots.pop() if len(roots) == 1 else lambda w: root_of(CONFIG.splits[w.split].dataset)


def load_group_of(system):
    """The shared-load group of a system, joined by `+`: those that one job answers with; most stand alone."""
    return next(("+".join(group) for group in CONFIG.inference.together if system in group), system)


def model_of(group):
    """The one model that the systems of a shared-load group have."""
    return ENTRIES[group.split("+")[0]].model


def base_of(system):
    """The system of the same model as a tuned one, untuned: with the same engine, prompt and grammar if there is one."""
    entry = CONFIG.systems[system]
    bases = [
        name
        for name, other in CONFIG.systems.items()
        if isinstance(other, ModelSystem)
        and other.model == entry.model
        and other.recipe is None
        and other.adapter is None
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
    """The index of the split's features; nothing where jobs compute them: see `computes_features`."""
    if any(computes_features(system) for system in systems):
        return []
    return f"{R}/features/{ENTRIES[systems[0]].model}/{split}/index.parquet"


def computes_features(system):
    """Whether a system's jobs look at pixels: its tower was tuned, or what a tower gives is too large to be stored."""
    entry = ENTRIES[system]
    tuned = entry.recipe is not None and CONFIG.recipes[entry.recipe].tunes_tower
    return tuned or not CONFIG.models[entry.model].stores_features


def images_in_words(systems):
    """How a job sees images, for its message."""
    if CONFIG.models[ENTRIES[systems[0]].model].family in READS_NO_IMAGES:
        return "no images"
    return "images in the job" if computes_features(systems[0]) else "stored features"


def adapter_of(system):
    """The tuned system's weights, or the record of its published adapter; nothing for a base model."""
    entry = ENTRIES[system]
    if entry.adapter:
        return [f"{R}/models/adapters/{system}.json"]
    if entry.recipe is None:
        return []
    full = CONFIG.recipes[entry.recipe].weights is not None
    return [f"{R}/systems/{system}/adapter/{'weights' if full else 'adapter_model'}.safetensors"]


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
    form = CONFIG.models[entry.model].box_form
    published = f"{R}/models/adapters/{system}.json" if entry.adapter else None
    return {
        "system": system,
        "adapter": f"{R}/systems/{system}/adapter" if entry.recipe else published,
        "prompt": entry.prompt.model_dump(mode="json"),
        "constrained": entry.constrained,
    } | ({"boxes": form.model_dump(mode="json")} if form.convention else {})


def boxes_option(model):
    """The flag of a model's own form of boxes; nothing where it takes the dataset's."""
    form = CONFIG.models[model].box_form
    return option("--boxes", form.spec() if form.convention else [])


def record_of_boxes(system):
    """The record of a model whose boxes depend on how its files say that images are resized."""
    entry = CONFIG.systems[system]
    if CONFIG.models[entry.model].box_form.convention not in OF_RESIZED_IMAGES:
        return []
    return f"{R}/models/{entry.model}.json" if entry.engine is None else record_of_served(system)


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
        # The chosen setting's answers are then those of the setting itself, in the store.
        "settings": [
            f"{R}/predictions/{wildcards.split}/{setting}.parquet"
            for system in systems
            for setting in SETTINGS.get(system, ())
            if setting in CONFIG.systems
        ],
    }


def growing(amount):
    """An amount, or a function of wildcards, multiplied by the attempt: a job that was retried gets more."""
    return with_signature(lambda w, attempt: attempt * (amount(w) if callable(amount) else amount))


def per_model(value_of):
    """`value_of(gpus)` for a job's model; a constant, cheap to plan with, where it is one for all models."""
    values = {value_of(entry.gpus) for entry in CONFIG.models.values()}
    if len(values) == 1:
        return values.pop()
    return lambda w: value_of(CONFIG.models[model_of_job(w)].gpus)


def code_by_family(module):
    """The fingerprint of a step that drives a job's model; a constant where all models are of one family."""
    values = {family: code(module, family) for family in {entry.family for entry in CONFIG.models.values()}}
    return values.popitem()[1] if len(values) == 1 else lambda w: values[CONFIG.models[model_of_job(w)].family]


def model_of_job(wildcards):
    """The model that a job loads."""
    return wildcards.get("model") or model_of(wildcards.get("group") or wildcards.system)


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
        CONFIG.models[CONFIG.systems[wildcards.system].model].model_dump(mode="json", exclude={"gpus", "boxes"})
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
    return f"at most {reports_of_split(rows, rows.stat().st_mtime_ns) * (len(NOT_ROUTED) + frozen):,} pairs"


@cache
def reports_of_split(rows, changed):
    """Rows of a split whose answers are judged; `changed` is the file's time."""
    from pyarrow.parquet import read_table  # slow to import, and of use to later plans alone

    free_text = {task.name for task in tasks().values() if task.free_text}
    column = read_table(rows, columns=["task"])["task"].value_counts().to_pylist()
    return sum(entry["counts"] for entry in column if entry["values"] in free_text)


def base_of_route(system):
    """The untuned model that a routed system's experts are compared with: its default, or the base of an expert."""
    named = (ROUTED[system].default, *ROUTED[system].systems)
    candidates = [name for expert in named if expert for name in (expert, TUNED_FROM.get(expert)) if name]
    models = (name for name in candidates if isinstance(CONFIG.systems[name], ModelSystem))
    return next((name for name in models if CONFIG.systems[name].recipe is None), None)


def encoder_of_router(system):
    """The record of the text encoder that a routed system's classifier has."""
    has = isinstance(ROUTED[system].encoder, TextEncoder)
    return [f"{R}/models/encoders/routers/{system}.json"] if has else []


def gpus_of_router(system):
    """GPUs of a job that reads questions for a routed system."""
    encoder = ROUTED[system].encoder
    return encoder.gpus if isinstance(encoder, TextEncoder) else 0


@with_signature
def routing(wildcards):
    """What a routed system's answers are put together from."""
    route = ROUTED[wildcards.system]
    chosen_by = {
        "classifier": {
            "router": f"{R}/systems/{wildcards.system}/router/router.json",
            "encoder": encoder_of_router(wildcards.system),
        },
        "oracle": {"facts": f"{R}/scores/{wildcards.split}/experts.parquet"},
        "rule": {},
    }
    predictions = [f"{R}/predictions/{wildcards.split}/{expert}.parquet" for expert in route.systems]
    return {"predictions": predictions, **chosen_by[route.by]}


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
        entry = CHECKPOINTS[name]
        return checkpoint_identity(entry.checkpoint, Path(f"{R}/models/{name}.json"), entry.family)
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


ROUTED = {name: entry.route for name, entry in CONFIG.systems.items() if isinstance(entry, RoutedSystem)}
# Their answers are others' answers: nothing of them is judged again, and an oracle's are known only after that.
NOT_ROUTED = [name for name in CONFIG.systems if name not in ROUTED]
CLASSIFIED = [name for name, route in ROUTED.items() if route.by == "classifier"]
ORACLES = [name for name, route in ROUTED.items() if route.by == "oracle"]
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
