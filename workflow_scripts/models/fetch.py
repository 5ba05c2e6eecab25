"""Step: fetch a checkpoint from the Hugging Face hub at its full revision, or take a local folder as it is."""

import os
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import HubModel
from workflow_scripts.models.record import PICKLES, READ, write_record

CONVERTER = "https://huggingface.co/spaces/safetensors/convert"


def fetch(*, spec: HubModel, record: Path, content: str = "") -> None:
    """Make the checkpoint available and write its record.

    Args:
        spec: the model's entry of the configuration
        record: JSON file to write
        content: what the plan calls the state of a local checkpoint

    Raises:
        Refused: access is not granted, the hub cannot be reached, or there are no safetensors weights.
    """
    local = Path(spec.checkpoint).expanduser()
    if local.is_dir():
        write_record(record, record.stem, spec.family, local, spec.revision, content)
        return
    if spec.gated and not os.environ.get("HF_TOKEN"):
        raise Refused(
            f"{spec.checkpoint} is gated and HF_TOKEN is not set: accept its terms at "
            f"https://huggingface.co/{spec.checkpoint}, then export HF_TOKEN"
        )
    try:
        folder = Path(
            snapshot_download(spec.checkpoint, revision=spec.revision, allow_patterns=[f"*{ending}" for ending in READ])
        )
    except HFValidationError:
        raise Refused(
            f"{spec.checkpoint} is neither a directory here nor the name of a repository of the hub"
        ) from None
    except GatedRepoError:
        raise Refused(
            f"HF_TOKEN gives no access to {spec.checkpoint}: accept its terms at "
            f"https://huggingface.co/{spec.checkpoint}"
        ) from None
    except RepositoryNotFoundError:
        raise Refused(f"the hub has no {spec.checkpoint} at {spec.revision}, or HF_TOKEN is not valid") from None
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        raise Refused(f"{spec.checkpoint} could not be downloaded: {error}; check the network and run again") from None
    if not any(folder.rglob("*.safetensors")):
        raise Refused(
            f"{spec.checkpoint} at {spec.revision} has no safetensors weights, and pickles ({', '.join(PICKLES)}) are "
            f"never loaded: convert them ({CONVERTER} proposes a commit that holds both), and name that commit"
        )
    write_record(record, record.stem, spec.family, folder, spec.revision)


if __name__ == "__main__":
    run_step(fetch)
