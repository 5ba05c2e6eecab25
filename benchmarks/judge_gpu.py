"""Pairs per second of a model judge on one GPU: random weights in the judges' shapes, fixed numbers of new tokens.

`python -m benchmarks.judge_gpu [--tiny]` prints, for GREEN's 7B Llama (600 + 200 tokens) and CRIMSON's 4B Gemma 3
(1,900 + 300 tokens), pairs per second batched, and one at a time by the library's own generation in the same run.
`--tiny` tries the script on a CPU.
"""

import argparse
import json
import random
import time

import torch
from transformers import AutoModelForCausalLM, Gemma3TextConfig, LlamaConfig

from workflow_scripts.judges.backends.local import Generator

LLAMA_7B = LlamaConfig(
    vocab_size=32_000, hidden_size=4096, intermediate_size=11_008, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=32, max_position_embeddings=4096,
)  # fmt: skip
GEMMA_4B = Gemma3TextConfig(
    vocab_size=262_208, hidden_size=2560, intermediate_size=10_240, num_hidden_layers=34, num_attention_heads=8,
    num_key_value_heads=4, head_dim=256, sliding_window=1024, max_position_embeddings=131_072,
)  # fmt: skip


def tiny(config):
    """The same shape, small enough for a CPU."""
    small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 4, "head_dim": 16, "vocab_size": 1000, "layer_types": None}  # fmt: skip
    return type(config)(**{**config.to_dict(), **small})


def measure(config, device: str, shape: tuple[int, int], pairs: int, batch: int, alone: int) -> dict:
    """Pairs per second in batches and one at a time, and the peak memory."""
    prompt, new = shape
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config)
    rng = random.Random(0)
    prompts = [
        [rng.randrange(2, config.vocab_size) for _ in range(int(prompt * rng.uniform(0.9, 1.1)))] for _ in range(pairs)
    ]

    def rate(chosen: list[list[int]], generate) -> float:
        generate(chosen[:2], 8)  # warm
        start = time.perf_counter()
        generate(chosen, new)
        if device == "cuda":
            torch.cuda.synchronize()
        return len(chosen) / (time.perf_counter() - start)

    def one_by_one(chosen: list[list[int]], count: int) -> None:
        for ids in chosen:
            tensor = torch.tensor([ids], device=device)
            mask = torch.ones_like(tensor)
            options = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False, "pad_token_id": 0}
            model.generate(input_ids=tensor, attention_mask=mask, **options)

    rates = {"pairs": pairs, "batch": batch, "one at a time, pairs/s": rate(prompts[:alone], one_by_one)}
    generator = Generator(model, pad=0, stops={1})
    rates["batched, pairs/s"] = rate(
        prompts, lambda chosen, count: generator.generate(chosen, batch=batch, max_new_tokens=count, fixed=True)
    )
    if device == "cuda":
        rates["peak, GiB"] = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
    return {name: round(value, 3) for name, value in rates.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="small shapes, for a trial on a CPU")
    parser.add_argument("--green-batch", type=int, default=160)
    parser.add_argument("--crimson-batch", type=int, default=128)
    options = parser.parse_args()
    if options.tiny:
        green = measure(tiny(LLAMA_7B), "cpu", (60, 8), 8, 4, 2)
        crimson = measure(tiny(GEMMA_4B), "cpu", (190, 8), 8, 4, 2)
    else:
        green = measure(LLAMA_7B, "cuda", (600, 200), 2 * options.green_batch, options.green_batch, 3)
        torch.cuda.empty_cache()
        crimson = measure(GEMMA_4B, "cuda", (1900, 300), 2 * options.crimson_batch, options.crimson_batch, 2)
    print(json.dumps({"GREEN 7B Llama": green, "CRIMSON 4B Gemma 3": crimson}, indent=2))


if __name__ == "__main__":
    main()
