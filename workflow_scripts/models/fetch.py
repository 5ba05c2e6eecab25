"""Step: fetch a checkpoint from the Hugging Face hub at its full revision, or take a local folder as it is."""

import argparse
import os
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import HubModel
from workflow_scripts.models.record import write_record

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model"]


def fetch(spec: HubModel, record: Path) -> None:
    """Make the checkpoint available and write its record.

    Raises:
        Refused: access is not granted, or the hub cannot be reached.
    """
    local = Path(spec.checkpoint).expanduser()
    if local.is_dir():
        write_record(record, record.stem, spec.family, local, spec.revision)
        return
    if spec.gated and not os.environ.get("HF_TOKEN"):
        raise Refused(
            f"{spec.checkpoint} is gated and HF_TOKEN is not set: accept its terms at "
            f"https://huggingface.co/{spec.checkpoint}, then export HF_TOKEN"
        )
    try:
        folder = snapshot_download(spec.checkpoint, revision=spec.revision, allow_patterns=WANTED)
    except GatedRepoError:
        raise Refused(
            f"HF_TOKEN gives no access to {spec.checkpoint}: accept its terms at "
            f"https://huggingface.co/{spec.checkpoint}"
        ) from None
    except RepositoryNotFoundError:
        raise Refused(f"the hub has no {spec.checkpoint} at {spec.revision}, or HF_TOKEN is not valid") from None
    except (LocalEntryNotFoundError, HfHubHTTPError) as error:
        raise Refused(f"{spec.checkpoint} could not be downloaded: {error}; check the network and run again") from None
    write_record(record, record.stem, spec.family, Path(folder), spec.revision)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON of the model's entry")
    parser.add_argument("--record", type=Path, required=True, help="JSON file to write")
    given = parser.parse_args()
    fetch(HubModel.model_validate_json(given.spec), given.record)


if __name__ == "__main__":
    run_step(main)
