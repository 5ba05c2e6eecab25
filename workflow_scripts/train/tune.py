"""Step: tune a model by a recipe with TRL on precomputed vision features, and publish its adapter or its weights."""

import importlib.util
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from transformers import EarlyStoppingCallback
from trl import SFTConfig

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore, put_in_place, unfinished
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.files import sha256_of_file, write_json
from workflow_scripts.core.provenance import write_provenance
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.kernels import speed_up_training
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.record import read_record
from workflow_scripts.models.runtime import best_device, identity_of_runtime, text_model_type
from workflow_scripts.models.threads import TORCH_THREADS, use_threads
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.tasks.boxes.model_answers import native_row
from workflow_scripts.tasks.boxes.model_sizes import model_boxes
from workflow_scripts.train.callbacks import SAMPLES, AnswerSamples, SaveOnSignal, StopWhenLost, history_line, spread
from workflow_scripts.train.card import name_base, write_card
from workflow_scripts.train.loop.trainer import FeatureTrainer
from workflow_scripts.train.memory import TYPICAL, card_gib, micro_batch
from workflow_scripts.train.preflight import check_batch, check_float8, check_rows
from workflow_scripts.train.rows import (
    Collator,
    TrainingRow,
    hold_back,
    training_row,
)
from workflow_scripts.train.sampling import Group, groups_of, summary
from workflow_scripts.train.weights import (
    jobs_of,
    last_checkpoint,
    name_full_weights,
    note_job,
    trainable,
)

ADAPTER = "adapter"
SPEED = "speed.json"
ANSWERS = "samples.parquet"


def build_trainer(
    recipe: Recipe,
    loaded: Loaded,
    examples: Sequence[TrainingRow],
    held_back: Sequence[TrainingRow],
    root: Path,
    features: FeatureStore | None,
    folder: Path,
    workers: int,
    tracking: str = "none",
    groups: Sequence[Group] = (),
) -> FeatureTrainer:
    """A trainer by `recipe` of fresh adapters on `loaded`, or of its own weights; checkpoints go to `folder`."""
    model = trainable(loaded, recipe)
    print(f"kernels: {speed_up_training(model, float8=recipe.fp8)}")
    tuned = Loaded(model, loaded.processor, loaded.family, loaded.revision)
    arguments = _arguments(recipe, folder, tuned, workers, tracking)
    sgd = {"lr": recipe.learning_rate, "momentum": recipe.momentum}
    if arguments.device.type == "cuda":
        arguments._n_gpu = 1  # one process, one GPU: Trainer would spread the model over all in sight
    return FeatureTrainer(
        loaded=tuned,
        token_budget=arguments.per_device_train_batch_size * TYPICAL if loaded.device.type == "cuda" else None,
        groups=groups,
        args=arguments,
        optimizer_cls_and_kwargs=(torch.optim.SGD, sgd) if recipe.optimiser == "sgd" else None,
        train_dataset=Dataset.from_list(list(examples)),
        eval_dataset=Dataset.from_list(list(held_back)) if held_back else None,
        callbacks=[SaveOnSignal(), StopWhenLost()],
        data_collator=Collator(tuned, root, features),
    )


