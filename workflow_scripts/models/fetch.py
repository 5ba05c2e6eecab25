"""Step: fetch a checkpoint from the Hugging Face hub at its full revision, or take a local folder as it is."""

from pathlib import Path

from huggingface_hub import constants, get_token, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.core.config.section import MOVING
from workflow_scripts.models.record import PICKLES, READ, write_record

CONVERTER = "https://huggingface.co/spaces/safetensors/convert"


def fetch(*, spec: Checkpoint, record: Path, content: str = "") -> str | None:
    """Make a checkpoint available and write its record; `main` is resolved to the commit that the record then names.

    Args:
        spec: the repository and its commit, or the folder
        record: JSON file to write
        content: what the plan calls the state of a local checkpoint

    Raises:
        Refused: access is not granted, the hub cannot be reached, or there are no safetensors weights.
    """
    if spec.local:
        folder = Path(spec.checkpoint).expanduser()
        write_record(record, record.stem, spec.family, folder, spec.revision, content)
        return None
    _check_token(spec)
    try:
        patterns = [f"*{ending}" for ending in READ]
        folder = Path(snapshot_download(spec.checkpoint, revision=spec.revision, allow_patterns=patterns))
    except HFValidationError:
        raise Refused(
            f"{spec.checkpoint} is neither a directory here nor the name of a repository of the hub"
        ) from None
    except GatedRepoError:
        raise Refused(
            f"the token gives no access to {spec.checkpoint}: accept its terms at "
            f"https://huggingface.co/{spec.checkpoint} with the account that it belongs to"
        ) from None
    except RepositoryNotFoundError:
        raise Refused(
            f"the hub has no {spec.checkpoint} at {spec.revision}, or the token in HF_TOKEN or of `hf auth login` is "
            "not valid"
        ) from None
    except LocalEntryNotFoundError as error:
        if constants.HF_HUB_OFFLINE:
            raise Refused(
                f"{spec.checkpoint} at {spec.revision} is not in the hub's cache here, and HF_HUB_OFFLINE is set: "
                "unset it and run again where there is a connection"
            ) from None
        raise Refused(_unreachable(spec, error)) from None
    except HfHubHTTPError as error:
        raise Refused(_unreachable(spec, error)) from None
    if not any(folder.rglob("*.safetensors")):
        raise Refused(
            f"{spec.checkpoint} at {spec.revision} has no safetensors weights, and pickles ({', '.join(PICKLES)}) are "
            f"never loaded: convert them ({CONVERTER} proposes a commit that holds both), and name that commit"
        )
    commit = folder.name if spec.revision == MOVING else spec.revision  # the hub's cache names a snapshot by its commit
    write_record(record, record.stem, spec.family, folder, commit, checkpoint=spec.checkpoint)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9
    said = f"{spec.checkpoint}: {size:.1f} GB"
    if commit != spec.revision:
        said += f"; {spec.revision} is now commit {commit}; to pin it: `revision: {commit}`"
    return said


def _check_token(spec: Checkpoint) -> None:
    """See that there is a token where one is needed; what is in the cache is read without.

    Raises:
        Refused: there is none, or one that cannot be sent.
    """
    token = get_token()
    if token is None and spec.gated and not constants.HF_HUB_OFFLINE:
        raise Refused(
            f"{spec.checkpoint} is gated and HF_TOKEN is not set: accept its terms at "
            f"https://huggingface.co/{spec.checkpoint}, then export HF_TOKEN or run `hf auth login`"
        )
    if token is not None and not token.isascii():
        strange = next(character for character in token if not character.isascii())
        raise Refused(
            f"the token in HF_TOKEN or of `hf auth login` holds {strange!r}, which no token does: copy it again"
        )


def _unreachable(spec: Checkpoint, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{spec.checkpoint} could not be downloaded: {reason}; check the network and run again"


if __name__ == "__main__":
    run_step(fetch)
