"""Pairs per second of the judges' models on one GPU: ours beside the library, vLLM and the judges' own packages.

Random weights in the judges' shapes, GREEN's 7B Llama and CRIMSON's 4B Gemma 3; the same prompts of random tokens for
every engine, their first tokens shared as in the real prompts; bfloat16. Numbers of new tokens are fixed: the same for
all answers, or drawn for each from a log-normal distribution of the same mean, as real answers differ. Engines that
cannot share a process are commands of their own and append rows to one file, so that a killed one loses nothing:

    python -m benchmarks.judge_gpu ours    --out rates.jsonl
    python -m benchmarks.judge_gpu library --out rates.jsonl    # transformers' generate, and the packages' ways
    python -m benchmarks.judge_gpu vllm    --out rates.jsonl --judges green    # a process a judge
    python -m benchmarks.judge_gpu table   --out rates.jsonl
    python -m benchmarks.judge_gpu prefix [--tokenizer FOLDER]    # what of the real prompts is shared

`--tiny` tries `ours` and `library` on a CPU.
"""

import argparse
import gc
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """A judge's model and prompts: the type and entries of its configuration, and numbers of tokens."""

    model_type: str
    architecture: str
    config: dict[str, Any]
    prompt: int  # mean; a prompt's length varies by a tenth
    shared: int  # first tokens, the same in all prompts: see the command `prefix`
    new: int


SHAPES = {
    "green": Shape(
        "llama",
        "LlamaForCausalLM",
        {
            "vocab_size": 32_000,
            "hidden_size": 4096,
            "intermediate_size": 11_008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "max_position_embeddings": 4096,
        },
        *(600, 280, 200),
    ),
    "crimson": Shape(
        "gemma3_text",
        "Gemma3ForCausalLM",
        {
            "vocab_size": 262_208,
            "hidden_size": 2560,
            "intermediate_size": 10_240,
            "num_hidden_layers": 34,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 1024,
            "max_position_embeddings": 131_072,
        },
        *(1900, 80, 300),
    ),
}
TINY = {
    "vocab_size": 1000, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "head_dim": 16,
}  # fmt: skip
OURS = {"green": [256], "crimson": [256]}
"""Most pairs at once; as many as fit are taken."""
LIBRARY = {"green": [64, 128], "crimson": [64, 32]}
UPSTREAM = {"green": [("as RadEval does", 8), ("one at a time", 1)], "crimson": [("as crimson-score does", 1)]}
"""What the packages that publish the judges do by themselves: pairs in a call of `generate`."""
SEQUENCES = {"green": 192, "crimson": 256}
"""Answers that vLLM computes at once: about as many as keys and values of fit into 80 GB."""
PAIRS = 256
"""Half of the pairs of a measurement of ours and of vLLM; of the library one batch."""
SPREAD = 0.6
"""Standard deviation of the logarithm of drawn numbers of new tokens."""
MOST_NEW = 2048
"""What judges are allowed by default."""

Generate = Callable[[list[list[int]], list[int]], object]
"""Generates exactly so many tokens for each prompt."""


@dataclass(frozen=True)
class Rate:
    """One measurement: a row of the file."""

    judge: str
    engine: str
    setting: str
    batch: int
    pairs: int
    seconds: float | None
    rate: float | None  # pairs/s
    gib: float | None  # peak of allocated memory, where the engine's process knows it
    start: float  # seconds until the model is in memory and ready to answer, with what had to be imported
    versions: str
    device: str
    note: str = ""


