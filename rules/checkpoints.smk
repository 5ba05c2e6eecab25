"""What the rules ask of models: their checkpoints, their code, their devices."""

from snakemake.exceptions import WorkflowError

from workflow_scripts.cache.fingerprints import identity as code
from workflow_scripts.core.config.datasets import HubDataset
from workflow_scripts.core.config.judges import CheckpointJudge
from workflow_scripts.core.config.models import HubModel
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.record import checkpoint_identity


def model_of_job(wildcards):
    """The model that a job loads."""
    return wildcards.get("model") or model_of(wildcards.get("group") or wildcards.system)


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


def launcher(gpus):
    """How a step starts that has one process for each of its GPUs."""
    several = f"accelerate launch --num_processes {gpus} --num_machines 1"
    several += " --main_process_port 0 --mixed_precision no --dynamo_backend no --module"
    return f"python -m workflow_scripts.cli.devices {gpus} -- {several if gpus > 1 else 'python -m'}"


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
        if isinstance(entry, HubDataset) and entry.mirror is None and is_used(name)
    ]
    + [
        Gated(entry.repo, f"https://huggingface.co/datasets/{entry.repo}", f"{R}/data/{name}/download.json")
        for name, entry in CONFIG.datasets.items()
        if downloads(entry) and entry.gated and entry.mirror is None and is_used(name)
    ]
)
