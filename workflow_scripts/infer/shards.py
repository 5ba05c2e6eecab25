"""How many jobs share the answers of a system: finished answers keep the number that they were made with."""

from collections import Counter
from pathlib import Path


def shards_behind(predictions: Path, folder: Path) -> list[str]:
    """The shards in `folder` that `predictions` was gathered from.

    Empty where there are no predictions yet or a shard has gone: the configured number then counts.
    """
    if not predictions.is_file():
        return []
    names = [file.stem for file in folder.glob("*-of-*.parquet")]
    found = Counter(name.split("-of-")[1] for name in names)
    whole = [count for count, times in found.items() if times == int(count)]
    return sorted(name for name in names if name.split("-of-")[1] in whole) if len(whole) == 1 else []
