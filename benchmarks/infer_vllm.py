"""Answers a second of vLLM at MedGemma 1.5 4B's shape, text alone: as many tokens a row as `benchmarks.infer_gpu` has.

    python -m benchmarks.infer_vllm --out rates.jsonl [--sequences 512] [--quantization fp8]

Random weights; every row has 376 text tokens in place of 256 of an image and 120 of text, since vLLM spends more on an
image than on the rest of a row. An environment of its own, as for `benchmarks.judge_gpu vllm`.
"""

import argparse
import json
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from benchmarks import judge_vllm
from benchmarks.judge_gpu import SHAPES, prompts_of, versions_of

TOKENS, NEW = 376, (64, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sequences", type=int, default=1024, help="rows at once, at most")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--batched-tokens", type=int, default=16_384)
    parser.add_argument("--memory", type=float, default=0.9)
    parser.add_argument("--quantization", help="of vLLM: fp8, or none")
    given = parser.parse_args()
    given.cascade = False
    shape = replace(SHAPES["crimson"], prompt=TOKENS, shared=1, new=max(NEW))
    if given.quantization:
        judge_vllm.LLM = partial(judge_vllm.LLM, quantization=given.quantization)
    engine = judge_vllm.engine_of(shape, given.sequences, given)
    judge_vllm.answer(engine, prompts_of(shape, 64, seed=1), [16] * 64, cached=False)
    for new in NEW:
        seconds = min(
            judge_vllm.answer(engine, prompts_of(shape, given.rows, seed=seed), [new] * given.rows, cached=True)
            for seed in (2, 3)
        )
        row = {
            "engine": versions_of("vllm", "torch"), "device": torch.cuda.get_device_name(), "new": new,
            "quantization": given.quantization,
            "sequences": given.sequences, "batched_tokens": given.batched_tokens, "rows": given.rows,
            "rows_per_s": round(given.rows / seconds, 1), "at": time.strftime("%F"),
        }  # fmt: skip
        line = json.dumps(row)
        print(line, flush=True)
        with given.out.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


if __name__ == "__main__":
    main()
