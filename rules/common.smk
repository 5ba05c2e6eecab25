"""The configuration, the names of what it describes, and the forms of options; with the files that are named after what
the rules ask of (datasets, checkpoints, systems, routers, judges) all that rules compute. Nothing imports torch."""

import gc
from inspect import signature

from snakemake.common import overwrite_function_params
from snakemake.exceptions import WorkflowError
from snakemake.resources import Resource

from workflow_scripts.cache.fingerprints import identity as code
from workflow_scripts.cache.given_files import identity_of_file
from workflow_scripts.core.config.datasets import CONVERTED, PREPARED, HubDataset, LocalDataset, SyntheticDataset
from workflow_scripts.core.config.models import SyntheticModel
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems.encoder import EncoderSystem
from workflow_scripts.core.config.systems.entry import BaselineSystem, ImportedSystem
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.config.systems.routed import RoutedSystem
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration
from workflow_scripts.core.files import BadFile, temporary_folder
from workflow_scripts.core.groups.holdouts import held_out_by

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

ROUTED = {name: entry.route for name, entry in CONFIG.systems.items() if isinstance(entry, RoutedSystem)}
# Their answers are others' answers: nothing of them is judged again, and an oracle's are known only after that.
NOT_ROUTED = [name for name in CONFIG.systems if name not in ROUTED]
CLASSIFIED = [name for name, route in ROUTED.items() if route.by == "classifier"]
ORACLES = [name for name, route in ROUTED.items() if route.by == "oracle"]
LOADED = [name for name, s in CONFIG.systems.items() if isinstance(s, ModelSystem) and s.engine is None]
CHECKPOINTS = CONFIG.checkpoints()
# Text encoders that are tuned and answer; their logs are shown as those of other tuned systems.
ENCODERS = {name: entry for name, entry in CONFIG.systems.items() if isinstance(entry, EncoderSystem)}
# What sources say of their rows, by which scores are shown too.
GROUPS = list(CONFIG.groups.columns)
# Systems that trained without one hospital are evaluated on that one alone.
HELD_OUT = held_out_by(CONFIG.holdouts)
ALONE = {name: HELD_OUT[entry.train] for name, entry in CONFIG.systems.items() if entry.train in HELD_OUT}
TRAINING_SPLITS = sorted({s.train for s in CONFIG.systems.values() if isinstance(s, ModelSystem) and s.train})


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


def option(flag, values):
    """A flag with its values for a list that `:q` quotes word by word; nothing where there is no value."""
    values = [values] if isinstance(values, str) else list(values)
    return [flag, *values] if values else []


def with_signature(function):
    """Store a function's parameters: Snakemake asks for them several times a job, and lists them anew each time."""
    overwrite_function_params(function, signature(function).parameters)
    return function


# It is called for each resource of each job that is a function.
with_signature(Resource.evaluate)


def of_systems(value_of, systems):
    """For resources: `value_of` the systems of a job; a constant, cheap to plan with, where it is one for all."""
    values = {value_of([system]) for system in systems}
    if len(values) == 1:
        return values.pop()
    return with_signature(lambda w: value_of(w.get("group", w.get("system")).split("+")))


def on_split(names, split):
    """Those of the systems that are evaluated on a split, in their order."""
    return [name for name in names if ALONE.get(name, split) == split]


def of_split(names):
    """For params: the systems that are evaluated on a job's split; a plain list where that is all of them."""
    return with_signature(lambda w: on_split(names, w.split)) if ALONE else list(names)


def each_system(path, names, **values):
    """For input: `path` for each of the systems that are evaluated on a job's split, and each of `values`."""
    if not ALONE:
        return expand(path, split="{split}", system=names, **values)
    return lambda w: expand(path, split=w.split, system=on_split(names, w.split), **values)


def growing(amount):
    """An amount, or a function of wildcards, multiplied by the attempt: a job that was retried gets more."""
    return with_signature(lambda w, attempt: attempt * (amount(w) if callable(amount) else amount))


def one(gpus):
    """GPUs of a job of one process: shards, splits and systems use the others."""
    return min(1, gpus)


def state_of_file(file, record):
    """Text that changes with the bytes of a file that somebody gives; what a job read of it stands in `record`."""
    try:
        return identity_of_file(Path(file), Path(record))
    except OSError as error:
        raise WorkflowError(f"{file} cannot be read: {error.strerror}") from None


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    split="[A-Za-z0-9_-]+",
    model="[A-Za-z0-9_-]+",
    system="[A-Za-z0-9_-]+",
    group="[A-Za-z0-9_+-]+",
    judge="[A-Za-z0-9_-]+",
    shard="[0-9]+-of-[0-9]+",
