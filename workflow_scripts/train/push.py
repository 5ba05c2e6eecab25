"""Step: upload an adapter with its model card, or merged weights, to the Hugging Face hub, as one commit.

Only the target `push` runs it, and only for systems that the configuration's `publish` names.
"""

from collections.abc import Iterable
from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    ModelCard,
    constants,
    get_token,
)
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.report import Publication
from workflow_scripts.core.files import BadFile, sha256_of_file
from workflow_scripts.core.provenance import write_provenance
from workflow_scripts.train.card import CONTENTS_OF_FULL

UPLOADED = (".json", ".safetensors", ".jinja", ".model", ".txt")
"""Endings of the files that are uploaded; nothing else of the folder is."""

CARD = "README.md"

STALE = (".safetensors", ".safetensors.index.json", "adapter_config.json", "config.json", "generation_config.json")
"""How names of files end that an earlier upload may have left, and that a loader would take for those of this one."""


def push(*, publication: Publication, system: str, folder: Path, card: Path, out: Path) -> str:
    """Upload a folder of weights with its card, and write which commit it became.

    Args:
        publication: JSON of the repository, what it is to hold, and whether it is private
        system: name of the tuned system
        folder: the adapter's, or that of merged weights
        card: model card with metrics
        out: JSON file to write

    Raises:
        Refused: there is no token, the hub refuses it, or the repository is public where a private one was asked for,
            or the reverse.
        BadFile: the folder holds no weights.
    """
    token = get_token()
    if constants.HF_HUB_OFFLINE:
        raise Refused("HF_HUB_OFFLINE is set, and an upload needs the hub: unset it and run again")
    if token is None:
        raise Refused(f"an upload to {publication.repo} needs a token that may write: export HF_TOKEN=…")
    files = files_to_upload(folder)
    api = HfApi(token=token)
    try:
        present = _repository(api, publication)
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(file.name, file) for file in files
        ]
        operations.append(CommitOperationAdd(CARD, card_text(card, publication).encode()))
        operations += [CommitOperationDelete(name) for name in stale(present, [file.name for file in files])]
        commit = api.create_commit(
            publication.repo, operations, commit_message=f"{publication.what} of {system}, by flarebench"
        )
    except (HfHubHTTPError, HFValidationError, HTTPError, OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split()).replace(token, "…")
        raise Refused(
            f"{publication.repo} could not be uploaded to: {said}; check the network, and that the token may write "
            "there, and run again"
        ) from None
    write_provenance(
        out,
        {
            **publication.model_dump(mode="json"),
            "system": system,
            "commit": commit.oid,
            "files": {file.name: sha256_of_file(file) for file in files},
        },
    )
    return f"{publication.repo}: {len(files) + 1} files of {system} are commit {commit.oid}"


def files_to_upload(folder: Path) -> list[Path]:
    """The weights of a folder and what is read beside them, sorted; no hidden file, no card.

    Raises:
        BadFile: there are no weights.
    """
    files = sorted(file for file in folder.glob("[!.]*") if file.is_file() and file.name.endswith(UPLOADED))
    if not any(file.suffix == ".safetensors" for file in files):
        raise BadFile(f"{folder} holds no weights (*.safetensors); run its rule again")
    return files


def card_text(card: Path, publication: Publication) -> str:
    """The card as it is uploaded: that of merged weights says so, and names the library that loads them."""
    text = card.read_text(encoding="utf-8")
    if publication.what == "adapter":
        return text
    for kind, contents in (("Adapter", ""), ("Weights", CONTENTS_OF_FULL)):
        text = text.replace(f"# {kind} tuned by flarebench", f"# Model tuned by flarebench, {kind.lower()} merged", 1)
        text = text.replace(contents, "", 1)
    merged = ModelCard(text)
    merged.data["library_name"] = "transformers"
    merged.data["base_model_relation"] = "finetune"
    return str(merged)


def stale(present: Iterable[str], files: Iterable[str]) -> list[str]:
    """Weights of an earlier upload that this one does not replace; other files of a repository stay."""
    return sorted(name for name in set(present) - set(files) if "/" not in name and name.endswith(STALE))


def _repository(api: HfApi, publication: Publication) -> list[str]:
    """The files of the repository, which is created where there is none; raises Refused where its kind is the other."""
    try:
        info = api.model_info(publication.repo)
    except RepositoryNotFoundError:
        api.create_repo(publication.repo, private=publication.private)
        info = api.model_info(publication.repo)
    if bool(info.private) != publication.private:
        kind, wanted = ("private", "public") if info.private else ("public", "private")
        raise Refused(
            f"{publication.repo} is {kind}, and publish.…private asks for a {wanted} one: change the repository's "
            "settings on the hub, or the configuration"
        )
    return [sibling.rfilename for sibling in info.siblings or []]


if __name__ == "__main__":
    run_step(push)