def tune(
    *,
    recipe: Recipe,
    prompt: Prompt,
    split: Path,
    root: Path,
    model: Path,
    features: Path | None = None,
    adapter: Path,
    history: Path,
    checkpoints: Path,
    threads: int,
    tracking: str = "none",
    store: Path | None = None,
    boxes: BoxForm = DATASETS_FORM,
) -> None:
    """Tune a model, or go on where a killed run was, and publish weights, history and held-out answers when complete.

    What `store` has from the same recipe, prompt, rows, features, model, code and runtime is published as it is.

    Args:
        recipe: JSON of the recipe
        prompt: JSON of the system's prompt
        split: Parquet of training rows
        root: folder that the image paths start from
        model: record of the model
        features: index of the vision features; none: the recipe tunes the tower
        adapter: folder to publish
        history: Parquet of the training log to write, beside it samples.parquet and speed.json
        checkpoints: folder that survives a killed run
        threads: processes; on a GPU all but two prepare batches
        tracking: tensorboard, trackio or wandb; none by default
        store: folder of cached adapters
        boxes: JSON of the form of boxes that the model is asked for; by default the dataset's

    Raises:
        Refused: there is nothing to train on, or a preflight check rejects the device, the rows or the adapter.
    """
    if tracking != "none" and importlib.util.find_spec(tracking) is None:
        raise Refused(f"tracking is {tracking!r}, which is not installed: pip install {tracking}, or set it to none")
    if recipe.fp8:
        described, files = read_record(model)
        load_family(described.family)  # some families bring the class of their configuration
        check_float8(best_device(), text_model_type(files))
    data_hash = sha256_of_file(split)
    inputs = None if features is None else FeatureStore(features)
    parts = _key_parts(recipe, prompt, data_hash, model, inputs)
    if boxes.convention is not None:
        parts["boxes"] = boxes.model_dump(mode="json")
    key = cache_key("adapter", **parts)
    entries = None if store is None else EntryStore(store)
    if entries is not None and (entry := entries.get(key)) is not None:
        print(f"nothing to train: {entry} was made of the same")
        if _first_process():
            _publish(entry, adapter, history)
        return
    use_threads(TORCH_THREADS)
    transformers.set_seed(recipe.seed)
    sources = read_rows(split, Row)
    form = model_boxes(boxes, read_record(model)[1])
    rows = [native_row(row, form) for row in sources]
    if not rows:
        raise Refused(f"{split} has no rows to train on")
    if inputs is None:
        print("the recipe tunes the vision tower: no stored features are used")
    else:
        inputs.verify()
    loaded = load(model, quantisation=recipe.quantisation)
    examples = [training_row(row, prompt, loaded) for row in rows]
    check_rows(rows, examples, prompt, loaded)
    folder = checkpoints / cache_key("checkpoints", **{name: part for name, part in parts.items() if name != "job"})
    note_job(folder, key)
    workers = max(0, threads - 2) if loaded.device.type == "cuda" else 0
    training, evaluation = hold_back(rows, recipe.evaluation.rows if recipe.evaluation else 0, recipe.seed)
    groups = groups_of([rows[place] for place in training], recipe.sampling) if recipe.sampling else []
    if groups:
        print(summary(groups))
    shown = [evaluation[n] for n in spread(len(evaluation), recipe.evaluation.samples)] if recipe.evaluation else []
    samples = [sources[place] for place in shown], [examples[place] for place in shown]
    examples, held_back = [examples[place] for place in training], [examples[place] for place in evaluation]
    trainer = build_trainer(recipe, loaded, examples, held_back, root, inputs, folder, workers, tracking, groups)
    if shown:
        trainer.add_callback(AnswerSamples(*samples, loaded, trainer.data_collator, trainer._prepare_inputs))
    check_batch(trainer.data_collator(examples[: trainer.args.per_device_train_batch_size]), loaded)
    if recipe.evaluation and recipe.evaluation.patience:
        trainer.add_callback(EarlyStoppingCallback(recipe.evaluation.patience))
    try:
        trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    except torch.OutOfMemoryError as error:
        at_once = trainer.args.per_device_train_batch_size
        raise Refused(
            f"out of memory with {at_once} rows at once: set the recipe's micro_batch to {max(1, at_once // 2)} or "
            f"gradient_checkpointing to true ({str(error).split('.')[0]})"
        ) from None
    if not trainer.is_world_process_zero():
        return

    fresh = unfinished(adapter)
    trainer.save_model(str(fresh))
    loaded.processor.save_pretrained(fresh)
    log = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    record, _ = read_record(model)
    if recipe.weights is None:
        name_base(fresh, record)
    else:
        name_full_weights(fresh, record, recipe.weights)
    write_card(fresh / "README.md", recipe, record, data_hash, len(rows), log)
    provenance = {
        "recipe": recipe.model_dump(mode="json"),
        "prompt": prompt.model_dump(mode="json"),
        "base": record.public_name,
        "revision": record.revision,
        "rows": len(rows),
        "rows_sha256": data_hash,
        "held_back": len(held_back),
        "sampling": [{"group": group.name, "rows": len(group.places), "of_an_epoch": group.share} for group in groups],
    }
    write_provenance(fresh / "provenance.json", provenance)
    put_in_place(adapter, fresh)
    write_rows(history, [history_line(entry) for entry in log], TrainingStep)
    answers = [SampleAnswer(**answer) for entry in trainer.state.log_history for answer in entry.get(SAMPLES, ())]
    write_rows(history.with_name(ANSWERS), answers, SampleAnswer)
    write_json(history.with_name(SPEED), _speed(trainer))
    if entries is not None and jobs_of(folder) == {key}:
        with entries.put(key, parts) as entry:
            shutil.copytree(adapter, entry / ADAPTER)
            for name in (history.name, ANSWERS, SPEED):
                shutil.copyfile(history.with_name(name), entry / name)
    shutil.rmtree(folder, ignore_errors=True)