class Recorder:
    """Appends rows to a file and prints them; tells when the time of the process is over."""

    def __init__(self, out: Path | None, seconds: float) -> None:
        self.begin = time.perf_counter()
        self._out, self._seconds = out, seconds

    def elapsed(self) -> float:
        """Seconds since the process began to work."""
        return time.perf_counter() - self.begin

    def over(self) -> bool:
        """Whether nothing more is to be measured."""
        return self.elapsed() > self._seconds

    def add(self, row: Rate) -> None:
        """Write a row."""
        line = json.dumps(asdict(row))
        print(line, flush=True)
        if self._out is not None:
            with self._out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def shape_of(judge: str, *, tiny: bool) -> Shape:
    """The shape of a judge, or one like it that is small enough for a CPU."""
    shape = SHAPES[judge]
    if not tiny:
        return shape
    return replace(shape, config=shape.config | TINY, prompt=shape.prompt // 10, shared=shape.shared // 10, new=8)


def prompts_of(shape: Shape, count: int, seed: int = 0) -> list[list[int]]:
    """`count` prompts of random tokens with the shared beginning; fewer are the first of more."""
    rng = random.Random(seed)
    words = range(2, shape.config["vocab_size"])
    shared = rng.choices(words, k=shape.shared)
    lengths = (int(shape.prompt * rng.uniform(0.9, 1.1)) for _ in range(count))
    return [shared + rng.choices(words, k=length - shape.shared) for length in lengths]


def lengths_of(shape: Shape, count: int, *, drawn: bool) -> list[int]:
    """Numbers of new tokens: the shape's for all, or drawn around it."""
    if not drawn:
        return [shape.new] * count
    rng = random.Random(1)
    center = math.log(shape.new) - SPREAD**2 / 2
    return [min(max(1, round(rng.lognormvariate(center, SPREAD))), MOST_NEW) for _ in range(count)]


def model_of(shape: Shape, device: str) -> Any:
    """A model with random weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(shape.model_type, **shape.config)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16 if device == "cuda" else torch.float32)
    try:
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = None
    return model.eval()


def said_of(*, drawn: bool) -> str:
    """What a row says of the numbers of new tokens."""
    return "drawn lengths" if drawn else "equal lengths"


def device_name() -> str:
    """The GPU's name, or cpu."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def measure(
    row: Rate,
    prompts: list[list[int]],
    new: list[int],
    generate: Generate,
    recorder: Recorder,
    *,
    some: int = 2,
    warm: int = 8,
) -> None:
    """Time `generate` over the prompts after some of them with `warm` tokens; a row that says so if memory runs out."""
    import torch

    if recorder.over():
        recorder.add(replace(row, note="not measured: the time was over"))
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    try:
        generate(prompts[:some], [warm] * some)
        if gpu:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        generate(prompts, new)
        if gpu:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        row = replace(row, seconds=round(seconds, 2), rate=round(len(prompts) / seconds, 3))
    except torch.OutOfMemoryError:
        row = replace(row, note="out of memory")
    if gpu:
        row = replace(row, gib=round(torch.cuda.max_memory_allocated() / 2**30, 1))
    recorder.add(row)


def free() -> None:
    """Give back what is no longer used."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def versions_of(*packages: str) -> str:
    """Names and versions of installed packages."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def ours(judge: str, shape: Shape, device: str, batches: Sequence[int], pairs: int, recorder: Recorder) -> None:
    """The product's generator."""
    begin = recorder.elapsed()
    from workflow_scripts.judges.backends.local import Generator

    model = model_of(shape, device)
    generator = Generator(model, pad=0, stops={1})
    start = round(recorder.elapsed() - begin, 1)
    print(generator.layers, flush=True)
    for batch, drawn in [(batch, drawn) for batch in batches for drawn in (False, True)]:
        count = pairs * 2

        def generate(prompts: list[list[int]], new: list[int], batch: int = batch) -> object:
            return generator.generate(prompts, batch=batch, max_new_tokens=new, fixed=True)

        row = Rate(
            judge, "flarebench", said_of(drawn=drawn), batch, count, None, None, None, start,
            versions_of("torch", "transformers"), device_name(),
        )  # fmt: skip
        new = lengths_of(shape, count, drawn=drawn)
        measure(row, prompts_of(shape, count), new, generate, recorder, some=min(64, count))
        free()


def by_the_library(model: Any, batch: int, device: str, *, static: bool) -> Generate:
    """transformers' `generate` in batches of like length, padded on the left."""
    import torch

    options: dict[str, Any] = {"do_sample": False, "pad_token_id": 0}
    if static:
        options["cache_implementation"] = "static"

    def generate(prompts: list[list[int]], lengths: list[int]) -> None:
        (new,) = set(lengths)
        ordered = sorted(prompts, key=len, reverse=True)
        for first in range(0, len(ordered), batch):
            part = ordered[first : first + batch]
            longest = len(part[0])
            ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in part], device=device)
            mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in part], device=device)
            out = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=new, **options)
            assert out.shape[1] == longest + new, "a row ended early"

    return generate


