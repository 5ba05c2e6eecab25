"""A judge that is loaded here: a causal model answers pairs, on one device or scattered over GPUs.

Only this module of the judges imports torch; it is imported when such a judge is used. The model is loaded when the
first pair is asked for, so that a run whose judgements are all stored loads nothing.
"""

import gc
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from workflow_scripts.core.command import end_with_parent
from workflow_scripts.core.config.judges import CheckpointJudge, GreenJudge
from workflow_scripts.core.files import BadFile, sha256_of
from workflow_scripts.core.requests import seed_of
from workflow_scripts.engines.local.choice import Draws, greedily
from workflow_scripts.engines.local.decoding import Decoder
from workflow_scripts.judges import upstream
from workflow_scripts.judges.judgements import JudgeDied, Judgement, Pair
from workflow_scripts.judges.prompts import chat_of, checked, prompt_hash
from workflow_scripts.models.kernels import speed_up_inference
from workflow_scripts.models.markup import chat_ids
from workflow_scripts.models.record import read_record, verify_files
from workflow_scripts.models.runtime import compute_dtype, first_line, identity_of_runtime
from workflow_scripts.models.threads import TORCH_THREADS, use_threads

MOST_PAIRS = {"cuda": 256, "cpu": 16}
"""Pairs at once, where the configuration says nothing and the memory holds them: more are hardly faster."""

SHARED_OUT = 512
"""Pairs that one of several GPUs takes at a time."""

TEMPERATURE = 0.3
"""Of a further try; the first one is greedy."""


