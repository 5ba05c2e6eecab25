"""Step of a container: what a challenge mounts as inputs, as a dataset of this workflow; by links, not copies."""

from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.manifest import SPLIT_FOLDERS

TRAINING = "training"
BARE = "testing"
"""The split folder that inputs without one stand for."""


def link_inputs(*, inputs: Path, root: Path) -> str:
    """Link the split folders of the inputs into a new dataset, but for the training rows: these are not to be answered.

    The split folders lie in the inputs themselves or in their one folder that holds any. Inputs without split folders,
    `<Modality>/<subset>/*.json`, are the split folder `testing`.

    Args:
        inputs: folder of question files and images; only read
        root: folder of the dataset to write

    Raises:
        Refused: no question files lie where they are looked for, or split folders lie in several folders.
    """
    if not inputs.is_dir():
        raise Refused(f"{inputs} is not a directory; mount the challenge's inputs there, or name them in INPUTS")
    folders = _split_folders(inputs)
    if not folders:
        below = {folder: _split_folders(folder) for folder in sorted(inputs.iterdir()) if folder.is_dir()}
        holding = [folder for folder, names in below.items() if names]
        if len(holding) > 1:
            raise Refused(
                f"{inputs} holds several datasets ({', '.join(folder.name for folder in holding)}); mount one of them"
            )
        folders = below[holding[0]] if holding else {}
    if not folders and next(inputs.glob("*/*/*.json"), None) is not None:
        folders = {BARE: inputs}
    links = {name: folder for name, folder in folders.items() if name != TRAINING}
    if not links:
        raise Refused(
            f"{inputs} holds no questions; expected {{validation-hidden,testing,…}}/<Modality>/<subset>/*.json, or "
            "<Modality>/<subset>/*.json"
        )
    root.mkdir(parents=True)
    for name, folder in links.items():
        (root / name).symlink_to(folder.resolve(), target_is_directory=True)
    left_out = "; the training rows are left out" if TRAINING in folders else ""
    return f"inputs: {', '.join(f'{folder} as {name}' for name, folder in links.items())}{left_out}"


def _split_folders(folder: Path) -> dict[str, Path]:
    """The split folders in `folder`, by their names there."""
    return {name: folder / name for name in SPLIT_FOLDERS if (folder / name).is_dir()}


if __name__ == "__main__":
    run_step(link_inputs)
