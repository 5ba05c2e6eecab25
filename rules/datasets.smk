"""What the rules ask of datasets and splits."""

from snakemake.exceptions import WorkflowError

from workflow_scripts.cache.fingerprints import identity as code
from workflow_scripts.cache.folders import identity_of_files
from workflow_scripts.cache.source_files import identity_of_source
from workflow_scripts.core.config.datasets import PREPARED, LocalDataset
from workflow_scripts.core.config.sources.joined import JoinedDataset
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import dataset_stamps

TABLES_OF_DATA = ("rows", "quarantine", "images", "conventions")
"""What is known of a dataset once it is converted or joined."""


def root_of(dataset):
    """The folder that the image paths of a dataset start from."""
    entry = CONFIG.datasets[dataset]
    return str(CONFIG.folder_of(dataset)) if isinstance(entry, LocalDataset) else f"{R}/data/{dataset}/root"


def code_of_source(dataset):
    """The fingerprint of what reads one kind of source."""
    return code(f"workflow_scripts.data.sources.{CONFIG.datasets[dataset].source}")


def downloads(entry):
    """Whether the source of a prepared dataset is fetched from the hub, or copied from a mirror."""
    return isinstance(entry, TableDataset) and entry.repo is not None


def source_of(dataset):
    """The folder or the file that a dataset is prepared from."""
    entry = CONFIG.datasets[dataset]
    return f"{R}/data/{dataset}/download" if downloads(entry) else str(Path(entry.path or "").expanduser())


def look_at_source(dataset):
    """Flags that change with the files that a dataset is prepared from; none where a download's manifest says it."""
    if downloads(entry := CONFIG.datasets[dataset]):
        return []
    seen = f"{R}/data/{dataset}/seen.json"
    try:
        return ["--identity", identity_of_source(entry, Path(source_of(dataset)), Path(seen)), "--seen", seen]
    except BadFile as error:
        raise WorkflowError(f"datasets.{dataset}.path: {error}") from None


def parts_of(dataset):
    """The datasets that a joined one is joined from."""
    entry = CONFIG.datasets[dataset]
    return entry.datasets if isinstance(entry, JoinedDataset) else ()


def is_used(dataset):
    """Whether a split is drawn from a dataset, or from one that it is joined to."""
    drawn = {split.dataset for split in CONFIG.splits.values()}
    return dataset in drawn or any(dataset in parts_of(name) for name in drawn)


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


def root_of_split():
    """The folder that the image paths of a job's split start from; a constant where it is one for all splits."""
    roots = {root_of(split.dataset) for split in CONFIG.splits.values()}
    return roots.pop() if len(roots) == 1 else lambda w: root_of(CONFIG.splits[w.split].dataset)


def protected_from(split):
    """The evaluated splits whose images and cases a split must not share; evaluated and submitted ones stay whole."""
    evaluated = [HELD_OUT[split]] if split in HELD_OUT else CONFIG.evaluate
    return [] if split in CONFIG.evaluate + CONFIG.submit else [CONFIG.splits[name] for name in evaluated]


def other_protected(split):
    """The datasets of those splits, besides its own."""
    return sorted({other.dataset for other in protected_from(split)} - {CONFIG.splits[split].dataset})


def selections_before(split):
    """What has to be chosen before an evaluated split is written, so that nothing chooses by its rows."""
    evaluated = split in CONFIG.evaluate + CONFIG.submit
    return [ancient(f"{R}/systems/{name}/selection.json") for name in SELECTED] if evaluated else []
