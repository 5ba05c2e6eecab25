"""Step: tune a text encoder for tasks, one after another, and publish a network for each."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore, put_in_place, unfinished
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.systems.encoder import EncoderTraining
from workflow_scripts.core.files import sha256_of_file, write_json
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.encoders.callbacks import SaveOnSignal, StopWhenLost, last_checkpoint, step_of
from workflow_scripts.encoders.description import DESCRIPTION, HISTORY, Description, TaskHead
from workflow_scripts.encoders.inputs import Collator, Reader, Window
from workflow_scripts.encoders.networks import device_of, fresh_network, longest_input
from workflow_scripts.models.record import read_record
from workflow_scripts.models.runtime import identity_of_runtime
from workflow_scripts.models.threads import TORCH_THREADS, use_threads
from workflow_scripts.tasks.encodings import ENCODINGS
from workflow_scripts.tasks.entities.bio import tags

SPEED = "speed.json"
"""What tuning took: no part of a table, because it differs each time."""


class Windows(Dataset):  # type: ignore[type-arg]
    """Windows as the trainer takes them."""

    def __init__(self, windows: Sequence[Window]) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, place: int) -> Window:
        return self._windows[place]


@dataclass(frozen=True)
class _Tuned:
    """What tuning for one task gave."""

    head: TaskHead
    log: list[dict[str, Any]]
    seconds: float


def train_encoder(
    *,
    spec: EncoderTraining,
    split: Path,
    record: Path,
    gpus: int = 0,
    out: Path,
    history: Path,
    checkpoints: Path,
    store: Path | None = None,
) -> str:
    """Tune an encoder, or go on where a killed run was, and publish its networks with their log.

    What `store` has from the same rows, settings, encoder, code and runtime is published as it is.

    Args:
        spec: JSON of tasks and settings
        split: Parquet of training rows
        record: of the encoder
        gpus: 1 tunes on the GPU
        out: folder to publish
        history: Parquet of the training log to write, beside it speed.json
        checkpoints: folder that survives a killed run
        store: folder of cached networks

    Raises:
        Refused: there is nothing to tune for, or the loss is lost.
        BadFile: the encoder cannot be used.
    """
    rows = read_rows(split, Row)
    named = spec.tasks or tuple(task for task in ENCODINGS if any(row.task == task for row in rows))
    for task in named or [""]:
        if task not in ENCODINGS:
            allowed = ", ".join(ENCODINGS)
            raise Refused(f"{split} holds no task that an encoder answers, or tasks names another; allowed: {allowed}")
        if not any(row.task == task for row in rows):
            raise Refused(f"{split} has no {task} row to tune on; leave that task out, or train on a wider split")
    device = device_of(gpus)
    parts = {
        "code": identity("workflow_scripts.encoders.train"),
        "settings": spec.model_dump(mode="json"),
        "rows": sha256_of_file(split),
        "encoder": read_record(record)[0].content,
        "runtime": identity_of_runtime(training=True, device=device),
    }
    key = cache_key("encoder", **parts)
    entries = None if store is None else EntryStore(store)
    if entries is not None and (entry := entries.get(key)) is not None:
        _publish(entry, out, history)
        return f"nothing to tune: {entry} was made of the same"
    use_threads(TORCH_THREADS)
    fresh = unfinished(out)
    fresh.mkdir(parents=True)
    folder = checkpoints / key
    tuned = {}
    callbacks = [SaveOnSignal(), StopWhenLost()]
    for task in named:
        of_task = [row for row in rows if row.task == task and row.has_answer]
        tuned[task] = _tune(task, of_task, spec, record, fresh / task, folder / task, device, callbacks)
    steps: list[TrainingStep] = []
    for result in tuned.values():
        before, epochs = (steps[-1].step, steps[-1].epoch) if steps else (0, 0.0)
        steps += [step_of(entry, before, epochs) for entry in result.log]
    description = Description(
        encoder=read_record(record)[0].public_name,
        revision=read_record(record)[0].revision,
        rows_sha256=parts["rows"],
        heads={task: result.head for task, result in tuned.items()},
        files={
            file.relative_to(fresh).as_posix(): sha256_of_file(file)
            for file in sorted(fresh.rglob("*"))
            if file.is_file()
        },
    )
    write_json(fresh / DESCRIPTION, description.model_dump(mode="json"))
    write_rows(fresh / HISTORY, steps, TrainingStep)
    device_name = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    seconds = {task: result.seconds for task, result in tuned.items()}
    write_json(fresh / SPEED, {"seconds": sum(seconds.values()), "seconds_by_task": seconds, "device": device_name})
    if entries is not None:
        with entries.put(key, parts) as entry:
            shutil.copytree(fresh, entry, dirs_exist_ok=True)
    _publish(fresh, out, history)
    shutil.rmtree(fresh)
    shutil.rmtree(folder, ignore_errors=True)
    return f"tuned for {', '.join(named)}: {len(steps)} steps"


def _tune(
    task: str,
    rows: Sequence[Row],
    spec: EncoderTraining,
    record: Path,
    folder: Path,
    checkpoints: Path,
    device: torch.device,
    callbacks: Sequence[TrainerCallback],
) -> _Tuned:
    """Tune for one task and write the network to `folder`."""
    encoding, tuning = ENCODINGS[task], spec.tuning
    transformers.set_seed(tuning.seed)
    known = encoding.learn(rows)
    labels = list(known.get("labels", ()))
    labels = tags(labels) if encoding.HEAD == "tokens" else labels
    if encoding.HEAD in ("tokens", "classes") and len(labels) < 2:
        raise Refused(
            f"the {task} rows know nothing but {labels or 'nothing'}: there is nothing to tell apart; widen the split"
        )
    model, tokenizer = fresh_network(record, encoding.HEAD, labels, encoding.MARKS, tuning.seed)
    length = longest_input(model, tokenizer, spec.length)
    reader = Reader(tokenizer, encoding.HEAD, labels, length, min(spec.stride, length // 2 - 4))
    windows = reader.windows([example for row in rows for example in encoding.examples(row, known)])
    if not windows:
        raise Refused(f"the {task} rows hold nothing to learn: no two entities that a relation joins")
    counted = {name: value for name, value in known.items() if isinstance(value, int | float)}
    print(f"{task}: {len(rows)} rows, {len(windows)} windows of up to {length} tokens; {counted}")
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        per_device_train_batch_size=tuning.batch,
        num_train_epochs=tuning.epochs,
        learning_rate=tuning.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=tuning.warmup,
        weight_decay=tuning.weight_decay,
        max_grad_norm=tuning.max_grad_norm,
        seed=tuning.seed,
        bf16=device.type == "cuda",
        use_cpu=device.type == "cpu",
        save_steps=tuning.save_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Windows(windows),
        data_collator=Collator(tokenizer, encoding.HEAD),
        callbacks=list(callbacks),
    )
    done = trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    head = TaskHead(
        head=encoding.HEAD,
        labels=tuple(labels),
        known=known,
        rows=len(rows),
        windows=len(windows),
        length=length,
        stride=reader.stride,
    )
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return _Tuned(head, log, done.metrics["train_runtime"])


def _publish(entry: Path, out: Path, history: Path) -> None:
    """Publish the networks and their log from a folder that holds both."""
    beside = out.with_name(f".{out.name}.published")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(entry, beside, ignore=shutil.ignore_patterns("entry.json", HISTORY, SPEED))
    put_in_place(out, beside)
    for name, target in ((HISTORY, history), (SPEED, history.with_name(SPEED))):
        shutil.copyfile(entry / name, target)


if __name__ == "__main__":
    run_step(train_encoder)