def _key_parts(
    recipe: Recipe, prompt: Prompt, data_hash: str, model: Path, features: FeatureStore | None
) -> dict[str, Any]:
    """All that an adapter depends on, by name. The part `job` may change between a killed run and the next one."""
    record, folder = read_record(model)
    load_family(record.family)  # some families bring the class of their configuration
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    runtime = identity_of_runtime(folder, training=True)
    return {
        "code": identity("workflow_scripts.train.tune", record.family),
        "recipe": recipe.model_dump(mode="json"),
        "prompt": prompt.model_dump(mode="json"),
        "rows": data_hash,
        "model": record.content,
        "features": None if features is None else features.identity,
        "libraries": runtime.pop("libraries"),
        "job": runtime | {"processes": processes, "rows_at_once": _rows_at_once(recipe, processes)},
    }


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _publish(entry: Path, adapter: Path, history: Path) -> None:
    """Publish the adapter and its history from an entry of the store."""
    fresh = unfinished(adapter)
    shutil.copytree(entry / ADAPTER, fresh)
    put_in_place(adapter, fresh)
    for name in (history.name, ANSWERS, SPEED):
        shutil.copyfile(entry / name, history.with_name(name))


def _arguments(recipe: Recipe, folder: Path, loaded: Loaded, workers: int, tracking: str) -> SFTConfig:
    on_gpu = loaded.device.type == "cuda"
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = _rows_at_once(recipe, processes)
    evaluation = recipe.evaluation
    best = evaluation is not None and evaluation.keep == "best"
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=at_once,
        per_device_eval_batch_size=at_once,
        gradient_accumulation_steps=recipe.batch // processes // at_once,
        eval_strategy="steps" if evaluation else "no",
        eval_steps=evaluation.every if evaluation else None,
        load_best_model_at_end=best,
        metric_for_best_model="eval_loss" if evaluation else None,
        ddp_backend="gloo" if processes > 1 and not on_gpu else None,
        num_train_epochs=recipe.epochs or 1.0,
        max_steps=recipe.steps or -1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.schedule,
        warmup_steps=recipe.warmup,
        optim=recipe.optimiser,
        weight_decay=recipe.weight_decay,
        max_grad_norm=recipe.max_grad_norm,
        gradient_checkpointing=recipe.gradient_checkpointing,
        seed=recipe.seed,
        bf16=on_gpu,
        use_cpu=not on_gpu,
        save_steps=evaluation.every if evaluation and best else recipe.save_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        accelerator_config={"non_blocking": True},  # a batch is copied while the device computes
        report_to=tracking,
        max_length=None,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_num_workers=workers,
        disable_tqdm=False,
    )


def _rows_at_once(recipe: Recipe, processes: int) -> int:
    try:
        return micro_batch(recipe.micro_batch, recipe.batch, processes, card_gib())
    except ValueError as error:
        raise Refused(f"the recipe does not fit this job: {error}") from None


def _speed(trainer: FeatureTrainer) -> dict:
    """What the run took: beside the history, which a second run reproduces, because this differs each time."""
    run = [entry for entry in trainer.state.log_history if "train_runtime" in entry][-1]
    on_gpu = torch.cuda.is_available()
    return {
        "seconds": run["train_runtime"],
        "rows_per_s": run["train_samples_per_second"],
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if on_gpu else None,
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
    }


if __name__ == "__main__":
    run_step(tune)
