"""Step: download a data set from the Hugging Face hub at a commit; to be deepened with resumption and disk checks."""

import argparse
from pathlib import Path

from huggingface_hub import snapshot_download

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import HubDataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    given = parser.parse_args()
    spec = HubDataset.model_validate_json(given.spec)
    snapshot_download(spec.repo, repo_type="dataset", revision=spec.revision, local_dir=given.out, allow_patterns=list(spec.include) or None)


if __name__ == "__main__":
    run_step(main)
