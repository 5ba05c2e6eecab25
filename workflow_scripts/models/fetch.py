"""Step: fetch a checkpoint or an adapter from the Hugging Face hub at its revision, or take a local folder as it is."""

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
from workflow_scripts.models.adapters.settings import fault_of_adapter
from workflow_scripts.models.record import ADAPTER, ADAPTER_FILES, PICKLES, READ, write_record

CONVERTER = "https://huggingface.co/spaces/safetensors/convert"


def fetch(*, spec: Checkpoint, record: Path, content: str = "") -> str | None:
    """Make a checkpoint available and write its record; `main` is resolved to the commit that the record then names.

    Args:
        spec: the repository and its commit, or the folder
        record: JSON file to write
        content: what the plan calls the state of a local checkpoint

    Raises:
        Refused: access is not granted, the hub cannot be reached, there are no safetensors weights, or an adapter is
            not for the checkpoint that it is to be put on.
    """
    if spec.local:
        folder = Path(spec.checkpoint).expanduser()
        _check_adapter(spec, folder)
        write_record(
            record,
            record.stem,
            spec.family,
            folder,
            spec.revision,
            content,
            image_size=spec.image_size,
            image_pad=spec.image_pad,
            vision_fp8=spec.vision_fp8,
        )
        return None
    _check_token(spec)
    patterns = list(ADAPTER_FILES) if spec.family == ADAPTER else [f"*{ending}" for ending in READ]
    try:
        folder = Path(snapshot_download(spec.checkpoint, revision=spec.revision, allow_patterns=patterns))
    except HFValidationError:
        raise Refused(
            f"{spec.checkpoint} is neither a directory here nor the name of a repository of the hub"
        ) from None
    except GatedRepoError:
        if get_token() is None:
            raise Refused(_gated(spec)) from None
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
    _check_adapter(spec, folder)
    if not any(folder.rglob("*.safetensors")):
        raise Refused(
            f"{spec.checkpoint} at {spec.revision} has no safetensors weights, and pickles ({', '.join(PICKLES)}) are "
            f"never loaded: convert them ({CONVERTER} proposes a commit that holds both), and name that commit"
        )
    commit = folder.name if spec.revision == MOVING else spec.revision  # the hub's cache names a snapshot by its commit
    written = write_record(
        record,
        record.stem,
        spec.family,
        folder,
        commit,
        checkpoint=spec.checkpoint,
        image_size=spec.image_size,
        image_pad=spec.image_pad,
        vision_fp8=spec.vision_fp8,
    )
    size = sum((folder / name).stat().st_size for name in written.files) / 1e9
    said = f"{spec.checkpoint}: {size:.1f} GB" if size >= 0.1 else f"{spec.checkpoint}: {1000 * size:.1f} MB"
    if commit != spec.revision:
        line = f"adapter: {spec.checkpoint}@{commit}" if spec.family == ADAPTER else f"revision: {commit}"
        said += f"; {spec.revision} is now commit {commit}; to pin it: `{line}`"
    return said


def _check_adapter(spec: Checkpoint, folder: Path) -> None:
    """See that the files of an adapter can be used; of another checkpoint, nothing.

    Raises:
        Refused: they cannot.
    """
    if spec.family == ADAPTER and (fault := fault_of_adapter(folder, spec.base)) is not None:
        at = f" at {spec.revision}" if spec.revision else ""
        raise Refused(f"the adapter {spec.checkpoint}{at} {fault}")


def _check_token(spec: Checkpoint) -> None:
    """See that there is a token where one is needed; what is in the cache is read without.

    Raises:
        Refused: there is none, or one that cannot be sent.
    """
    token = get_token()
    if token is None and spec.gated and not constants.HF_HUB_OFFLINE:
        raise Refused(_gated(spec))
    if token is not None and not token.isascii():
        strange = next(character for character in token if not character.isascii())
        raise Refused(
            f"the token in HF_TOKEN or of `hf auth login` holds {strange!r}, which no token does: copy it again"
        )


def _gated(spec: Checkpoint) -> str:
    return (
        f"{spec.checkpoint} is gated and HF_TOKEN is not set: accept its terms at "
        f"https://huggingface.co/{spec.checkpoint}, then export HF_TOKEN or run `hf auth login`"
    )


def _unreachable(spec: Checkpoint, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{spec.checkpoint} could not be downloaded: {reason}; check the network and run again"


if __name__ == "__main__":
    run_step(fetch)
