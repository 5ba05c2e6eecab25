"""Files of a data set on the Hugging Face hub: listed at one commit, fetched with resumption, verified by hash."""

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, filter_repo_objects, get_session, hf_raise_for_status

from workflow_scripts.core.config.datasets import HubDataset
from workflow_scripts.core.files import BadFile

TRIES = 5
"""Attempts at a file in a row that bring no new byte, before it is given up."""

PAUSE = 1.0
"""Seconds before the first new attempt; doubled for each further one."""

TIMEOUT = 30.0
LONGEST_WAIT = 300.0
BLOCK = 1 << 18

FAULTS = (httpx2.HTTPError, OfflineModeIsEnabled)
"""What a call to the hub raises; HfHubHTTPError is one of the first."""


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
                f"{spec.repo} lists a file outside its tree: {file.path!r}; do not use this repository"
            )
    files = (Remote(file.path, file.size, file.lfs.sha256 if file.lfs else file.blob_id) for file in chosen)
    return Plan(revision, tuple(sorted(files, key=lambda file: file.path)))


def explain(error: Exception, spec: HubDataset) -> str:
    """One sentence on why the hub did not answer as hoped, with the remedy. Tokens never enter it."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    page = f"{endpoint}/datasets/{spec.repo}"
    status = _status(error)
    if isinstance(error, GatedRepoError):
        return f"{spec.repo} is gated: accept its terms at {page} and set HF_TOKEN to a token of the same account"
    if isinstance(error, RevisionNotFoundError):
        return f"{spec.repo} has no revision {spec.revision}; see {page}/commits/main for those that it has"
    if status == 401 and os.environ.get("HF_TOKEN"):
        return f"the hub refuses the token in HF_TOKEN (401): make one with read access at {endpoint}/settings/tokens"
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
    spec: HubDataset, revision: str, file: Remote, target: Path, partial: Path, told: Callable[[int], None]
) -> str:
    """Have `file` at `target`, complete and verified; a part that an earlier run left in `partial` is continued.

    Args:
        told: called with the bytes of the file that are there, now and then.

    Returns:
        The file's SHA-256.

    Raises:
        DownloadFailed: it cannot be had after several attempts without progress, or at once if the hub refuses.
        OSError: the disk is full or not writable.
    """
    if target.is_file() and target.stat().st_size == file.size:
        sha256, digest = digest_of(target, file.digest)
        if digest == file.digest:
            told(file.size)
            return sha256
    partial.parent.mkdir(parents=True, exist_ok=True)
    barren, reached = 0, 0
    while True:
        fault = _continue(spec, revision, file, partial, told)
        size = partial.stat().st_size if partial.exists() else 0
        if fault is None:
            sha256, digest = digest_of(partial, file.digest)
            if digest == file.digest:
                target.parent.mkdir(parents=True, exist_ok=True)
                partial.replace(target)
                told(file.size)
                return sha256
            partial.unlink()
            size, fault = 0, f"{file.path} arrives damaged: its hash is not the hub's; run again, or try another mirror"
        barren = barren + 1 if size <= reached else 0
        reached = max(reached, size)
        if barren >= TRIES:
            raise DownloadFailed(fault)
        time.sleep(PAUSE * 2 ** max(0, barren - 1))


def _continue(spec: HubDataset, revision: str, file: Remote, partial: Path, told: Callable[[int], None]) -> str | None:
    """One attempt at what is missing of `partial`; None if it is now of full size, else what went wrong."""
    there = partial.stat().st_size if partial.exists() else 0
    if there > file.size:
        partial.unlink()
        there = 0
    told(there)
    if there == file.size:
        partial.touch()
        return None
    url = hf_hub_url(spec.repo, file.path, repo_type="dataset", revision=revision)
    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    try:
        with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT, follow_redirects=True) as response:
            hf_raise_for_status(response)
            if there and response.status_code != 206:  # the server starts over
                there = 0
            with partial.open("r+b" if there else "wb") as stream:
                stream.seek(there)
                for block in response.iter_bytes(BLOCK):
                    stream.write(block)
                    there += len(block)
                    told(there)
    except FAULTS as error:
        status = _status(error)
        if status == 416:  # the part is none of this file: begin again
            partial.unlink(missing_ok=True)
        elif status is not None and 400 <= status < 500 and status not in (408, 429):
            raise DownloadFailed(explain(error, spec)) from None
        if status == 429:
            time.sleep(_asked_to_wait(error))
        return explain(error, spec)
    if there != file.size:
        return f"{file.path} arrives with another length than the hub says; run again, or try another mirror"
    return None


def _status(error: Exception) -> int | None:
    """The HTTP status that a fault carries, if it is an answer at all."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None


def _asked_to_wait(error: Exception) -> float:
    """Seconds that a 429 asks to wait, at most `LONGEST_WAIT`."""
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return min(float(asked), LONGEST_WAIT) if asked.isdecimal() else 0.0
