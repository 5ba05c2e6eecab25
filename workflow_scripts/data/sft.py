"""Step: a split as conversations for supervised fine-tuning, in JSONL and, if asked for, in Parquet.

`messages` is the layout for chat formats; `prompt-completion` is TRL's for a loss on the answer alone. Paths of images
are relative to `--root`. An image inside a zip is written out beside the JSONL, under its hash.
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic
from workflow_scripts.core.images import image_bytes, portable_image, split_member
from workflow_scripts.core.rows import Image, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.models.prompts import answer_turn, answered, chat

BATCH = 256
"""Rows of a Parquet row group: few enough that embedded images fit into memory."""

Layout = Literal["messages", "prompt-completion"]
Conversation = dict[str, Any]
"""TRL's columns of one row."""


def conversation(row: Row, system: str | None, layout: Layout) -> Conversation:
    """One row as TRL's columns, without its images: `messages`, or `prompt` and `completion`."""
    if layout == "messages":
        return {"messages": answered(row.question, len(row.images), system, row.answer)}
    return {
        "prompt": chat(row.question, len(row.images), system),
        "completion": [answer_turn(row.answer)],
    }


def image_file(image: Image, root: Path, unpacked: Path) -> str:
    """The path of an image relative to `root`; a zip's member is written out below `unpacked` first.

    Raises:
        BadImage: the member cannot be read.
    """
    _, member = split_member(image.path)
    if member is None:
        return image.path
    file = unpacked / image.sha256[:2] / f"{image.sha256}{PurePosixPath(member).suffix.lower()}"
    if not file.is_file():
        with atomic(file) as temporary:
            temporary.write_bytes(image_bytes(root, image.path))
    return PurePosixPath(os.path.relpath(file, root)).as_posix()


def conversations(
    rows: Iterable[Row], root: Path, unpacked: Path, system: str | None, layout: Layout
) -> Iterator[Conversation]:
    """Each row of a split as one conversation with the paths of its images, and its uid."""
    for row in tqdm(rows, desc="write conversations", unit="row", mininterval=1):
        paths = [image_file(image, root, unpacked) for image in row.images]
        yield {"uid": row.uid, **conversation(row, system, layout), "images": paths}


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


def write_parquet(path: Path, items: Iterator[Conversation], layout: Layout, root: Path, embed: bool) -> None:
    """The conversations as Parquet that `datasets.load_dataset` opens; with `embed` the images are inside.

    Images that libraries read differently are embedded as a PNG of what `open_image` sees.
    """
    schema = parquet_schema(layout)
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(items, BATCH)):
            for item in batch:
                item["images"] = [
                    {"bytes": portable_image(root, name).data if embed else None, "path": name}
                    for name in item["images"]
                ]
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def write_sft(
    *,
    split: Path,
    root: Path,
    out: Path,
    parquet: Path | None = None,
    embed: bool = False,
    images: Path | None = None,
    layout: Layout = "messages",
    system: str | None = None,
) -> str:
    """Write a split as conversations for supervised fine-tuning.

    Args:
        split: Parquet of the split
        root: the dataset's root: image paths are relative to it
        out: JSONL to write
        parquet: Parquet to write as well
        embed: put the images' files into the Parquet
        images: folder for images out of zips; default: images beside the JSONL
        layout: columns of a conversation
        system: text of the system turn
    """
    rows, unpacked = read_rows(split, Row), images or out.parent / "images"
    write_jsonl(out, conversations(rows, root, unpacked, system, layout))
    if parquet is not None:
        write_parquet(parquet, conversations(rows, root, unpacked, system, layout), layout, root, embed)
    return f"sft: {len(rows)} conversations"


if __name__ == "__main__":
    run_step(write_sft)
