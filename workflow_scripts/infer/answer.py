"""Step: answer one shard of a split with the systems of a cohort; what was answered before is not asked again.

A cohort is one system, or a base model and a tuned one that share a load of the model.
"""

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter
from tqdm import tqdm

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.requests import Request
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.engines.local.engine import TransformersEngine, vision_source
from workflow_scripts.infer.answer_cache import Progress
from workflow_scripts.infer.requests import grammars_of, requests_of
from workflow_scripts.models.kernels import speed_up_inference
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import read_record
from workflow_scripts.models.threads import use_threads


@dataclass(frozen=True)
class Asked:
    """One system of a cohort."""

    system: str
    adapter: Path | None = None  # folder; None is the base model
    prompt: Prompt = field(default_factory=Prompt)
    constrained: bool = False


def answer(
    split: Path,
    shard: tuple[int, int],
    root: Path,
    record: Path,
    index: Path | None,
    group: list[Asked],
    budgets: dict[str, int],
    batch: int,
    out: Path,
    threads: int,
    store: Path,
) -> None:
    """Answer the rows of shard `(number, of)` with each system, and write them in the split's order.

    Answers that `store` has are taken from there; without a row to ask, no model is loaded.

    Raises:
        Refused: the cohort has two different adapters.
    """
    use_threads(threads)
    number, of = shard
    everything = read_table(split, ROWS).to_pylist()
    rows = everything[number::of]
    adapters = {asked.adapter for asked in group if asked.adapter}
    if len(adapters) > 1:
        raise Refused(f"{', '.join(asked.system for asked in group)}: one load holds one adapter; part them")
    work: list[tuple[Asked, list[Request], Progress]] = []
    for asked in group:
        requests = requests_of(rows, asked.prompt, budgets)
        if asked.constrained:
            grammars = grammars_of(rows, everything, budgets)
            requests = [replace(request, grammar=text) for request, text in zip(requests, grammars, strict=True)]
        weights = sha256_of_file(asked.adapter / "adapter_model.safetensors") if asked.adapter else ""
        progress = Progress(store, "workflow_scripts.infer.answer", [read_record(record)[0].content, weights], requests)
        waiting = [request for request in requests if request.uid not in progress.rows]
        print(f"answers of {asked.system}: {len(progress.rows)} kept, {len(waiting)} asked for")
        work.append((asked, waiting, progress))
    if any(waiting for _, waiting, _ in work):
        loaded = load(record, adapter=next(iter(adapters), None))
        print(f"kernels: {speed_up_inference(loaded.model)}")
        engine = TransformersEngine(loaded, vision_source(loaded, root, index), batch)
        for asked, waiting, progress in work:
            with (
                progress,
                tqdm(
                    total=len(rows), initial=len(progress.rows), desc=f"answers of {asked.system}", mininterval=5
                ) as bar,
            ):
                for responses in engine.answers(waiting, adapted=asked.adapter is not None):
                    progress.keep(
                        responses, engine="transformers", settings=engine.settings_hash, constrained=asked.constrained
                    )
                    bar.update(len(responses))
    answers = [
        {**progress.rows[row["uid"]], "uid": row["uid"], "system": asked.system}
        for asked, _, progress in work
        for row in rows
    ]
    write_table(out, answers, PREDICTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--shard", required=True, help="NUMBER-of-COUNT, counted from 1")
    parser.add_argument("--model", type=Path, required=True, help="record of the model")
    parser.add_argument("--root", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--features", type=Path, nargs="?", help="index of the vision features; none: a tuned tower")
    parser.add_argument("--group", required=True, help="JSON list: system, adapter or null, prompt, constrained")
    parser.add_argument("--budgets", required=True, help="JSON: most new tokens by task")
    parser.add_argument("--batch", type=int, required=True, help="most rows at once")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--store", type=Path, required=True, help="folder of kept answers")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    given = parser.parse_args()
    number, of = (int(part) for part in given.shard.split("-of-"))
    answer(
        given.split,
        (number - 1, of),
        given.root,
        given.model,
        given.features,
        TypeAdapter(list[Asked]).validate_json(given.group),
        json.loads(given.budgets),
        given.batch,
        given.out,
        given.threads,
        given.store,
    )


if __name__ == "__main__":
    run_step(main)
