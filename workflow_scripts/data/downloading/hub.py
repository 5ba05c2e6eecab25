"""Files of a dataset on the Hugging Face hub: listed at one commit, fetched with resumption, verified by hash.

Requests are `huggingface_hub`'s: its addresses, headers, retries and resumption. What it does not do is ours: parts
that outlive a killed process, hashes of what arrives, and one sentence for a fault.
"""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial as bind
from pathlib import Path
from typing import Any, Self

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, filter_repo_objects
from huggingface_hub.utils.logging import set_verbosity

from workflow_scripts.core.config.datasets import HubDataset
from workflow_scripts.core.files import BadFile

TRIES = 5
"""Attempts at a file in a row that bring no new byte, before it is given up."""

PAUSE = 1.0
"""Seconds before the first new attempt; doubled for each further one."""

constants.DOWNLOAD_CHUNK_SIZE = 1 << 18  # bytes that a break or a kill may lose: 10 MiB unless set

SILENT = 100
"""A level of logging above all of the library's: its warnings of faults repeat what the step says at its end."""

FAULTS = (httpx2.HTTPError, OfflineModeIsEnabled)
"""What a call to the hub raises; HfHubHTTPError is one of the first."""


RETRIED = (httpx2.ConnectError, httpx2.TimeoutException, httpx2.RemoteProtocolError)
"""Faults after which `http_get` has tried again five times by itself; so it does with 408 and 429, with the waits."""


class DownloadFailed(BadFile):
    """A download cannot go on; the message says why and what to do."""


@dataclass(frozen=True)
class Remote:
    """A file of the repository. `digest` is its SHA-256 where the hub knows it, else git's blob SHA-1."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Plan:
    """What to download: the commit that was resolved, and its files that the patterns choose."""

    revision: str
    files: tuple[Remote, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


def plan_download(spec: HubDataset) -> Plan:
    """Resolve the revision and list the files that the include patterns choose.

    Raises:
        DownloadFailed: the hub refuses or cannot be reached, or no file fits the patterns.
    """
    set_verbosity(SILENT)
    api = HfApi()
    try:
        revision = api.repo_info(spec.repo, repo_type="dataset", revision=spec.revision).sha
        listed = [
            entry
            for entry in api.list_repo_tree(spec.repo, recursive=True, revision=revision, repo_type="dataset")
            if isinstance(entry, RepoFile)
        ]
    except FAULTS as error:
        raise DownloadFailed(explain(error, spec)) from None
    chosen = list(filter_repo_objects(listed, allow_patterns=list(spec.include) or None, key=lambda file: file.path))
    if not chosen:
        raise DownloadFailed(
            f"no file of {spec.repo} at {revision} fits the include patterns {', '.join(spec.include) or '(none)'}"
        )
    for file in chosen:
        if file.path.startswith("/") or ".." in file.path.split("/"):
            raise DownloadFailed(
                f"{spec.repo} lists a file outside its folder: {file.path!r}; do not use this repository"
            )
    files = (Remote(file.path, file.size, file.lfs.sha256 if file.lfs else file.blob_id) for file in chosen)
    return Plan(revision or spec.revision, tuple(sorted(files, key=lambda file: file.path)))


def explain(error: Exception, spec: HubDataset) -> str:
    """One sentence on why the hub did not answer as hoped, with the remedy. Tokens never enter it."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    page = f"{endpoint}/datasets/{spec.repo}"
    status = _status(error)
    if isinstance(error, OfflineModeIsEnabled):
        return (
            f"{spec.repo} is to be downloaded, and HF_HUB_OFFLINE is set: unset it and run again where there is a "
            "connection, or name a `mirror` folder"
        )
    if isinstance(error, GatedRepoError):
        return f"{spec.repo} is gated: accept its terms at {page} and set HF_TOKEN to a token of the same account"
    if isinstance(error, RevisionNotFoundError):
        return f"{spec.repo} has no revision {spec.revision}; see {page}/commits/main for those that it has"
    if status == 401 and get_token():
        return (
            "the hub refuses the token in HF_TOKEN, or the one that `hf auth login` stored (401): make one with read "
            f"access at {endpoint}/settings/tokens"
        )
    if isinstance(error, RepositoryNotFoundError) or status == 401:
        return f"{spec.repo} does not exist or is gated: check the name, accept the terms at {page} and set HF_TOKEN"
    if status == 403:
        return f"the hub forbids reading {spec.repo} (403): accept its terms at {page}, and give the token read access"
    if status == 429:
        return "the hub asks for fewer requests (429): wait some minutes, set HF_TOKEN if it is not set, and run again"
    if status is not None:
        return f"the hub answers with an error ({status}) for {spec.repo}: run again later; what is there is kept"
    return (
        f"the hub at {endpoint} cannot be reached ({type(error).__name__}): check the network, or set HF_ENDPOINT to a "
        "mirror; what is there is kept"
    )


