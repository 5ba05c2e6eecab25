"""Inference at MedGemma 1.5 4B's shape on one GPU, through the project's engine, against the reference.

A prompt has 256 image and 120 text tokens; stored features are read inside the timed loop. The reference is the
library's own greedy generation: one row at a time, NF4, its image prepared in the loop. The pass is the product's
step as a process of its own, start and loading included: a tuned model alone, and base and tuned together. Changes are
answers that differ from the library's generation with the model's own layers, and in 8 bits from those in 16.

    python -m benchmarks.infer_gpu --work FOLDER --out FOLDER [--parts rates changes pass reference constrained profile]
        [--systems base tuned base-fp8 tuned-fp8]
"""

import argparse
import gc
import json
import random
import subprocess
import sys
import time
from copy import copy
from dataclasses import replace
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from benchmarks.shapes import write_images, write_medgemma
from benchmarks.train_gpu import PROMPT, random_ids
from workflow_scripts.cache.store import EntryStore
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.images import open_image
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.core.rows import ExpectedFormat, Image, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import FeaturePlace
from workflow_scripts.engines.local.engine import Query, TransformersEngine, vision_source
from workflow_scripts.features import extract
from workflow_scripts.models.kernels import speed_up_inference
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.vision_features import SHARD_FILE

IMAGES = 128


def write_features(record: Path, root: Path, images: list[Image], index: Path) -> None:
    """Store the images' features with the product's code."""
    loaded = load(record)
    tensor = extract.compute(loaded, images, extract.prepared(loaded, images, root, 15), 32)
    shards = EntryStore(index.parent / "store")
    tokens = [extract.tokens_of(loaded, image) for image in images]
    key = extract.write_shard(shards, [image.sha256 for image in images], tensor, tokens, tower="library")
    places = [FeaturePlace(image.sha256, f"store/{key}/{SHARD_FILE}", row) for row, image in enumerate(images)]
    write_rows(index, places, FeaturePlace)


def write_adapter(record: Path, folder: Path) -> None:
    """A random adapter of rank 16 on the language model."""
    loaded = load(record)
    config = LoraConfig(r=16, lora_alpha=16, target_modules=loaded.family.lora_targets["language"])
    tuned = get_peft_model(loaded.model, config)
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    tuned.save_pretrained(folder)


def report_row(number: int, question: str, image: Image) -> Row:
    """A row of a report with one image and without an answer."""
    return Row(
        uid=str(number),
        subset="d",
        modality="Xray",
        folder="training",
        task="report",
        task_raw="report",
        case_id=str(number),
        question=question,
        expected=ExpectedFormat(),
        images=(image,),
        image_name="[]",
        answer="",
        answer_raw="",
        source_file="q.json",
        source_row=number,
    )


def prompts(loaded: Loaded, images: list[Image], count: int, new: int) -> list[Query]:
    """`count` requests of random tokens, with their ids."""
    generator = torch.Generator().manual_seed(0)
    requests = []
    for number in range(count):
        ids = random_ids(loaded, PROMPT, generator)
        image = images[number % len(images)]
        shown = RequestImage(image.sha256, image.path, image.width, image.height)
        requests.append(Query(Request(str(number), [], (shown,), new), ids))
    return requests


def rates(loaded: Loaded, root: Path, index: Path, images: list[Image], batches: list[int], system: str, note) -> None:
    """Rows/s by batch and by new tokens, the better of two passes, after one answer to warm up."""
    engine = TransformersEngine(loaded, vision_source(loaded, root, [index]), 1)
    for size in batches:
        for new in (64, 8):
            batch = prompts(loaded, images, size, new)
            engine.generate(batch[:64])
            torch.cuda.reset_peak_memory_stats()
            seconds = []
            for _ in range(2):
                torch.cuda.synchronize()
                start = time.perf_counter()
                responses = engine.generate(batch)
                torch.cuda.synchronize()
                seconds.append(time.perf_counter() - start)
            mean = sum(r.new_tokens for r in responses) / size
            gib = torch.cuda.max_memory_allocated() >> 30
            note(
                system=system, batch=size, new=new, rows_per_s=round(size / min(seconds), 1), mean_new=round(mean, 1),
                gib=gib, seconds=[round(one, 2) for one in seconds],
                retries=torch.cuda.memory_stats()["num_alloc_retries"],
            )  # fmt: skip


