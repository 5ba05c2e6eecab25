"""What a configuration names outside itself: folders, files and repositories, checked before anything is planned."""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workflow_scripts.core.config.datasets import PREPARED, HubDataset, LocalDataset
from workflow_scripts.core.config.judges import CheckpointJudge, RecordedJudge
from workflow_scripts.core.config.models import HubModel
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.config.sources.joined import faults_of_joins
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.config.systems.entry import ImportedSystem
from workflow_scripts.core.manifest import SPLIT_FOLDERS

if TYPE_CHECKING:
    from workflow_scripts.core.config.workflow import Configuration

RELATIVE = "relative to the folder in which Snakemake runs"


def faults_of_places(configuration: "Configuration") -> Iterator[str]:
    """One sentence for each place that is not there or cannot be what it is named as, with the key that names it."""
    for name, dataset in configuration.datasets.items():
        if isinstance(dataset, LocalDataset):
            yield from _faults_of_dataset(configuration, name, dataset)
        elif isinstance(dataset, HubDataset) and dataset.mirror is not None and not _folder(dataset.mirror):
            remedy = "give one that holds `training/`, or null for the hub"
            yield f"datasets.{name}.mirror: {dataset.mirror} is not a directory; {remedy}"
        elif isinstance(dataset, PREPARED):
            yield from _faults_of_source(name, dataset)
            yield from _faults_of_results(configuration, name, dataset)
    yield from faults_of_joins(configuration.datasets)
    for name, model in configuration.models.items():
        if isinstance(model, HubModel) and configuration.loads(name):  # else it is for the server to find
            yield from _faults_of_checkpoint(f"models.{name}", model.checkpoint, model.revision, "commit, or `main`")
            if model.clip is not None:
                place = f"models.{name}.clip"
                yield from _faults_of_checkpoint(place, model.clip.checkpoint, model.clip.revision, "commit, or `main`")
    for name, judge in configuration.judges.items():
        if isinstance(judge, CheckpointJudge):
            yield from _faults_of_checkpoint(f"judges.{name}", judge.checkpoint, judge.revision, "commit, or `main`")
        elif isinstance(judge, RecordedJudge) and not judge.file.is_file():
            yield f"judges.{name}.path: {judge.file} is not a file; give the file of the recorded replies, {RELATIVE}"
    for name, fetched in configuration.checkpoints().items():
        if fetched.family == "adapter" and fetched.revision is None and not fetched.local:
            yield (
                f"systems.{name.removeprefix('adapters/')}.adapter: {fetched.checkpoint} is not a directory here; give "
                "the folder of the adapter, or OWNER/NAME@REVISION of the hub (a full commit, or `main`)"
            )
    for name, system in configuration.systems.items():
        if isinstance(system, ImportedSystem) and not system.file.is_file():
            yield f"systems.{name}.predictions: {system.file} is not a file; give the file of predictions, {RELATIVE}"
    for name, text_encoder in configuration.text_encoders().items():
        place = f"systems.{name}.route.encoder"
        yield from _faults_of_checkpoint(place, text_encoder.checkpoint, text_encoder.revision, "commit, or `main`")
    scoring = configuration.scoring
    if scoring.nltk_data is not None and not _folder(scoring.nltk_data):
        yield f"scoring.nltk_data: {scoring.nltk_data} is not a directory; download it, or set null"
    if (encoder := scoring.bertscore) is not None:
        yield from _faults_of_checkpoint("scoring.bertscore", encoder.checkpoint, encoder.revision, "commit, or `main`")


def _folder(path: str) -> bool:
    return Path(path).expanduser().is_dir()


def _faults_of_checkpoint(place: str, checkpoint: str, revision: str | None, expected: str = "commit") -> Iterator[str]:
    """A checkpoint is a folder here, or a repository at a revision."""
    if _folder(checkpoint):
        return
    if checkpoint.startswith(("/", "~", ".")):
        yield f"{place}.checkpoint: {checkpoint} is not a directory; give the folder of the checkpoint"
    elif revision is None:
        yield (
            f"{place}.revision: {checkpoint} is not a directory here, and a repository of the hub needs its full "
            f"{expected}: a full commit has 40 hexadecimal digits"
        )


def _faults_of_source(name: str, entry: DatasetEntry) -> Iterator[str]:
    """The folder or the file that a dataset is prepared from; none of one that is downloaded."""
    if isinstance(entry, TableDataset) and entry.repo is not None:
        if entry.mirror is not None and not _folder(entry.mirror):
            yield f"datasets.{name}.mirror: {entry.mirror} is not a directory; give one, or null for the hub"
        return
    path = getattr(entry, "path", None)
    if path is None or not Path(path).expanduser().exists():
        yield f"datasets.{name}.path: {path or 'null'} does not exist; give the folder or the file"


def _faults_of_results(configuration: "Configuration", name: str, entry: DatasetEntry) -> Iterator[str]:
    """Results or a store below a folder of DICOM files, every file of which is one of the source's."""
    if not isinstance(entry, DicomDataset):
        return
    root = Path(entry.path).expanduser().resolve()
    for key, written in (("results", configuration.results), ("store", configuration.store)):
        if written is not None and Path(written).expanduser().resolve().is_relative_to(root):
            yield (
                f"{key}: {written} lies in {entry.path}, and every file there is taken for one of the files of "
                f"datasets.{name}; give a folder elsewhere"
            )


def _faults_of_dataset(configuration: "Configuration", name: str, dataset: LocalDataset) -> Iterator[str]:
    """The folder, and what splits and policies name in it."""
    root, place = configuration.folder_of(name), f"datasets.{name}"
    if not root.is_dir():
        yield f"{place}.path: {root} does not exist; give the folder that holds `training/`"
        return
    if next(root.glob("*/*/*/*.json"), None) is None:
        yield (
            f"{place}.path: {root} holds no question file; expected {{training,validation-public,…}}/"
            "<Modality>/<subset>/*.json below it"
        )
        return
    subsets = _subsets_of(root)
    for split_name, split in configuration.splits.items():
        if split.dataset != name:
            continue
        if split.folder not in subsets:
            yield f"splits.{split_name}.folder: {root} has no {split.folder}; it has {', '.join(sorted(subsets))}"
        else:
            for key in ("only", "exclude"):
                yield from _unknown(f"splits.{split_name}.{key}", getattr(split, key), subsets[split.folder])
    every = set().union(*subsets.values())
    yield from _unknown(f"{place}.policies.conventions", dataset.policies.conventions, every)
    yield from _unknown(f"{place}.policies.cases", dataset.policies.cases, every)


def _subsets_of(root: Path) -> dict[str, set[str]]:
    """The names of the subsets of each split folder that is there."""
    subsets: dict[str, set[str]] = {}
    for spelling, folder in SPLIT_FOLDERS.items():
        if (root / spelling).is_dir():
            below = {path.name for path in (root / spelling).glob("*/*") if path.is_dir()}
            subsets.setdefault(folder, set()).update(below)
    return subsets


def _unknown(place: str, names: Iterable[str], subsets: set[str]) -> Iterator[str]:
    """Names that are no subset's, each with the nearest one or all that there are."""
    for name in names:
        if name not in subsets:
            by_form = {subset.casefold(): subset for subset in sorted(subsets)}
            near = difflib.get_close_matches(name.casefold(), by_form, n=1)
            hint = f"did you mean {by_form[near[0]]!r}? " if near else ""
            yield f"{place}: {name!r} is not a subset there; {hint}there are: {', '.join(sorted(subsets)) or 'none'}"