class Generator:
    """Generation from token ids, for as many prompts at a time as the memory holds."""

    def __init__(self, model: PreTrainedModel, pad: int, stops: set[int]) -> None:
        self.layers = speed_up_inference(model.eval())
        self._decoder = Decoder(model, pad, stops)
        self._stops = stops
        self._most = MOST_PAIRS.get(model.device.type, MOST_PAIRS["cpu"])

    def answers(
        self,
        prompts: Sequence[list[int]],
        *,
        max_new_tokens: int | Sequence[int],
        batch: int | None = None,
        seeds: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> Iterator[dict[int, list[int]]]:
        """New tokens by the prompt's place, without the stop token, as answers end. The longest prompts come first.

        Args:
            max_new_tokens: of every prompt, or of each.
            batch: most prompts at once.
            seeds: of each prompt, whose tokens are then drawn, see `Draws`; none: the likeliest are taken.
            fixed: generate exactly `max_new_tokens` (for timing).

        Raises:
            torch.OutOfMemoryError: a single prompt does not fit.
        """
        limits = [max_new_tokens] * len(prompts) if isinstance(max_new_tokens, int) else max_new_tokens
        order = sorted(range(len(prompts)), key=lambda place: -len(prompts[place]))
        most = batch or self._most
        while order:
            choose = greedily
            if seeds is not None:
                choose = Draws([seeds[place] for place in order], max(limits), TEMPERATURE)
            ended: set[int] = set()
            try:
                for new in self._decoder.stream(
                    [prompts[place] for place in order],
                    [limits[place] for place in order],
                    most,
                    choose=choose,
                    fixed=fixed,
                ):
                    ended |= {order[place] for place in new}
                    yield {
                        order[place]: tokens[:-1] if not fixed and tokens[-1] in self._stops else tokens
                        for place, tokens in new.items()
                    }
                return
            except torch.OutOfMemoryError:
                if min(most, len(order)) == 1:
                    raise
            # The memory of the failed try is freed only after that block.
            most = min(most, len(order)) // 2
            order = [place for place in order if place not in ended]
            gc.collect()
            torch.cuda.empty_cache()
            print(f"out of memory: from here on {most} pairs at once")

    def generate(
        self,
        prompts: Sequence[list[int]],
        *,
        max_new_tokens: int | Sequence[int],
        batch: int | None = None,
        seeds: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> list[list[int]]:
        """As `answers`, all together, in the order given."""
        answers: dict[int, list[int]] = {}
        for some in self.answers(prompts, max_new_tokens=max_new_tokens, batch=batch, seeds=seeds, fixed=fixed):
            answers |= some
        return [answers[place] for place in range(len(prompts))]


def _cannot_be_loaded(judge: CheckpointJudge, error: Exception) -> BadFile:
    return BadFile(f"judge {judge.checkpoint} cannot be loaded: {first_line(error)}")


def _tokenizer_of(judge: CheckpointJudge, folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a judge.

    Raises:
        BadFile: it cannot be loaded, or wants code of its own to be run.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise _cannot_be_loaded(judge, error) from None
    return tokenizer


def _takes_green_template(judge: CheckpointJudge, folder: Path) -> bool:
    """Whether a judge is asked in GREEN's own chat template: GREEN's judge, and one whose tokenizer has none.

    Another checkpoint was not trained on that template, and may answer it with nothing.

    Raises:
        BadFile: the tokenizer cannot be loaded.
    """
    if judge.metric != "green":
        return False
    return isinstance(judge, GreenJudge) or _tokenizer_of(judge, folder).chat_template is None


class LoadedJudge:
    """A checkpoint with its tokenizer on one device, from the bytes that its record names and no others."""

    def __init__(self, judge: CheckpointJudge, record: Path, device: str) -> None:
        """Load the judge.

        Raises:
            BadFile: it cannot be loaded, wants code of its own to be run, or files changed since the record.
        """
        self._judge = judge
        if device == "cpu":
            use_threads(TORCH_THREADS)
        _, folder = read_record(record)
        verify_files(record)
        self._green = _takes_green_template(judge, folder)
        self._tokenizer = _tokenizer_of(judge, folder)
        if not self._green and self._tokenizer.chat_template is None:
            raise BadFile(
                f"judge {judge.checkpoint}: its tokenizer has no chat template, so that it cannot be asked; put the "
                "checkpoint's chat_template.jinja into its folder"
            )
        try:
            model = AutoModelForCausalLM.from_pretrained(
                folder,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=compute_dtype(torch.device(device)),
            ).to(device)
        except (OSError, ValueError, SafetensorError) as error:
            raise _cannot_be_loaded(judge, error) from None
        verify_files(record)  # once more: files that changed while they were read
        stops = model.generation_config.eos_token_id
        stops = {stops} if isinstance(stops, int) else set(stops or [self._tokenizer.eos_token_id])
        pad = self._tokenizer.pad_token_id
        self.generator = Generator(model, next(iter(stops)) if pad is None else pad, stops)

    def replies(self, pairs: list[Pair], attempt: int) -> Iterator[list[tuple[Pair, str]]]:
        """Pairs with their raw replies, as they come; the first try is greedy, a further one draws."""
        for new in self.generator.answers(
            [self._ids(pair) for pair in pairs],
            max_new_tokens=self._judge.max_new_tokens,
            batch=self._judge.batch,
            seeds=[seed_of(pair.key, attempt) for pair in pairs] if attempt else None,
        ):
            texts: list[str] = self._tokenizer.batch_decode(list(new.values()), skip_special_tokens=True)
            yield [(pairs[place], text) for place, text in zip(new, texts, strict=True)]

    def _ids(self, pair: Pair) -> list[int]:
        """The prompt of a pair; what a report says is text, whatever the tokenizer takes for markup."""
        chat: list[dict[str, Any]] = [*chat_of(pair, self._judge.metric, guidelines=self._judge.guidelines)]
        if self._green:
            return chat_ids(self._tokenizer, chat, self._green_text, opened=False)
        return chat_ids(self._tokenizer, chat, self._text)  # the template puts the first token

    def _text(self, chat: list[dict[str, Any]]) -> str:
        text: str = self._tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text

    def _green_text(self, chat: list[dict[str, Any]]) -> str:
        # GREEN's judge was trained on upstream's own template, which closes an empty answer before it opens one.
        turns = [{"from": "human", "value": chat[0]["content"]}, {"from": "gpt", "value": ""}]
        text: str = self._tokenizer.apply_chat_template(
            turns, chat_template=upstream.green_template(), tokenize=False, add_generation_prompt=True
        )
        return text


_loaded: LoadedJudge | None = None  # of a worker process


def _load(judge: CheckpointJudge, record: Path, devices: "multiprocessing.Queue[str]") -> None:
    global _loaded
    end_with_parent()
    device = devices.get()
    torch.cuda.set_device(device)  # kernels start on the current device
    _loaded = LoadedJudge(judge, record, device)


def _answer(pairs: list[Pair], attempt: int) -> list[tuple[Pair, str]]:
    assert _loaded is not None
    return [reply for batch in _loaded.replies(pairs, attempt) for reply in batch]


def _device_type(judge: CheckpointJudge) -> str:
    return "cuda" if judge.gpus else "cpu"


class TransformersModel:
    """The judge of a `transformers` section, by the record of its checkpoint."""

    def __init__(self, judge: CheckpointJudge, record: Path) -> None:
        """Say what the judge is; the model is not loaded.

        Raises:
            BadFile: the record is missing, files changed since it was written, there is no GPU as the judge asks, or
                the tokenizer, whose chat template is part of what the judge is, cannot be loaded.
        """
        if judge.gpus and not torch.cuda.is_available():
            raise BadFile("the judge asks for a GPU (`gpus`), and there is none; set `gpus: 0` to judge on the CPU")
        self._judge, self._record = judge, record
        described, folder = read_record(record)
        verify_files(record)
        self.identity = {
            "backend": "transformers",
            "metric": judge.metric,
            "model": described.content,
            "runtime": identity_of_runtime(folder, device=torch.device(_device_type(judge))),
            "prompt": prompt_hash(judge.metric, guidelines=judge.guidelines),
            "template": sha256_of(upstream.green_template().encode()) if _takes_green_template(judge, folder) else None,
            "max_new_tokens": judge.max_new_tokens,
            "temperature": TEMPERATURE,
        }

    @cached_property
    def loaded(self) -> LoadedJudge:
        """The judge on the one device that this process uses."""
        return LoadedJudge(self._judge, self._record, _device_type(self._judge))

    @cached_property
    def _workers(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        devices = context.Queue()
        for number in range(self._judge.gpus):
            devices.put(f"cuda:{number}")
        return ProcessPoolExecutor(self._judge.gpus, context, _load, (self._judge, self._record, devices))

    def ask(self, pairs: list[Pair], attempt: int) -> Iterator[tuple[Pair, Judgement | None]]:
        """Each pair with its judgement, as replies come; the longest pairs are asked first.

        Raises:
            JudgeDied: the device's memory does not hold a batch, or a worker was killed.
        """
        try:
            for replies in self._replies(pairs, attempt):
                for pair, reply in replies:
                    yield pair, checked(reply, self._judge.metric, pair)
        except torch.OutOfMemoryError:
            raise JudgeDied("its memory does not hold a single pair; use a larger GPU") from None
        except BrokenProcessPool:
            raise JudgeDied("a worker was killed") from None

    def _replies(self, pairs: list[Pair], attempt: int) -> Iterator[list[tuple[Pair, str]]]:
        """Pairs with their replies as they come; with several GPUs, each takes more pairs when it has done some."""
        if self._judge.gpus <= 1:
            yield from self.loaded.replies(pairs, attempt)
            return
        order = sorted(pairs, key=lambda pair: -len(pair.reference) - len(pair.hypothesis))
        size = min(SHARED_OUT, -(-len(order) // self._judge.gpus))
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        futures = [self._workers.submit(_answer, part, attempt) for part in parts]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()
