"""Step: the pictures of a split, decoded once and resized for a model, kept under the hash of their file.

Pictures come out of the cache as out of a tree: `core.images.open_image(folder, cached_path(sha256))`.
"""

import argparse
from pathlib import Path
from typing import Literal

from PIL import Image
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic, write_json
from workflow_scripts.core.images import cached_path, open_image
from workflow_scripts.core.tables import ROWS, read_table
from workflow_scripts.data.crew import Crew, cores

Fit = Literal["squash", "pad"]
CHUNK = 64


def fitted(image: Image.Image, width: int, height: int, fit: Fit) -> Image.Image:
    """`image` at `width` × `height` pixels, bilinear as Gemma 3's processor does it.

    `squash` changes the proportions, as that processor does; `pad` keeps them and centres the picture on black.
    """
    if fit == "squash":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    scale = min(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    ground = Image.new("RGB", (width, height))
    small = image.resize(inner, Image.Resampling.BILINEAR)
    ground.paste(small, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return ground


def cache_chunk(tree: Path, folder: Path, wanted: list[tuple[str, str]], size: tuple[int, int], fit: Fit) -> int:
    """Put pictures `(sha256, path)` into `folder`; those that are there stay. Returns how many were made.

    Raises:
        BadImage: one cannot be read; conversion keeps no row with such a picture, so the tree has changed.
    """
    made = 0
    for sha256, path in wanted:
        target = folder / cached_path(sha256)
        if not target.is_file():
            image = fitted(open_image(tree, path), *size, fit)
            with atomic(target) as temporary:
                image.save(temporary, "PNG", compress_level=1)
            made += 1
    return made


def cache_images(tree: Path, images: dict[str, str], folder: Path, size: tuple[int, int], fit: Fit, jobs: int) -> int:
    """Cache `images` (path by SHA-256) in several processes.

    Returns:
        How many were not there before.
    """
    wanted = sorted(images.items())
    chunks = [wanted[i : i + CHUNK] for i in range(0, len(wanted), CHUNK)]
    with (
        Crew(jobs if len(chunks) > 2 else 1) as crew,
        tqdm(total=len(wanted), desc="cache images", mininterval=1) as bar,
    ):
        made = 0
        tasks = [(tree, folder, chunk, size, fit) for chunk in chunks]
        for chunk, count in zip(chunks, crew.each(cache_chunk, tasks), strict=True):
            made += count
            bar.update(len(chunk))
    return made


def main() -> None:
    """Parse the arguments and fill the cache."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of the split")
    parser.add_argument("--root", type=Path, required=True, help="the dataset's tree: image paths are relative to it")
    parser.add_argument("--width", type=int, required=True, help="pixels")
    parser.add_argument("--height", type=int, required=True, help="pixels")
    parser.add_argument("--fit", choices=("squash", "pad"), default="squash", help="how proportions are treated")
    parser.add_argument("--cache", type=Path, required=True, help="folder of all caches; this one has its own below")
    parser.add_argument("--record", type=Path, required=True, help="JSON to write: the folder's name and its pictures")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes")
    a = parser.parse_args()
    images = {
        image["sha256"]: image["path"] for row in read_table(a.split, ROWS)["images"].to_pylist() for image in row
    }
    name = f"{a.width}x{a.height}-{a.fit}"
    made = cache_images(a.root, images, a.cache / name, (a.width, a.height), a.fit, a.jobs)
    write_json(a.record, {"folder": name, "images": {sha256: cached_path(sha256) for sha256 in sorted(images)}})
    print(f"cache: {len(images)} images at {a.width} × {a.height}, {made} of them new")


if __name__ == "__main__":
    run_step(main)