def some_answers(loaded: Loaded, root: Path, index: Path, images: list[Image], *, plain: bool = False) -> list[str]:
    """Answers of 16 tokens to 256 rows, each token a word of its own; `plain`: by the library's generation."""
    processor, family = copy(loaded.processor), copy(loaded.family)
    processor.tokenizer = widened(processor.tokenizer)
    family.library_decoding = plain
    loaded = replace(loaded, processor=processor, family=family)
    engine = TransformersEngine(loaded, vision_source(loaded, root, [index]), 1)
    requests = prompts(loaded, images, 256, 16)
    return [response.text for first in (0, 128) for response in engine.generate(requests[first : first + 128])]


def count_changes(texts: dict[str, list[str]], system: str, note) -> None:
    """How many answers, and first tokens, of a system differ from those of the same in 16 bits and by the library."""
    name = system.partition("-")[0]
    for other in (f"{name}-plain", name):
        if other in texts and other != system:
            pairs = [(a.split(), b.split()) for a, b in zip(texts[system], texts[other], strict=True)]
            note(
                system=system, against=other, rows=len(pairs), new=16, changed=sum(a != b for a, b in pairs),
                first_token=sum(a[:1] != b[:1] for a, b in pairs),
            )  # fmt: skip


def one_at_a_time(record: Path, root: Path, images: list[Image], rows: int, note) -> None:
    """The reference: what a plain script does."""
    loaded = load(record, quantisation="nf4")
    family, device = loaded.family, loaded.device

    def ask(request: Request, ids: list[int]) -> None:
        tensor = torch.tensor([ids], device=device)
        pixels = torch.cat([family.pixels(loaded.processor, open_image(root, p.path)) for p in request.images])
        loaded.model.generate(
            input_ids=tensor,
            attention_mask=torch.ones_like(tensor),
            **family.text_inputs(loaded.processor, tensor, torch.ones_like(tensor), [[]]),
            pixel_values=pixels.to(device, loaded.model.dtype),
            max_new_tokens=64,
            do_sample=False,
        )

    first, *others = prompts(loaded, images, rows + 1, 64)
    ask(*first)
    start = time.perf_counter()
    for request, ids in others:
        ask(request, ids)
    torch.cuda.synchronize()
    note(reference=True, batch=1, new=64, rows_per_s=round(rows / (time.perf_counter() - start), 3))


def question(tokenizer, rng: random.Random) -> str:
    """Random words that fill a prompt to 120 text tokens, about."""
    words: list[str] = []
    while len(tokenizer(" ".join(words))["input_ids"]) < PROMPT - 10:
        words.append("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 8))))
    return " ".join(words)


def wall_of_the_step(
    record: Path, root: Path, index: Path, images: list[Image], work: Path, count: int, batch: int, note
):
    """Wall time of `infer.answer` as a process: tuned alone, then base and tuned."""
    tokenizer = AutoTokenizer.from_pretrained(record.with_suffix(""))
    rng = random.Random(0)
    rows = [report_row(number, question(tokenizer, rng), images[number % len(images)]) for number in range(count)]
    write_rows(work / "rows.parquet", rows, Row)
    tuned = {"system": "tuned", "adapter": str(work / "adapter")}
    for name, group in (("tuned", [tuned]), ("base+tuned", [{"system": "base"}, tuned])):
        start = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, "-m", "workflow_scripts.infer.answer", "--split", work / "rows.parquet"),
                *("--shard", "1-of-1", "--model", record, "--root", root, "--features", index, "--batch", str(batch)),
                *("--members", *map(json.dumps, group), "--max-new-tokens", "report", "64", "--threads", "8"),
                *("--store", work / f"store of {name}"),
                *("--out", work / f"{name}.parquet"),
            ],
            check=True,
        )
        note(step=name, rows=count, batch=batch, wall_s=round(time.perf_counter() - start, 1))
    alone = {row.uid: row.text for row in read_rows(work / "tuned.parquet", Prediction)}
    both = read_rows(work / "base+tuned.parquet", Prediction)
    changed = sum(alone[row.uid] != row.text for row in both if row.system == "tuned")
    prompt = sorted(row.prompt_tokens for row in both)[len(both) // 2]
    note(step="same texts", changed=changed, of=count, median_prompt=prompt)


def widened(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """The tokenizer with as many tokens as Gemma's: masks cost by the token."""
    raw = json.loads(tokenizer.backend_tokenizer.to_str())
    for number in range(len(tokenizer), 262_144):
        raw["model"]["vocab"][f"x{number}"] = number
    wide = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(raw)),
        pad_token=tokenizer.pad_token,
        eos_token=tokenizer.eos_token,
    )
    wide.image_token_id = tokenizer.image_token_id
    return wide


