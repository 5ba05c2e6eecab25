"""What the whole mission needs on disk: a FLARE-shaped folder and random checkpoints of the true shapes.

`python -m benchmarks.mission_data PIECE --folder FOLDER [--tiny]` writes one piece, unless it is there: `flare` (seven
tasks; reports are two fifths of its validation rows, as of FLARE's, and no two cases have one report), `medgemma` and
`crimson` (MedGemma 1.5 4B; one set of weights, hard-linked), or `green` (Llama 7B). A piece that was cut short is
written anew.
"""

import argparse
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

GIB_OF_CHECKPOINTS = 22
"""MedGemma 8.0 GiB and Llama 12.6 GiB in bfloat16, and some more."""

VOCABULARY = 1550
SHARD_SIZE = "4GB"
SCALE = 1.0
"""About 1,900 training rows and 570 validation rows."""

MORE_REPORTS = 4
"""Times as many validation reports as the toy dataset has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("piece", choices=sorted(PIECES))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--tiny", action="store_true", help="small shapes, on the CPU")
    parser.add_argument("--scale", type=float, default=SCALE, help="size of the dataset")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for piece in ("medgemma", "crimson") if given.piece == "crimson" else (given.piece,):
        prepare(piece, given.folder, given.tiny, given.scale)


def prepare(piece: str, folder: Path, tiny: bool, scale: float) -> None:
    """Write a piece below `folder` if it is not there, and say what that took."""
    place = folder / piece
    if place.exists():
        print(f"{piece}: there already", flush=True)
        return
    start = time.monotonic()
    partial = folder / f".{piece}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    PIECES[piece](partial, tiny, scale)
    partial.rename(place)
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    print(f"{piece}: {size / 1e9:.2f} GB in {time.monotonic() - start:.0f} s", flush=True)


def write_flare(folder: Path, tiny: bool, scale: float) -> None:
    """Draw the toy dataset with more reports in its validation folder, each case with a report of its own."""
    from workflow_scripts.core.config.datasets import SyntheticDataset
    from workflow_scripts.synthetic import dataset

    dataset.SUBSETS = tuple(
        replace(subset, validation=subset.validation * MORE_REPORTS) if subset.name == "chestreport" else subset
        for subset in dataset.SUBSETS
    )
    dataset.draw_dataset(SyntheticDataset(scale=scale), folder)
    for file in sorted(folder.rglob("chestreport_*.json")):
        rows = json.loads(file.read_text(encoding="utf-8"))
        for row in rows:
            name = row["ImageName"] if isinstance(row["ImageName"], str) else row["ImageName"][0]
            case = re.search(r"CXR(\d+)_", name)
            if case:
                row["Answer"] = f"{row['Answer'].strip()} Film {case[1]}."
        file.write_text(json.dumps(rows, indent=1), encoding="utf-8")


def write_medgemma(folder: Path, tiny: bool, _: float) -> None:
    """A random MedGemma with its processor."""
    from transformers import Gemma3ForConditionalGeneration

    from benchmarks.shapes import medgemma_config, medgemma_processor
    from workflow_scripts.synthetic.pretraining import TURN, build_model, build_processor

    tokenizer, small = _tokenizer(), build_processor(vocabulary=600, seed=0)
    tokenizer.chat_template = small.chat_template
    if tiny:
        small.tokenizer = tokenizer
        _save(folder, lambda: build_model(small, width=64, layers=2, seed=0), tokenizer, tiny=True)
        small.save_pretrained(folder)
        return
    processor = medgemma_processor(tokenizer, small.chat_template)
    stops = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(TURN[1])]
    config = medgemma_config(processor)
    _save(folder, lambda: Gemma3ForConditionalGeneration(config), tokenizer, stops=stops)
    processor.save_pretrained(folder)


def link_crimson(folder: Path, tiny: bool, _: float) -> None:
    """A folder of its own with the same weights: MedGemma-CRIMSON is a MedGemma 4B that was tuned further."""
    source = folder.with_name("medgemma")
    folder.mkdir(parents=True)
    for file in sorted(source.iterdir()):
        if file.suffix == ".safetensors":
            os.link(file, folder / file.name)
        else:
            shutil.copyfile(file, folder / file.name)


def write_green(folder: Path, tiny: bool, _: float) -> None:
    """A random Llama 7B with its tokenizer; the judge's code brings the chat template."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from benchmarks.shapes import llama_config

    tokenizer = _tokenizer()
    config = llama_config(tokenizer)
    if tiny:
        small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
        small |= {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": len(tokenizer)}
        config = LlamaConfig(**config.to_dict() | small)
    _save(folder, lambda: LlamaForCausalLM(config), tokenizer, tiny=tiny)
    tokenizer.save_pretrained(folder)


def _tokenizer():
    """A tokenizer whose prompts of the judges are about as long as with the models' own: a token is about a word."""
    from benchmarks.shapes import tokenizer_of
    from workflow_scripts.judges.judgements import Pair
    from workflow_scripts.judges.prompts import chat_of

    pair = Pair("The heart is enlarged. No pleural effusion.", "The lungs are clear.")
    texts = [
        message["content"] for metric in ("crimson", "green") for message in chat_of(pair, metric, guidelines=False)
    ]
    return tokenizer_of(texts, VOCABULARY)


def _save(folder: Path, build: Callable, tokenizer, *, tiny: bool = False, stops: list[int] | None = None) -> None:
    """Build a model with random weights and write it."""
    from benchmarks.shapes import random_model

    if not tiny and (free := shutil.disk_usage(folder.parent).free / 2**30) < GIB_OF_CHECKPOINTS:
        raise SystemExit(f"{folder.parent}: {free:.0f} GiB are free, the checkpoints need {GIB_OF_CHECKPOINTS}")
    model = random_model(build, "cpu" if tiny else "cuda", len(tokenizer))
    if stops or not model.generation_config.eos_token_id:
        model.generation_config.eos_token_id = stops or tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder, max_shard_size=SHARD_SIZE)


PIECES: dict[str, Callable[[Path, bool, float], None]] = {
    "flare": write_flare,
    "medgemma": write_medgemma,
    "crimson": link_crimson,
    "green": write_green,
}


if __name__ == "__main__":
    main()
