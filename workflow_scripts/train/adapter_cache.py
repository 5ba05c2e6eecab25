"""Adapters are kept by what they were made of: the same work is not done twice, whichever run or checkout asks."""

import shutil
from pathlib import Path
from uuid import uuid4


def publish_kept(kept: Path, adapter: Path, history: Path) -> None:
    """Publish the adapter and its history from the folder `kept`."""
    unfinished = adapter.with_name(f".{adapter.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(kept / "adapter", unfinished)
    shutil.rmtree(adapter, ignore_errors=True)
    unfinished.replace(adapter)
    for name in (history.name, "speed.json"):
        shutil.copyfile(kept / name, history.with_name(name))


def keep(kept: Path, adapter: Path, history: Path) -> None:
    """Copy a published adapter and its history to the folder `kept`, which is whole or not there."""
    partial = kept.with_name(f".{kept.name}.{uuid4().hex}")
    try:
        shutil.copytree(adapter, partial / "adapter")
        for name in (history.name, "speed.json"):
            shutil.copyfile(history.with_name(name), partial / name)
        if not kept.exists():
            partial.replace(kept)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