def digest_of(path: Path, like: str) -> tuple[str, str]:
    """SHA-256 of a file, and its digest in the hub's manner: the same, or git's blob SHA-1 if `like` is one."""
    sha256, git = hashlib.sha256(), hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    both = (sha256, git) if len(like) == 40 else (sha256,)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            for running in both:
                running.update(block)
    return sha256.hexdigest(), both[-1].hexdigest()


def fetch(
    spec: HubDataset, revision: str, file: Remote, target: Path, partial: Path, report: Callable[[int], None]
) -> str:
    """Have `file` at `target`, complete and verified; a part that an earlier run left in `partial` is continued.

    Args:
        report: called with the bytes of the file that are there, now and then.

    Returns:
        The file's SHA-256.

    Raises:
        DownloadFailed: it cannot be had after several attempts without progress, or at once if the hub refuses.
        OSError: the disk is full or not writable.
    """
    if target.is_file() and target.stat().st_size == file.size:
        sha256, digest = digest_of(target, file.digest)
        if digest == file.digest:
            report(file.size)
            return sha256
    partial.parent.mkdir(parents=True, exist_ok=True)
    barren, reached = 0, 0
    while True:
        fault = _attempt(spec, revision, file, partial, report)
        if fault is None:
            sha256, digest = digest_of(partial, file.digest)
            if digest == file.digest:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(target)
                report(file.size)
                return sha256
            partial.unlink()
            fault = Fault(f"{file.path} arrives damaged: its hash is not the hub's; run again, or try another mirror")
        size = partial.stat().st_size if partial.exists() else 0
        barren = barren + fault.tries if size <= reached else 0
        reached = max(reached, size)
        if barren >= TRIES:
            raise DownloadFailed(fault.sentence)
        time.sleep(PAUSE * 2 ** max(0, barren - 1))


@dataclass(frozen=True)
class Fault:
    """Why an attempt ended before the file was complete, and how many tries it was."""

    sentence: str
    tries: int = 1


def _attempt(
    spec: HubDataset, revision: str, file: Remote, partial: Path, report: Callable[[int], None]
) -> Fault | None:
    """One attempt at what is missing of `partial`; None if it is now of full size."""
    present = partial.stat().st_size if partial.exists() else 0
    if present > file.size:
        partial.unlink()
        present = 0
    url = hf_hub_url(spec.repo, file.path, repo_type="dataset", revision=revision)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}  # a range of compressed bytes is none of the file's
    progress: Any = bind(_Progress, report, file.size)
    try:
        with partial.open("ab") as stream:
            http_get(url, stream, resume_size=present, headers=headers, expected_size=file.size, tqdm_class=progress)
    except FAULTS as error:
        status = _status(error)
        if status == 416:  # the part is none of this file: begin again
            partial.unlink(missing_ok=True)
        elif status is not None and 400 <= status < 500 and status not in (408, 429):
            raise DownloadFailed(explain(error, spec)) from None
        repeated = isinstance(error, RETRIED) or status in (408, 429)
        return Fault(explain(error, spec), TRIES if repeated else 1)
    except OSError as error:
        if error.errno is not None:
            raise
        return Fault(f"{file.path} arrives with another length than the hub says; run again, or try another mirror")
    except ValueError as error:
        raise DownloadFailed(f"{file.path} cannot be downloaded: {error}") from None
    return None


class _Progress:
    """What the library takes for a progress bar: reports the bytes that are there, and ends with the file."""

    def __init__(self, report: Callable[[int], None], size: int, *, initial: int = 0, **_: object) -> None:
        self._report = report
        self._size = size
        self._present = initial
        report(initial)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, count: int) -> None:
        """`count` more bytes are there; fewer where the server starts over.

        Raises:
            OSError: more than the file has, before they are written: a server may send without end.
        """
        self._present += count
        if self._present > self._size:
            raise OSError("longer than the hub says")
        self._report(self._present)


def _status(error: Exception) -> int | None:
    """The HTTP status that a fault carries, if it is an answer at all."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
