"""Step: a split as conversations for supervised fine-tuning, in JSONL and, if asked for, in Parquet.

`messages` is the layout for chat formats; `prompt-completion` is TRL's for a loss on the answer alone. Paths of images
are relative to the JSONL's folder. An image that is no file of its own, as one inside a zip, is written out beside the
JSONL, under its hash. The Parquet holds the images, and opens from anywhere.
"""

import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic
from workflow_scripts.core.images import RANGE, image_bytes, portable_image, split_member
from workflow_scripts.core.rows import Image, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.models.prompts import answer_turn, chat_of

BATCH = 256
"""Rows of a Parquet row group: few enough that embedded images fit into memory."""

Layout = Literal["messages", "prompt-completion"]
Conversation = dict[str, Any]
"""TRL's columns of one row."""


def conversation(row: Row, system: str | None, layout: Layout) -> Conversation:
    """One row as TRL's columns, without its images: `messages`, or `prompt` and `completion`."""
    prompt, completion = chat_of(row, system), [answer_turn(row.answer)]
    return {"messages": prompt + completion} if layout == "messages" else {"prompt": prompt, "completion": completion}


def image_file(image: Image, root: Path, unpacked: Path) -> Path:
    """The file of an image; one that is none of the dataset's is written out below `unpacked` first.

    Raises:
        BadImage: it cannot be read.
    """
    file, member = split_member(image.path)
    if file == image.path:
        return root / file
    ranged = image.path.endswith(RANGE)
    ending = ".png" if ranged else PurePosixPath(member or file).suffix.lower()
    written = unpacked / image.sha256[:2] / f"{image.sha256}{ending}"
    if not written.is_file():
        data = portable_image(root, image.path).data if ranged else image_bytes(root, image.path)
        with atomic(written) as temporary:
            temporary.write_bytes(data)
    return written


def conversations(
    rows: Iterable[Row], system: str | None, layout: Layout, images_of: Callable[[Image], object]
) -> Iterator[Conversation]:
    """Each row of a split as one conversation with what `images_of` makes of its images, and its uid."""
    for row in tqdm(rows, desc="write conversations", unit="row", mininterval=1):
        yield {"uid": row.uid, **conversation(row, system, layout), "images": list(map(images_of, row.images))}


def write_jsonl(path: Path, items: Iterable[Conversation]) -> None:
    """One conversation a line, atomically."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for item in items:
            stream.write(json.dumps(item, ensure_ascii=False) + "\n")


def parquet_schema(layout: Layout) -> pa.Schema:
    """Columns of the Parquet, with the note that makes `datasets` decode its images."""
    turns = pa.list_(
        pa.struct(
            [
                ("role", pa.string()),
                ("content", pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))),
            ]
        )
    )
    content = {"_type": "List", "feature": {"type": _value("string"), "text": _value("string")}}
    messages = {"_type": "List", "feature": {"role": _value("string"), "content": content}}
    columns = ["messages"] if layout == "messages" else ["prompt", "completion"]
    features: dict[str, Any] = {"uid": _value("string"), **dict.fromkeys(columns, messages)}
    features["images"] = {"_type": "List", "feature": {"_type": "Image"}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("uid", pa.string()), *((name, turns) for name in columns), ("images", pa.list_(image))]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _value(kind: str) -> dict[str, str]:
    return {"_type": "Value", "dtype": kind}


def write_parquet(path: Path, items: Iterator[Conversation], layout: Layout) -> None:
    """The conversations as Parquet that `datasets.load_dataset` opens, from whatever folder."""
    schema = parquet_schema(layout)
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(items, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def write_sft(
    *,
    split: Path,
    root: Path,
    out: Path,
    parquet: Path | None = None,
    embed: bool = True,
    images: Path | None = None,
    layout: Layout = "messages",
    system: str | None = None,
) -> str:
    """Write a split as conversations for supervised fine-tuning.

    Args:
        split: Parquet of the split
        root: the dataset's root: image paths of the split are relative to it
        out: JSONL to write
        parquet: Parquet to write as well
        embed: put the images into the Parquet; else it has their absolute paths, and opens on this machine alone
        images: folder for images that are no files of their own; default: images beside the JSONL
        layout: columns of a conversation
        system: text of the system turn
    """
    rows, unpacked, start = read_rows(split, Row), images or out.parent / "images", out.parent.resolve()

    def file_of(image: Image) -> Path:
        return image_file(image, root.resolve(), unpacked.resolve())

    def relative(image: Image) -> str:
        return Path(os.path.relpath(file_of(image), start)).as_posix()

    def cell(image: Image) -> dict[str, object]:
        """As `datasets` stores an image; those that libraries read differently as a PNG of what `open_image` sees."""
        if embed:
            return {"bytes": portable_image(root, image.path).data, "path": image.path}
        return {"bytes": None, "path": str(file_of(image))}

    write_jsonl(out, conversations(rows, system, layout, relative))
    if parquet is not None:
        write_parquet(parquet, conversations(rows, system, layout, cell), layout)
    return f"sft: {len(rows)} conversations"


if __name__ == "__main__":
    run_step(write_sft)