def library(
    judge: str, shape: Shape, device: str, batches: Sequence[int], static: Sequence[int], recorder: Recorder
) -> None:
    """transformers' `generate`: batched, as the judges' own packages call it, and with a static cache."""
    begin = recorder.elapsed()
    model = model_of(shape, device)
    start = round(recorder.elapsed() - begin, 1)
    settings = [("library", "generate", batch, False) for batch in batches]
    settings += [("upstream", name, batch, False) for name, batch in UPSTREAM[judge]]
    settings += [("library", "generate, static cache", batch, True) for batch in static]
    for engine, name, batch, fixed in settings:
        row = Rate(
            judge, engine, name, batch, batch, None, None, None, start,
            versions_of("torch", "transformers"), device_name(),
        )  # fmt: skip
        generate = by_the_library(model, batch, device, static=fixed)
        # A static cache is compiled for its size: the same call twice.
        some, warm = (batch, shape.new) if fixed else (min(2, batch), 8)
        new = lengths_of(shape, batch, drawn=False)
        measure(row, prompts_of(shape, batch), new, generate, recorder, some=some, warm=warm)
        free()


def rows_of(file: Path) -> Iterator[Rate]:
    """Rows of a file, in its order."""
    for line in file.read_text(encoding="utf-8").splitlines():
        yield Rate(**json.loads(line))


def table(file: Path) -> str:
    """All rows as Markdown, each with its ratio to our best row of the judge on the same device."""
    rows = list(rows_of(file))
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.engine == "flarebench" and row.rate:
            key = row.judge, row.device
            best[key] = max(best.get(key, 0.0), row.rate)
    heads = ["judge", "engine", "setting", "batch", "pairs", "pairs/s", "of ours", "start, s", "peak GiB", "device"]
    lines = [heads, ["---"] * len(heads)]
    for row in sorted(rows, key=lambda row: (list(SHAPES).index(row.judge), -(row.rate or 0.0))):
        reference = best.get((row.judge, row.device))
        ratio = f"{row.rate / reference:.3f}" if row.rate and reference else "–"
        rate = f"{row.rate:.3g}" if row.rate else row.note
        gib = "–" if row.gib is None else f"{row.gib:.0f}"
        engine = f"{row.engine} ({row.versions})"
        cells = [row.judge, engine, row.setting, str(row.batch), str(row.pairs), rate, ratio, f"{row.start:.0f}", gib]
        lines.append([*cells, row.device])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def arguments() -> argparse.Namespace:
    """The command line's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["ours", "library", "vllm", "table", "prefix"])
    parser.add_argument("--out", type=Path, help="file of rows; they are appended")
    parser.add_argument("--judges", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--batches", type=int, nargs="+", help="batch sizes instead of the default ones")
    parser.add_argument("--static", type=int, nargs="*", default=[], help="library: batch sizes with a static cache")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="half of the pairs of a measurement")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no measurement after that time")
    parser.add_argument("--tiny", action="store_true", help="small shapes, for a trial on a CPU")
    parser.add_argument("--sequences", type=int, help="vLLM: answers computed at once")
    parser.add_argument("--batched-tokens", type=int, default=16_384, help="vLLM: tokens of a step")
    parser.add_argument("--memory", type=float, default=0.92, help="vLLM: share of the GPU's memory")
    parser.add_argument("--cascade", action="store_true", help="vLLM: attend to the shared beginning once a batch")
    parser.add_argument("--tokenizer", type=Path, help="prefix: folder of the judge's tokenizer")
    given = parser.parse_args()
    if given.command == "table" and given.out is None:
        parser.error("table wants --out, the file of rows")
    if given.command == "vllm" and given.tiny:
        parser.error("vLLM wants a GPU; try `ours` and `library`")
    if given.command == "vllm" and len(given.judges) > 1:
        parser.error("vLLM holds the GPU's memory until its process ends: one of --judges at a time")
    return given


def main() -> None:
    given = arguments()
    recorder = Recorder(given.out, given.seconds)
    if given.command == "table":
        print(table(given.out))
        return
    for judge in given.judges:
        if given.command in ("ours", "library"):
            free()  # the judge's before
        shape = shape_of(judge, tiny=given.tiny)
        device = "cpu" if given.tiny else "cuda"
        if given.command == "prefix":
            from benchmarks.judge_prefix import prefix

            print(prefix(judge, given.tokenizer))
        elif given.command == "ours":
            batches = given.batches or ([4] if given.tiny else OURS[judge])
            ours(judge, shape, device, batches, 8 if given.tiny else given.pairs, recorder)
        elif given.command == "library":
            batches = given.batches or ([4] if given.tiny else LIBRARY[judge])
            library(judge, shape, device, batches, given.static, recorder)
        else:
            from benchmarks.judge_vllm import by_vllm

            by_vllm(judge, shape, given.sequences or SEQUENCES[judge], given, recorder)


if __name__ == "__main__":
    main()
