"""How jobs share the rows of a split: by number, and finished answers keep the number of jobs that wrote them."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from workflow_scripts.core.command import Refused

T = TypeVar("T")


def part_of(rows: Sequence[T], shard: str) -> list[T]:
    """The rows of a shard named `NUMBER-of-COUNT`, from 1: every COUNT-th row.

    Raises:
        Refused: it names no shard.
    """
    name = re.fullmatch(r"([1-9]\d*)-of-([1-9]\d*)", shard)
    number, count = (int(name[1]), int(name[2])) if name else (1, 0)
    if number > count:
        raise Refused(f"{shard!r} names no shard; expected NUMBER-of-COUNT, for example 1-of-2")
    return list(rows[number - 1 :: count])


def finished_shards(predictions: Path, folder: Path) -> list[str]:
    """Names of the shards in `folder` that `predictions` was gathered from.

    Empty where there are no predictions yet or a shard has gone: the configured number then counts.
    """
    if not predictions.is_file():
        return []
    names = [file.stem for file in folder.glob("*-of-*.parquet")]
    files = Counter(name.split("-of-")[1] for name in names)
    whole = [count for count, number in files.items() if number == int(count)]
    return sorted(name for name in names if name.split("-of-")[1] in whole) if len(whole) == 1 else []


def remove_other_shards(shards: Sequence[Path]) -> None:
    """Remove shards of another number from the folder of these."""
    for other in {*shards[0].parent.glob("*-of-*.parquet")} - {*shards}:
        other.unlink()
