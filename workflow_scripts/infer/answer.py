"""Step: answer one shard of a split with a base or tuned model; a killed job goes on behind its last batch."""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.engines.exchange import Picture, Request
from workflow_scripts.engines.transformers_engine import TransformersEngine, vision_source
from workflow_scripts.models.kernels import fuse_layers
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat


def requests_of(rows: list[dict], prompt: Prompt, budgets: dict[str, int]) -> list[Request]:
    """One request a row; `budgets` gives the most new tokens by task."""
    return [
        Request(
            uid=row["uid"],
            chat=chat(row["question"], len(row["images"]), prompt.system),
            images=tuple(Picture(image["sha256"], image["path"]) for image in row["images"]),
            max_new_tokens=budgets[row["task"]],
        )
        for row in rows
    ]


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
) -> None:
    """Answer the rows of shard `(number, of)` and write them in the split's order."""
    torch.set_num_threads(threads)
    number, of = shard
    rows = read_table(split, ROWS).to_pylist()[number::of]
    requests = requests_of(rows, prompt, budgets)
    weights = sha256_of_file(adapter / "adapter_model.safetensors") if adapter else ""
    identity = [sha256_of_file(split), sha256_of_file(record), weights, prompt.spec(), canonical_json(budgets)]
    progress = out.with_name(f"{out.stem}.{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}.partial.jsonl")
    done = read_progress(progress)
    waiting = [request for request in requests if request.uid not in done]
    progress.parent.mkdir(parents=True, exist_ok=True)
    if waiting:
        loaded = load(record, adapter=adapter)
        print(f"kernels: {fuse_layers(loaded.base)}")
        engine = TransformersEngine(loaded, vision_source(loaded, tree, index))
        with (
            progress.open("a", encoding="utf-8") as stream,
            tqdm(total=len(requests), initial=len(done), desc=f"answers of {system}", mininterval=5) as bar,
        ):
            for part in engine.batches(waiting, batch):
                for response in engine.generate(part):
                    done[response.uid] = {
                        "uid": response.uid,
                        "system": system,
                        "text": response.text,
                        "finish": response.finish,
                        "prompt_tokens": response.prompt_tokens,
                        "new_tokens": response.new_tokens,
                        "prompt_hash": response.prompt_hash,
                    }
                    stream.write(json.dumps(done[response.uid], ensure_ascii=True) + "\n")
                stream.flush()
                bar.update(len(part))
    write_table(out, [done[request.uid] for request in requests], PREDICTIONS)
    progress.unlink()


def read_progress(path: Path) -> dict[str, dict]:
    """Finished rows by uid; a line that a kill cut short is not one."""
    done: dict[str, dict] = {}
    if path.exists():
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            row = json.loads(line)
            done[row["uid"]] = row
            kept.append(line)
        path.write_text("".join(kept), encoding="utf-8")
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--shard", required=True, help="NUMBER-of-COUNT, counted from 1")
    parser.add_argument("--model", type=Path, required=True, help="record of the model")
    parser.add_argument("--adapter", type=Path, help="folder of the adapter; absent for a base model")
    parser.add_argument("--tree", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--features", type=Path, help="index of the vision features; absent for a tuned tower")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--prompt", required=True, help="JSON of the system's prompt")
    parser.add_argument("--budgets", required=True, help="JSON: most new tokens by task")
    parser.add_argument("--batch", type=int, required=True, help="rows at once")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    given = parser.parse_args()
    number, of = (int(part) for part in given.shard.split("-of-"))
    answer(
        given.split,
        (number - 1, of),
        given.tree,
        given.model,
        given.adapter,
        given.features,
        given.system,
        Prompt.model_validate_json(given.prompt),
        json.loads(given.budgets),
        given.batch,
        given.out,
        given.threads,
    )


if __name__ == "__main__":
    run_step(main)
