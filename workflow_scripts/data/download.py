"""Step: a FLARE-shaped dataset from the Hugging Face hub at one commit, or from a mirror folder; resumable.

The revision is resolved when a download starts and recorded in the dataset's folder, so that a download that goes on
after a break goes on with the same commit. Partial files lie in a hidden folder until their hash is right.
"""

import errno
import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from huggingface_hub.utils import filter_repo_objects
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import HubDataset
from workflow_scripts.core.files import read_json, sha256_of_file, write_json
from workflow_scripts.core.manifest import FileEntry, Manifest, stamps_below, write_manifest
from workflow_scripts.data.conversion.process_pool import cores
from workflow_scripts.data.downloading.hub import DownloadFailed, Plan, Remote, fetch, plan_download
from workflow_scripts.data.downloading.unpack import unpack_archives

WORK = ".download"
MEGABYTE = 10**6

Get = Callable[[HubDataset, str, Remote, Path, Path, Callable[[int], None]], str]


def download_files(spec: HubDataset, root: Path, threads: int) -> Manifest:
    """Have the files of `spec` below `root`.

    Returns:
        The manifest, with the resolved revision.

    Raises:
        DownloadFailed: one sentence with the remedy.
    """
    with _alone(root):
        get: Get
        if spec.mirror is not None:
            plan, get = _plan_of_folder(spec), _copy
        else:
            plan, get = _plan_of_hub(spec, root), fetch
        print(f"download: {len(plan.files)} files, {plan.size / MEGABYTE:,.1f} MB, {plan.revision or spec.mirror}")
        _check_space(plan, root)
        hashes = _get_all(spec, plan, root, threads, get)
    files: list[FileEntry] = [
        {"path": file.path, "size": file.size, "sha256": hashes[file.path]}
        for file in plan.files
        if not _hidden(file.path)
    ]
    if spec.unpack:
        for folder in unpack_archives(root, cores()):
            for inner, stamp in stamps_below(folder).items():
                path = folder / inner
                name = path.relative_to(root).as_posix()
                files.append({"path": name, "size": stamp.size, "sha256": sha256_of_file(path)})
        files.sort(key=lambda entry: entry["path"])
    source = json.loads(spec.source_spec()) | {"revision": plan.revision}
    del source["mirror"]  # where it came from is this machine's affair
    return {"source": source, "files": files}


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """One download a folder: a run that was cut off may have left one behind that still writes."""
    (root / WORK).mkdir(parents=True, exist_ok=True)
    with (root / WORK / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DownloadFailed(f"another process downloads to {root}; wait for it or end it") from None
        yield


def _plan_of_hub(spec: HubDataset, root: Path) -> Plan:
    """The plan, at the commit with which an unfinished download of the same revision began."""
    record = root / WORK / "revision.json"
    request = {"repo": spec.repo, "revision": spec.revision}
    begun = read_json(record) if record.is_file() else None
    if isinstance(begun, dict) and begun.get("request") == request:
        return plan_download(spec.model_copy(update={"revision": begun["resolved"]}))
    plan = plan_download(spec)
    write_json(record, {"request": request, "resolved": plan.revision})
    return plan


def _plan_of_folder(spec: HubDataset) -> Plan:
    """The plan of a folder that mirrors the repository. It has no revision; digests are taken when files are copied."""
    mirror = Path(spec.mirror or "").expanduser()
    if not mirror.is_dir():
        raise DownloadFailed(
            f"the mirror {mirror} is not a directory; give one that holds `training/`, or null for the hub"
        )
    stamps = stamps_below(mirror)
    paths = list(filter_repo_objects(stamps, allow_patterns=list(spec.include) or None))
    if not paths:
        raise DownloadFailed(f"no file of {mirror} fits the include patterns {', '.join(spec.include) or '(none)'}")
    return Plan("", tuple(Remote(path, stamps[path].size, "") for path in sorted(paths)))


def _check_space(plan: Plan, root: Path) -> None:
    """Before the first byte: what is missing must fit on the disk."""
    present = sum(path.stat().st_size for path in (root / file.path for file in plan.files) if path.is_file())
    present += sum(path.stat().st_size for path in (root / WORK).rglob("*.part"))
    free, missing = shutil.disk_usage(root).free, plan.size - present
    if missing > free:
        raise DownloadFailed(_full_disk(root, missing, free))


def _full_disk(root: Path, missing: int | None, free: int) -> str:
    needs = f"{missing / MEGABYTE:,.0f} MB are missing and " if missing is not None else ""
    return (
        f"the disk of {root} is full: {needs}{free / MEGABYTE:,.0f} MB are free; make space, or choose fewer subsets "
        "with `include`, or put `results` on another disk, and run again: what is there is kept"
    )


def _get_all(spec: HubDataset, plan: Plan, root: Path, threads: int, get: Get) -> dict[str, str]:
    """Get every file, `threads` at a time, under one progress bar. Returns SHA-256 by path."""
    reached: dict[str, int] = {}
    lock = Lock()
    with tqdm(total=plan.size, desc="download", unit="B", unit_scale=True, mininterval=1) as bar:

        def get_one(file: Remote) -> str:
            def report(size: int) -> None:
                with lock:
                    bar.update(size - reached.get(file.path, 0))
                    reached[file.path] = size

            partial = root / WORK / f"{file.path}.part"
            return get(spec, plan.revision, file, root / file.path, partial, report)

        with ThreadPoolExecutor(threads) as pool:
            waiting = {file.path: pool.submit(get_one, file) for file in plan.files}
            try:
                return {path: result.result() for path, result in waiting.items()}
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise DownloadFailed(f"{root} cannot be written to ({error.strerror})") from None
                raise DownloadFailed(_full_disk(root, None, shutil.disk_usage(root).free)) from None
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _copy(
    spec: HubDataset, _revision: str, file: Remote, target: Path, partial: Path, report: Callable[[int], None]
) -> str:
    """Copy a mirror's file unless the same is there."""
    origin = Path(spec.mirror or "").expanduser() / file.path
    sha256 = sha256_of_file(origin)
    if not (target.is_file() and target.stat().st_size == file.size and sha256_of_file(target) == sha256):
        partial.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(origin, partial)
        if sha256_of_file(partial) != sha256:
            raise DownloadFailed(f"{file.path} changes while it is copied from the mirror; run again when it rests")
        partial.replace(target)
    report(file.size)
    return sha256


def download(*, spec: HubDataset, out: Path, manifest: Path, threads: int = 8) -> str:
    """Download a dataset from the Hugging Face hub, or copy it from a mirror folder; what is there is verified.

    Args:
        spec: the dataset's entry in the configuration
        out: folder to download to
        manifest: JSON to write
        threads: files at a time
    """
    downloaded = download_files(spec, out, threads)
    write_manifest(manifest, downloaded)
    return f"download: {len(downloaded['files'])} files are there and verified"


if __name__ == "__main__":
    run_step(download)
