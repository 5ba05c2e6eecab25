"""Training and inference of two families at equal tokens on one GPU: MedGemma 1.5 4B's shape and Qwen3-VL 4B's.

Random weights; a row has 256 image, 120 prompt and 24 answer tokens, an answer 64 or 8 new ones; stored features are
read inside the timed loops. Prints rows/s and peak GiB of each, and the second family's share of the first's.

    python -m benchmarks.families_gpu --work FOLDER --out FOLDER
"""

import argparse
import gc
import json
import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.infer_gpu import rates, write_adapter
from benchmarks.shapes import SIDE, write_images, write_medgemma, write_qwen3_vl
from benchmarks.train_gpu import FAST, extract_features, measure
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import Image
from workflow_scripts.models.kernels import speed_up_inference
from workflow_scripts.models.loading import load

WRITERS = {"gemma3": write_medgemma, "qwen3_vl": write_qwen3_vl}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for models and images")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--batch", type=int, default=768, help="rows of a batch that is answered")
    given = parser.parse_args()
    start = time.perf_counter()
    root = given.work / "images"
    images = [Image(name, sha256_of_file(root / name), SIDE, SIDE) for name in write_images(root, 128)]
    results: list[dict] = []

    def note(**result: object) -> None:
        results.append(result)
        print(json.dumps(result), f"at {time.perf_counter() - start:.0f} s", flush=True)

    for family, write in WRITERS.items():
        record = write(given.work)
        index = given.work / f"run-{family}" / "features" / "index.parquet"
        images_per_s = extract_features(record, root, images, index, 15)
        note(family=family, work="features", images_per_s={name: round(rate, 1) for name, rate in images_per_s.items()})
        trained = measure(family, FAST, record, root, images, index, given.work / f"run-{family}")
        note(family=family, work="train", rows_per_s=trained["rows_per_s"], gib=trained["peak_gib"])
        adapter = given.work / f"run-{family}" / "adapter"
        write_adapter(record, adapter)
        loaded = load(record, adapter=adapter)
        print(speed_up_inference(loaded.model))
        rates(
            loaded,
            root,
            index,
            images,
            [given.batch],
            "tuned",
            partial(note, family=family, work="answer"),
        )
        del loaded
        gc.collect()
        torch.cuda.empty_cache()
    by_work = {(r["family"], r["work"], r.get("new")): r["rows_per_s"] for r in results if "rows_per_s" in r}
    for (family, work, new), speed in by_work.items():
        if family != "gemma3":
            share = speed / by_work["gemma3", work, new]
            note(share_of_gemma3=round(share, 3), family=family, what=work, tokens=new)
    (given.out / "families_gpu.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
