"""Write the commits that a run recorded into its configuration: `python -m workflow_scripts.cli.pin --configfile FILE`.

`revision: main` of a dataset, a model, a judge or an encoder, and `@main` of an adapter, are resolved to a commit when
they are fetched, and recorded below the results folder. This puts these commits in the place of `main`; everything else
in the file stays as it is.
"""

from pathlib import Path
from typing import NamedTuple

import yaml

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.datasets import HubDataset
from workflow_scripts.core.config.judges import CheckpointJudge
from workflow_scripts.core.config.models import HubModel
from workflow_scripts.core.config.section import MOVING
from workflow_scripts.core.config.systems.encoder import EncoderSystem
from workflow_scripts.core.config.systems.model import ModelSystem
from workflow_scripts.core.config.workflow import Configuration, ConfigurationError, read_configuration
from workflow_scripts.core.files import BadFile, read_json, write_text


class Pin(NamedTuple):
    """A section of the configuration, and the file that records the commit of its `main`."""

    place: tuple[str, ...]
    record: Path
    key: str = "revision"  # of the section; `adapter` has the commit behind an `@`


def moving_revisions(configuration: Configuration) -> list[Pin]:
    """The sections whose revision is `main`."""
    results = Path(configuration.results)
    pins = [
        Pin(("datasets", name), results / "data" / name / "manifest.json")
        for name, dataset in configuration.datasets.items()
        if isinstance(dataset, HubDataset) and dataset.mirror is None and dataset.revision == MOVING
    ]
    pins += [
        Pin(("models", name), results / "models" / f"{name}.json")
        for name, model in configuration.models.items()
        if isinstance(model, HubModel) and model.revision == MOVING and configuration.loads(name)
    ]
    pins += [
        Pin(("systems", name), results / "models/adapters" / f"{name}.json", "adapter")
        for name, system in configuration.systems.items()
        if isinstance(system, ModelSystem) and (system.adapter or "").endswith(f"@{MOVING}")
    ]
    pins += [
        Pin(("systems", name, "encoder"), results / "models/encoders/systems" / f"{name}.json")
        for name, system in configuration.systems.items()
        if isinstance(system, EncoderSystem) and system.encoder.revision == MOVING
    ]
    pins += [
        Pin(("judges", name), results / "models/judges" / f"{name}.json")
        for name, judge in configuration.judges.items()
        if isinstance(judge, CheckpointJudge) and judge.revision == MOVING
    ]
    encoder = configuration.scoring.bertscore
    if encoder is not None and encoder.revision == MOVING:
        pins.append(Pin(("scoring", "bertscore"), results / "models/encoders/bertscore.json"))
    return pins


def commit_of(record: Path) -> str:
    """The commit that a dataset's manifest or a checkpoint's record names.

    Raises:
        BadFile: the file is missing, damaged, or names no commit.
    """
    content = read_json(record)
    match content:
        case {"source": {"revision": str(commit)}} | {"revision": str(commit)}:
            return commit
    raise BadFile(f"{record} names no revision; delete it and fetch again")


def pinned(text: str, place: tuple[str, ...], commit: str, key: str = "revision") -> str:
    """`text`, a YAML file, with `revision: commit` in the section at `place`, instead of the one there or added.

    With `key` adapter, the commit takes the place of what stands behind the adapter's `@`.
    """
    node = yaml.compose(text)
    for name in place:
        node = _value(node, name)
    assert isinstance(node, yaml.MappingNode)
    if key == "adapter":
        adapter = _value(node, key)
        assert adapter is not None
        start, end = adapter.start_mark.index, adapter.end_mark.index
        return text[:start] + text[start:end].replace(f"@{MOVING}", f"@{commit}") + text[end:]
    revision = _value(node, "revision")
    if revision is not None:
        return text[: revision.start_mark.index] + commit + text[revision.end_mark.index :]
    _, last = node.value[-1]
    if node.flow_style:
        return text[: last.end_mark.index] + f", revision: {commit}" + text[last.end_mark.index :]
    first, _ = node.value[0]
    line = f"revision: {commit}\n" + " " * first.start_mark.column
    return text[: first.start_mark.index] + line + text[first.start_mark.index :]


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def pin(*, configfile: Path) -> str:
    """Write recorded commits into a configuration.

    Args:
        configfile: the configuration of a run that has fetched what it names.

    Raises:
        Refused: the file is not a valid configuration, or something it names was not fetched yet.
    """
    try:
        pins = moving_revisions(read_configuration(configfile))
    except ConfigurationError as error:
        raise Refused(str(error)) from None
    if absent := [pin for pin in pins if not pin.record.is_file()]:
        sections = ", ".join(".".join(pin.place) for pin in absent)
        raise Refused(
            f"{sections}: {absent[0].record} is missing, so that the commit of `main` is not known yet: fetch first, "
            f"with `snakemake --configfile {configfile} --until data_download models_fetch`"
        )
    text = configfile.read_text(encoding="utf-8")
    lines = []
    for place, record, key in pins:
        commit = commit_of(record)
        text = pinned(text, place, commit, key)
        lines.append(f"{'.'.join(place)}.{key}: {'…@' if key == 'adapter' else ''}{commit}")
    write_text(configfile, text)
    return "\n".join(lines) or f"{configfile}: no revision is `main`"


if __name__ == "__main__":
    run_step(pin)
