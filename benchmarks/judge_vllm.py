"""The judges' shapes in vLLM, for `benchmarks.judge_gpu vllm`: an environment of its own, without this project's."""

import argparse
import os
import tempfile
import time
from dataclasses import replace

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")

import torch
from transformers import AutoConfig
from vllm import LLM, SamplingParams

from benchmarks.judge_gpu import MOST_NEW, Rate, Recorder, Shape, lengths_of, prompts_of, said_of, versions_of


def engine_of(shape: Shape, sequences: int, given: argparse.Namespace) -> LLM:
    """An engine with random weights: only a configuration is on disk."""
    folder = tempfile.mkdtemp()  # stays: the engine's process reads it too
    config = AutoConfig.for_model(shape.model_type, **shape.config)
    config.architectures = [shape.architecture]
    config.save_pretrained(folder)
    return LLM(
        model=folder,
        load_format="dummy",
        skip_tokenizer_init=True,
        generation_config="vllm",
        dtype="bfloat16",
        seed=0,
        max_model_len=-(-int(shape.prompt * 1.1 + MOST_NEW + 1) // 64) * 64,
        max_num_seqs=sequences,
        max_num_batched_tokens=given.batched_tokens,
        gpu_memory_utilization=given.memory,
        enable_prefix_caching=True,
        disable_cascade_attn=not given.cascade,
    )


def answer(engine: LLM, prompts: list[list[int]], new: list[int], *, cached: bool) -> float:
    """Seconds for so many tokens of each prompt; with `cached`, what prompts share is computed once."""
    engine.reset_prefix_cache()
    sampling = [
        SamplingParams(
            temperature=0.0, max_tokens=count, ignore_eos=True, detokenize=False, skip_reading_prefix_cache=not cached
        )
        for count in new
    ]
    begin = time.perf_counter()
    outputs = engine.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
    seconds = time.perf_counter() - begin
    short = sum(len(output.outputs[0].token_ids) != count for output, count in zip(outputs, new, strict=True))
    if short:
        raise SystemExit(f"{short} of {len(prompts)} answers have another length than they shall")
    return seconds


def by_vllm(judge: str, shape: Shape, sequences: int, given: argparse.Namespace, recorder: Recorder) -> None:
    """Rates with its prefix cache and without reading it, from one engine."""
    engine = engine_of(shape, sequences, given)
    start = round(recorder.elapsed(), 1)
    count = sequences * max(1, round(2 * given.pairs / sequences))
    row = Rate(
        judge, "vLLM", "", sequences, count, None, None, None, start,
        versions_of("vllm", "torch", "transformers"), torch.cuda.get_device_name(),
    )  # fmt: skip
    for cached in (False, True):
        answer(engine, prompts_of(shape, 64, seed=1), [16] * 64, cached=cached)  # warm
    prompts = prompts_of(shape, count)
    settings = [(True, False), (True, True), (False, False)]
    for cached, drawn in settings:
        cache = f"{'' if cached else 'no '}prefix cache{', cascade' if given.cascade else ''}"
        setting = f"{said_of(drawn=drawn)}, {cache}, {given.batched_tokens} tokens a step"
        if recorder.over():
            recorder.add(replace(row, setting=setting, note="not measured: the time was over"))
            continue
        seconds = answer(engine, prompts, lengths_of(shape, count, drawn=drawn), cached=cached)
        recorder.add(replace(row, setting=setting, seconds=round(seconds, 2), rate=round(count / seconds, 3)))
