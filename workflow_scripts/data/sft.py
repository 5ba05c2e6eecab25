"""Step: a split as conversations for supervised fine-tuning, in JSONL and, if asked, in Parquet.

Paths of images are relative to `--root`. A picture inside a zip is written out beside the JSONL, under its hash.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pyarrow as pa
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic
from workflow_scripts.core.images import image_bytes, split_member
from workflow_scripts.core.tables import ROWS, read_table
from workflow_scripts.models.prompts import answer_turn, answered, chat


def conversation(row: dict, system: str | None, layout: str) -> dict:
    """One row as TRL's columns, without its images: `messages`, or `prompt` and `completion`."""
    if layout == "messages":
        return {"messages": answered(row["question"], len(row["images"]), system, row["answer"])}
    return {
        "prompt": chat(row["question"], len(row["images"]), system),
        "completion": [answer_turn(row["answer"])],
    }


def image_file(image: dict, tree: Path, unpacked: Path) -> str:
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
            temporary.write_bytes(image_bytes(tree, image["path"]))
    return PurePosixPath(os.path.relpath(file, tree)).as_posix()


def conversations(table: pa.Table, tree: Path, unpacked: Path, system: str | None, layout: str) -> Iterator[dict]:
    """Each row of a split as one conversation with the paths of its images, and its uid."""
    for row in tqdm(table.to_pylist(), desc="write conversations", unit="row", mininterval=1):
        paths = [image_file(image, tree, unpacked) for image in row["images"]]
        yield {"uid": row["uid"], **conversation(row, system, layout), "images": paths}


def main() -> None:
    """Parse the arguments and write the conversations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of the split")
    parser.add_argument("--root", type=Path, required=True, help="the dataset's tree: image paths are relative to it")
    parser.add_argument("--out", type=Path, required=True, help="JSONL to write")
    parser.add_argument("--images", type=Path, help="folder for pictures out of zips; default: images beside the JSONL")
    parser.add_argument("--layout", choices=("messages", "prompt-completion"), default="messages")
    parser.add_argument("--system", help="text of the system turn")
    a = parser.parse_args()
    table = read_table(a.split, ROWS)
    with atomic(a.out) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for item in conversations(table, a.root, a.images or a.out.parent / "images", a.system, a.layout):
            stream.write(json.dumps(item, ensure_ascii=False) + "\n")
    print(f"sft: {len(table)} conversations")


if __name__ == "__main__":
    run_step(main)
