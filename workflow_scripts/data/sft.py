"""Step: a split as conversations for supervised fine-tuning, in JSONL and, if asked, in Parquet.

`messages` is the layout for chat formats; `prompt-completion` is TRL's for a loss on the answer alone. Paths of
images are relative to `--root`. A picture inside a zip is written out beside the JSONL, under its hash.
"""

import argparse
import io
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import ExifTags, Image
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic
from workflow_scripts.core.images import decode_image, image_bytes, split_member
from workflow_scripts.core.tables import ROWS, read_table
from workflow_scripts.models.prompts import answer_turn, answered, chat

BATCH = 256
"""Rows of a Parquet row group: few enough that embedded pictures fit into memory."""


def conversation(row: dict, system: str | None, layout: str) -> dict:
    """One row as TRL's columns, without its images: `messages`, or `prompt` and `completion`."""
    if layout == "messages":
        return {"messages": answered(row["question"], len(row["images"]), system, row["answer"])}
    return {
        "prompt": chat(row["question"], len(row["images"]), system),
        "completion": [answer_turn(row["answer"])],
    }


def image_file(image: dict, root: Path, unpacked: Path) -> str:
    """The path of an image relative to `tree`; a zip's member is written out below `unpacked` first.

    Raises:
        BadImage: the member cannot be read.
    """
    _, member = split_member(image["path"])
    if member is None:
        return image["path"]
    file = unpacked / image["sha256"][:2] / f"{image['sha256']}{PurePosixPath(member).suffix.lower()}"
    if not file.is_file():
        with atomic(file) as temporary:
            temporary.write_bytes(image_bytes(root, image["path"]))
    return PurePosixPath(os.path.relpath(file, root)).as_posix()


def conversations(table: pa.Table, root: Path, unpacked: Path, system: str | None, layout: str) -> Iterator[dict]:
    """Each row of a split as one conversation with the paths of its images, and its uid."""
    for row in tqdm(table.to_pylist(), desc="write conversations", unit="row", mininterval=1):
        paths = [image_file(image, root, unpacked) for image in row["images"]]
        yield {"uid": row["uid"], **conversation(row, system, layout), "images": paths}


def write_jsonl(path: Path, items: Iterator[dict]) -> None:
    """One conversation a line, atomically."""
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for item in items:
            stream.write(json.dumps(item, ensure_ascii=False) + "\n")


def parquet_schema(layout: str) -> pa.Schema:
    """Columns of the Parquet, with the note that makes `datasets` decode its images."""
    turns = pa.list_(
        pa.struct(
            [
                ("role", pa.string()),
                ("content", pa.list_(pa.struct([("type", pa.string()), ("text", pa.string())]))),
            ]
        )
    )
    said = {"_type": "List", "feature": {"type": _value("string"), "text": _value("string")}}
    told = {"_type": "List", "feature": {"role": _value("string"), "content": said}}
    columns = ["messages"] if layout == "messages" else ["prompt", "completion"]
    features = {"uid": _value("string"), **dict.fromkeys(columns, told)}
    features["images"] = {"_type": "List", "feature": {"_type": "Image"}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    fields = [("uid", pa.string()), *((name, turns) for name in columns), ("images", pa.list_(image))]
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _value(kind: str) -> dict:
    return {"_type": "Value", "dtype": kind}


def plain_bytes(root: Path, name: str) -> bytes:
    """A picture's file as it is if every reader sees the same in it, else what `open_image` sees, as PNG.

    Palettes, more than 8 bits, alpha channels and turns by EXIF are read differently by different libraries.
    """
    data = image_bytes(root, name)
    with Image.open(io.BytesIO(data)) as raw:
        if raw.mode in ("RGB", "L") and raw.getexif().get(ExifTags.Base.Orientation, 1) == 1:
            return data
    stream = io.BytesIO()
    decode_image(data, name).save(stream, "PNG")
    return stream.getvalue()


def write_parquet(path: Path, items: Iterator[dict], layout: str, root: Path, embed: bool) -> None:
    """The conversations as Parquet that `datasets.load_dataset` opens; with `embed` the pictures are inside."""
    schema = parquet_schema(layout)
    with atomic(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(items, BATCH)):
            for item in batch:
                item["images"] = [
                    {"bytes": plain_bytes(root, name) if embed else None, "path": name} for name in item["images"]
                ]
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def main() -> None:
    """Parse the arguments and write the conversations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of the split")
    parser.add_argument("--root", type=Path, required=True, help="the dataset's tree: image paths are relative to it")
    parser.add_argument("--out", type=Path, required=True, help="JSONL to write")
    parser.add_argument("--parquet", type=Path, help="Parquet to write as well")
    parser.add_argument("--embed", action="store_true", help="put the pictures' files into the Parquet")
    parser.add_argument("--images", type=Path, help="folder for pictures out of zips; default: images beside the JSONL")
    parser.add_argument("--layout", choices=("messages", "prompt-completion"), default="messages")
    parser.add_argument("--system", help="text of the system turn")
    a = parser.parse_args()
    table, unpacked = read_table(a.split, ROWS), a.images or a.out.parent / "images"
    write_jsonl(a.out, conversations(table, a.root, unpacked, a.system, a.layout))
    if a.parquet is not None:
        items = conversations(table, a.root, unpacked, a.system, a.layout)
        write_parquet(a.parquet, items, a.layout, a.root, a.embed)
    print(f"sft: {len(table)} conversations")


if __name__ == "__main__":
    run_step(main)
