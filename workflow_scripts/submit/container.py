"""Step: pack a system for a challenge: code, weights, adapter, pinned requirements, recipes of images, `predict.sh`.

The folder is what `docker build` or `apptainer build` needs, and runs without an image too. `predict.sh` runs the
workflow's own steps on what the challenge mounts, so that its answers are the workflow's. `container.json` lists every
file with its SHA-256, and is written last.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import jinja2

from workflow_scripts import PACKAGE, ROOT
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.config.section import Section, canonical_json
from workflow_scripts.core.config.sources.entry import Policies
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.config.systems.routed import Route
from workflow_scripts.core.files import BadFile, sha256_of_file, write_json, write_text
from workflow_scripts.core.rows import Convention
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.models.adapters.loading import folder_of_adapter
from workflow_scripts.models.record import (
    ADAPTER_FILES,
    FULL_RECORD,
    FULL_WEIGHTS,
    adapter_content,
    is_full,
    read_record,
    verify_files,
)

TEMPLATES = {"predict.sh": "predict.sh.jinja", "Dockerfile": "Dockerfile.jinja", "container.def": "container.def.jinja"}
"""Written files by the templates beside this module."""

ENVIRONMENT = 10 * 10**9
"""Bytes allowed for what an image holds besides the folder: Debian, Python, a compiler, torch with CUDA's libraries."""

WRITTEN = {
    *(*TEMPLATES, "container.json", "model.json", "model", "adapter", "conventions.parquet", "envs", PACKAGE),
    *("adapters", "router", "encoder.json", "encoder"),
}
"""What stands in the folder."""

ON_ANSWERS = ("no_answer", "answer_not_an_option", "outlier", "duplicate", "contradiction")
"""Policies on the answers of a source: a container reads none, and keeps every row."""


class Member(Section):
    """The system that is packed, as the step that answers takes it."""

    system: str
    adapter: str | None = None  # folder, or record of a published one
    prompt: Prompt = Prompt()
    constrained: bool = False
    boxes: BoxForm = DATASETS_FORM
    rows: str | None = None  # in a routed system: the table of the rows that it answers
    fp8: bool = False


class _File(NamedTuple):
    bytes: int
    sha256: str


def write_container(
    *,
    system: str,
    members: list[Member],
    route: Route | None = None,
    router: Path | None = None,
    encoder: Path | None = None,
    model: Path,
    conventions: Path,
    policies: Policies,
    max_new_tokens: dict[str, int],
    features: bool,
    batch: int,
    gpus: int,
    threads: int,
    base_image: str | None = None,
    gigabytes: float,
    seconds: float | None = None,
    out: Path,
) -> str:
    """Pack a system into the folder of `out`, which is replaced whole.

    Args:
        system: name of the system
        members: JSON of the system, or of each expert of a routed one in the order of `Route.systems`: name, folder or
            record of its adapter or null, prompt, constrained, boxes
        route: JSON of a routed system's `route`
        router: by a classifier: folder that `train.router` published
        encoder: record of the text encoder, where the classifier has one
        model: record of the model
        conventions: Parquet of how each subset writes its answers
        policies: what the dataset does with defects
        max_new_tokens: limit of new tokens, by task
        features: whether vision features are computed before; else the model computes its own
        batch: most rows at once
        gpus: GPUs that the answering needs
        threads: most threads and processes on the CPU
        base_image: image with Python that the container is built on; none: Debian's with this version of Python
        gigabytes: most that the image may hold
        seconds: most that `predict.sh` may take
        out: `container.json` to write; the folder beside it is the container's

    Raises:
        Refused: the image would be too large, a task is defined elsewhere, or the folder holds something else.
        BadFile: a file of the model is not what its record says.
    """
    _check_tasks()
    folder = out.parent
    _check_folder(folder)
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    revision = _pack_model(model, partial)
    inside = [_pack_member(member, partial, routed=route is not None) for member in members]
    if router is not None:
        shutil.copytree(router, partial / "router")
    if encoder is not None:
        _pack_model(encoder, partial, "encoder")
    read_rows(conventions, Convention)  # a damaged table ends here, not in the challenge
    shutil.copyfile(conventions, partial / "conventions.parquet")
    shutil.copytree(ROOT / PACKAGE, partial / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "toy_model*"))
    shutil.copytree(ROOT / "envs", partial / "envs", ignore=shutil.ignore_patterns("*.yaml", "*.sh"))
    lenient = policies.model_copy(update=dict.fromkeys(ON_ANSWERS, "keep"))
    tokens = {task: max_new_tokens[task] for task in sorted(max_new_tokens)}
    texts = _texts(
        system=system,
        package=PACKAGE,
        names=[member.system for member in inside],
        members=[canonical_json(_described(member)) for member in inside],
        boxes=inside[0].boxes.spec() if inside[0].boxes.convention else "",
        parts=[part for part in ("adapter", "adapters", "router", "encoder") if (partial / part).exists()],
        route=None if route is None else route.spec(),
        router=router is not None,
        encoder=encoder is not None,
        policies=lenient.spec(),
        max_new_tokens=" ".join(f"{task} {limit}" for task, limit in tokens.items()),
        features=features,
        batch=batch,
        gpus=gpus,
        threads=threads,
        seconds=seconds,
        requirements="requirements-gpu.txt" if gpus else "requirements.txt",
        base_image=base_image or f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim-bookworm",
    )
    for name, text in texts.items():
        write_text(partial / name, text)
    (partial / "predict.sh").chmod(0o755)
    files = {
        path.relative_to(partial).as_posix(): _File(path.stat().st_size, sha256_of_file(path))
        for path in sorted(partial.rglob("*"))
        if path.is_file()
    }
    size = sum(file.bytes for file in files.values())
    if size + ENVIRONMENT > gigabytes * 10**9:
        shutil.rmtree(partial)
        raise Refused(
            f"{system} would be an image of about {(size + ENVIRONMENT) / 1e9:.1f} GB, {size / 1e9:.1f} GB of "
            f"it weights and code; the limit is {gigabytes:g} GB: pack a smaller model, or raise container.gigabytes"
        )
    described = {
        "system": _described(inside[0])
        if route is None
        else {"system": system, "route": route.model_dump(mode="json"), "experts": list(map(_described, inside))},
        "model": revision,
        "policies": lenient.model_dump(mode="json"),
        "max_new_tokens": tokens,
        "batch": batch,
        "gpus": gpus,
        "limits": {"gigabytes": gigabytes, "seconds": seconds},
        "bytes": size,
        "files": {path: file._asdict() for path, file in files.items()},
    }
    write_json(partial / out.name, described)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return (
        f"container: {folder} holds {size / 1e9:.2g} GB; with about {ENVIRONMENT / 1e9:.0f} GB of Python and torch the "
        f"image stays below {gigabytes:g} GB. Build it: docker build -t {system.lower()} {folder}"
    )