def constrained_and_stable(loaded: Loaded, root: Path, index: Path, images: list[Image], note) -> None:
    """Rows/s of 16 tokens under a grammar and without; share of answers that another batch changes in bf16."""
    processor = copy(loaded.processor)
    processor.tokenizer = widened(processor.tokenizer)
    engine = TransformersEngine(replace(loaded, processor=processor), vision_source(loaded, root, [index]), 1)
    free = prompts(loaded, images, 768, 16)
    grammar = "start: NUMBER\nNUMBER: /[1-9][0-9]{11,20}/\n"
    for name, batch in (("free", free), ("constrained", [Query(replace(r, grammar=grammar), ids) for r, ids in free])):
        engine.generate(batch[:64])
        start = time.perf_counter()
        engine.generate(batch)
        note(answers=name, batch=768, new=16, rows_per_s=round(768 / (time.perf_counter() - start), 1))
    requests = prompts(loaded, images, 256, 16)
    texts = {
        size: [r.text for first in range(0, 256, size) for r in engine.generate(requests[first : first + size])]
        for size in (256, 64, 7)
    }
    for size in (64, 7):
        changed = sum(a != b for a, b in zip(texts[256], texts[size], strict=True))
        note(stability=f"batch 256 against {size}", rows=256, changed=changed)


def profile(loaded: Loaded, root: Path, index: Path, images: list[Image], size: int) -> None:
    """Where the GPU's time goes: the prompts alone, then eight tokens."""
    engine = TransformersEngine(loaded, vision_source(loaded, root, [index]), 1)
    for new in (1, 24):
        batch = prompts(loaded, images, size, new)
        engine.generate(batch)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiler:
            start = time.perf_counter()
            engine.generate(batch)
            torch.cuda.synchronize()
            print(f"{new} tokens: wall {time.perf_counter() - start:.2f} s")
        print(profiler.key_averages().table(sort_by="cuda_time_total", row_limit=22, max_name_column_width=90))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and images")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--parts", nargs="*", default=["rates", "changes", "pass", "reference", "constrained"])
    parser.add_argument("--batches", type=int, nargs="*", default=[768, 1024])
    parser.add_argument("--rows", type=int, default=3072, help="rows of the pass")
    parser.add_argument("--systems", nargs="*", default=["base", "tuned", "base-fp8", "tuned-fp8"])
    given = parser.parse_args()
    record = given.work / "medgemma.json"
    if not record.exists():
        write_medgemma(given.work)
    root, index = given.work / "images", given.work / "features" / "index.parquet"
    if not root.exists():
        write_images(root, IMAGES)
    images = [Image(path.name, sha256_of_file(path), 1024, 1024) for path in sorted(root.glob("*.png"))]
    if not index.exists():
        write_features(record, root, images, index)
    if not (given.work / "adapter").exists():
        write_adapter(record, given.work / "adapter")
    results = []

    def note(**result) -> None:
        results.append(result)
        print(json.dumps(result), flush=True)

    def free() -> None:
        gc.collect()
        torch.cuda.empty_cache()

    free()
    texts: dict[str, list[str]] = {}
    for system in given.systems if "changes" in given.parts else ():  # first: layers are replaced for all models
        if "-" not in system:
            loaded = load(record, adapter=given.work / "adapter" if system == "tuned" else None)
            texts[f"{system}-plain"] = some_answers(loaded, root, index, images, plain=True)
            del loaded
            free()
    for system in given.systems:
        if {"rates", "changes", "profile", "constrained"} & set(given.parts):
            name, _, float8 = system.partition("-")
            loaded = load(record, adapter=given.work / "adapter" if name == "tuned" else None, fp8=bool(float8))
            print(system, speed_up_inference(loaded.model))
            if "rates" in given.parts:
                rates(loaded, root, index, images, given.batches, system, note)
                free()
            if "changes" in given.parts:
                texts[system] = some_answers(loaded, root, index, images)
                count_changes(texts, system, note)
                free()
            if "constrained" in given.parts and system == "base":
                constrained_and_stable(loaded, root, index, images, note)
            if "profile" in given.parts:
                profile(loaded, root, index, images, 256)
            del loaded
            free()
    if "reference" in given.parts:
        one_at_a_time(record, root, images, 4, note)
        free()
    if "pass" in given.parts:
        wall_of_the_step(record, root, index, images, given.work, given.rows, given.batches[0], note)
    (given.out / "infer_gpu.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
