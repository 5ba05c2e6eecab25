"""Every zip of a dataset unpacked beside itself; what was cut off or is damaged on disk is completed."""

from pathlib import Path

from tqdm import tqdm

from workflow_scripts.data.conversion.process_pool import ProcessPool
from workflow_scripts.data.downloading.archives import unpack


def unpack_archives(root: Path, jobs: int) -> list[Path]:
    """Unpack the zips of all subsets below `root`, `jobs` at a time.

    Returns:
        The folders.

    Raises:
        BadFile: an archive is damaged or not safe.
    """
    archives = sorted(root.glob("*/*/*/*.zip"))
    with ProcessPool(min(jobs, len(archives))) as pool:
        done = pool.each(unpack, [(archive,) for archive in archives])
        return list(tqdm(done, desc="unpack", total=len(archives), unit="zip", mininterval=1))