def _check_tasks() -> None:
    """Refuse a task of another package, which the container would lack."""
    for task in tasks().values():
        if not task.package.startswith(f"{PACKAGE}."):
            raise Refused(
                f"task {task.name!r} is defined in {task.package}, which the container does not hold: uninstall the "
                f"package that registers it, or add the task to {PACKAGE}/tasks"
            )


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds something that this step does not write: it is replaced whole."""
    strange = sorted(path.name for path in folder.iterdir() if path.name not in WRITTEN) if folder.is_dir() else []
    if strange:
        raise Refused(
            f"{folder} holds {strange[0]}, which is no part of a container, and would be replaced: set "
            "container.folder to another folder"
        )


def _pack_member(member: Member, folder: Path, *, routed: bool) -> Member:
    """Put the tuned weights of a system, or of an expert of a routed one, into `folder`; the system as it is there."""
    place = f"adapters/{member.system}" if routed else "adapter"
    if member.adapter is not None:
        _pack_adapter(folder_of_adapter(Path(member.adapter)), folder / place)
    rows = f"experts/{member.system}.parquet" if routed else None
    return member.model_copy(update={"adapter": None if member.adapter is None else place, "rows": rows})


def _described(member: Member) -> dict[str, object]:
    """A packed system as JSON; what says nothing is left out."""
    silent = {"boxes"} if member.boxes.convention is None else set()
    silent |= ({"rows"} if member.rows is None else set()) | (set() if member.fp8 else {"fp8"})
    return member.model_dump(mode="json", exclude=silent)


def _pack_model(record: Path, folder: Path, name: str = "model") -> dict[str, str]:
    """Put a checkpoint's files and its record into `folder`, hard links where the disk allows; which one it is.

    Raises:
        BadFile: a file is missing or not what the record says.
    """
    described, source = read_record(record)
    for file_name, sha256 in described.files.items():
        target = folder / name / file_name
        target.parent.mkdir(parents=True, exist_ok=True)
        file = (source / file_name).resolve()
        if not file.is_file():
            raise BadFile(f"{source / file_name} is missing: delete {record} and run again")
        _link_or_copy(file, target)
        if sha256_of_file(target) != sha256:
            raise BadFile(f"{source / file_name} is not what {record} says: delete {record} and run again")
    write_json(folder / f"{name}.json", described.model_copy(update={"folder": name}).model_dump())
    return {"name": described.public_name, "revision": described.revision}


def _link_or_copy(file: Path, target: Path) -> None:
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without hard links
        shutil.copyfile(file, target)


def _pack_adapter(place: Path, folder: Path) -> None:
    """Copy tuned weights: training may write its files again in their place.

    Args:
        place: folder of an adapter or of weights trained in full, or record of a published adapter.
        folder: where to.

    Raises:
        BadFile: they are missing, damaged, or not what the record says.
    """
    if place.suffix == ".json":
        verify_files(place)
        place = read_record(place)[1]
    content = adapter_content(place)
    folder.mkdir(parents=True)
    for name in (FULL_RECORD, FULL_WEIGHTS) if is_full(place) else ADAPTER_FILES:
        shutil.copyfile(place / name, folder / name)
    if adapter_content(folder) != content:
        raise BadFile(f"{place} changed while it was copied; run again")


def _texts(**values: object) -> Mapping[str, str]:
    """The files of `TEMPLATES` with these values."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # shell and recipes: what the configuration wrote is quoted by `shell`
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["shell"] = shlex.quote
    return {name: environment.get_template(template).render(values) for name, template in TEMPLATES.items()}


if __name__ == "__main__":
    run_step(write_container)
