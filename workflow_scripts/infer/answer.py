"""Step: answer one shard of a split with a base or tuned model; what was answered before is not asked again."""

import argparse
import json
from pathlib import Path

import torch
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.engines.transformers_engine import TransformersEngine, vision_source
from workflow_scripts.infer.progress import Progress
from workflow_scripts.infer.requests import requests_of
from workflow_scripts.models.kernels import fuse_layers
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import read_record


def answer(
    split: Path,
    shard: tuple[int, int],
    tree: Path,
    record: Path,
    adapter: Path | None,
    index: Path | None,
    system: str,
    prompt: Prompt,
    budgets: dict[str, int],
    batch: int,
    out: Path,
    threads: int,
    store: Path,
) -> None:
    """Answer the rows of shard `(number, of)` and write them in the split's order.

    Answers that `store` has are taken from there; without a row to ask, no model is loaded.
    """
    torch.set_num_threads(threads)
    number, of = shard
    rows = read_table(split, ROWS).to_pylist()[number::of]
    requests = requests_of(rows, prompt, budgets)
    weights = sha256_of_file(adapter / "adapter_model.safetensors") if adapter else ""
    progress = Progress(store, "workflow_scripts.infer.answer", [read_record(record)[0].content, weights], requests)
    waiting = [request for request in requests if request.uid not in progress.rows]
    print(f"answers of {system}: {len(progress.rows)} kept, {len(waiting)} asked for")
    if waiting:
        loaded = load(record, adapter=adapter)
        print(f"kernels: {fuse_layers(loaded.base)}")
        engine = TransformersEngine(loaded, vision_source(loaded, tree, index))
        with (
            progress,
            tqdm(total=len(requests), initial=len(progress.rows), desc=f"answers of {system}", mininterval=5) as bar,
        ):
            for part in engine.batches(waiting, batch):
                progress.keep(engine.generate(part), engine="transformers", constrained=False)
                bar.update(len(part))
    answers = [{**progress.rows[request.uid], "uid": request.uid, "system": system} for request in requests]
    write_table(out, answers, PREDICTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--shard", required=True, help="NUMBER-of-COUNT, counted from 1")
    parser.add_argument("--model", type=Path, required=True, help="record of the model")
    parser.add_argument("--adapter", type=Path, nargs="?", help="weights in the adapter's folder; none: a base model")
    parser.add_argument("--tree", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--features", type=Path, nargs="?", help="index of the vision features; none: a tuned tower")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--prompt", required=True, help="JSON of the system's prompt")
    parser.add_argument("--budgets", required=True, help="JSON: most new tokens by task")
    parser.add_argument("--batch", type=int, required=True, help="rows at once")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--store", type=Path, required=True, help="folder of kept answers")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    given = parser.parse_args()
    number, of = (int(part) for part in given.shard.split("-of-"))
    answer(
        given.split,
        (number - 1, of),
        given.tree,
        given.model,
        given.adapter.parent if given.adapter else None,
        given.features,
        given.system,
        Prompt.model_validate_json(given.prompt),
        json.loads(given.budgets),
        given.batch,
        given.out,
        given.threads,
        given.store,
    )


if __name__ == "__main__":
    run_step(main)
