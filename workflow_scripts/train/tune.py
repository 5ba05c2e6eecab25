"""Step: tune a model by a recipe with TRL on precomputed vision features, and publish the adapter."""

import contextlib
import importlib.util
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import EarlyStoppingCallback
from trl import SFTConfig, SFTTrainer

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore, usual_modes
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.files import sha256_of_file, write_json
from workflow_scripts.core.provenance import write_provenance
from workflow_scripts.core.rows import Row, TrainingStep
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.models.kernels import speed_up_training
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.record import read_record
from workflow_scripts.models.runtime import identity_of_runtime
from workflow_scripts.models.threads import TORCH_THREADS, use_threads
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.train.callbacks import SaveOnSignal, StopWhenLost
from workflow_scripts.train.card import name_base, write_card
from workflow_scripts.train.memory import TYPICAL, card_gib, micro_batch, token_parts
from workflow_scripts.train.preflight import check_adapter, check_batch, check_rows
from workflow_scripts.train.rows import Collator, LikeLengths, TrainingRow, hold_back, part_of, training_row

ADAPTER = "adapter"
SPEED = "speed.json"


class FeatureTrainer(SFTTrainer):
    """TRL's trainer, fed pooled vision features through the model's own input for them, where there are any."""

    def __init__(self, loaded: Loaded, token_budget: int | None, **options) -> None:
        self._loaded = loaded
        self._budget = token_budget
        super().__init__(model=loaded.model, processing_class=loaded.processor.tokenizer, **options)
        # TRL rounds the adapters of a quantised base to bfloat16, where small updates vanish.
        for parameter in self.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()

    def training_step(self, model, inputs, num_items_in_batch=None):
        """One batch, in parts where its padded size exceeds the token budget: the gradient is the same sum.

        Each part exchanges sums between processes, so that all of these work on as many parts as the one with the most.
        """
        parts = [inputs]
        several = self.args.world_size > 1
        # One process knows from the shape, without waiting for the device.
        if self._budget is not None and (several or inputs["input_ids"].numel() > self._budget):
            lengths = inputs["attention_mask"].sum(1).tolist()
            places = token_parts(lengths, self._budget)
            if several:
                counts = self.accelerator.gather(torch.tensor([len(places)], device=self.accelerator.device))
                places = token_parts(lengths, self._budget, int(counts.max()))
            if len(places) > 1:
                parts = [part_of(inputs, part, self._loaded) for part in places]
        losses = []
        for number, part in enumerate(parts, 1):
            # With several processes, gradients are exchanged once, after the last part.
            with self.accelerator.no_sync(model) if number < len(parts) else contextlib.nullcontext():
                losses.append(super().training_step(model, part, num_items_in_batch))
        return sum(losses)

    def _get_train_sampler(self, train_dataset=None):
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        return LikeLengths(list(self.train_dataset["length"]), batch, self.args.seed)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        pooled = inputs.pop("pooled_features", None)
        if pooled is not None:
            base = self._loaded.base
            with torch.no_grad():
                inputs["mm_encoder_outputs"] = self._loaded.family.encoder_outputs(base, pooled.to(base.dtype))
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)


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
) -> FeatureTrainer:
    """A trainer of fresh adapters on `loaded` by `recipe`; checkpoints go to `folder`."""
    model = _with_adapter(loaded, recipe)
    check_adapter(model, recipe.lora.targets)
    print(f"kernels: {speed_up_training(model)}")
    tuned = Loaded(model, loaded.processor, loaded.family, loaded.revision)
    arguments = _arguments(recipe, folder, tuned, workers, tracking)
    if arguments.device.type == "cuda":
        arguments._n_gpu = 1  # one process, one GPU: Trainer would spread the model over all in sight
    return FeatureTrainer(
        loaded=tuned,
        token_budget=arguments.per_device_train_batch_size * TYPICAL if loaded.device.type == "cuda" else None,
        args=arguments,
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
) -> None:
    """Tune a model, or go on where a killed run was, and publish the adapter and its history when complete.

    What `store` has from the same recipe, prompt, rows, features, model, code and runtime is published as it is.

    Args:
        recipe: JSON of the recipe
        prompt: JSON of the system's prompt
        split: Parquet of training rows
        root: folder that the image paths start from
        model: record of the model
        features: index of the vision features; none: the recipe tunes the tower
        adapter: folder to publish
        history: Parquet of the training log to write
        checkpoints: folder that survives a killed run
        threads: processes; on a GPU all but two prepare batches
        tracking: tensorboard, trackio or wandb; none by default
        store: folder of cached adapters

    Raises:
        Refused: there is nothing to train on, or a preflight check rejects the rows or the adapter.
    """
    if tracking != "none" and importlib.util.find_spec(tracking) is None:
        raise Refused(f"tracking is {tracking!r}, which is not installed: pip install {tracking}, or set it to none")
    data_hash = sha256_of_file(split)
    inputs = None if features is None else FeatureStore(features)
    parts = _key_parts(recipe, prompt, data_hash, model, inputs)
    key = cache_key("adapter", **parts)
    entries = None if store is None else EntryStore(store)
    if entries is not None and (entry := entries.get(key)) is not None:
        print(f"nothing to train: {entry} was made of the same")
        if _first_process():
            _publish(entry, adapter, history)
        return
    use_threads(TORCH_THREADS)
    transformers.set_seed(recipe.seed)
    rows = read_rows(split, Row)
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
    examples, held_back = [examples[place] for place in training], [examples[place] for place in evaluation]
    trainer = build_trainer(recipe, loaded, examples, held_back, root, inputs, folder, workers, tracking)
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

    unfinished = _unfinished(adapter)
    trainer.save_model(str(unfinished))
    loaded.processor.save_pretrained(unfinished)
    log = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    record, _ = read_record(model)
    name_base(unfinished, record)
    write_card(unfinished / "README.md", recipe, record, data_hash, len(rows), log)
    provenance = {
        "recipe": recipe.model_dump(mode="json"),
        "prompt": prompt.model_dump(mode="json"),
        "base": record.public_name,
        "revision": record.revision,
        "rows": len(rows),
        "rows_sha256": data_hash,
    }
    write_provenance(unfinished / "provenance.json", provenance)
    _replace(adapter, unfinished)
    write_rows(history, [_training_step(entry) for entry in log], TrainingStep)
    write_json(history.with_name(SPEED), _speed(trainer))
    if entries is not None and jobs_of(folder) == {key}:
        with entries.put(key, parts) as entry:
            shutil.copytree(adapter, entry / ADAPTER)
            for file in (history, history.with_name(SPEED)):
                shutil.copyfile(file, entry / file.name)
    shutil.rmtree(folder, ignore_errors=True)


def _key_parts(
    recipe: Recipe, prompt: Prompt, data_hash: str, model: Path, features: FeatureStore | None
) -> dict[str, Any]:
    """All that an adapter depends on, by name. The part `job` may change between a killed run and the next one."""
    record, folder = read_record(model)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    runtime = identity_of_runtime(folder, training=True)
    return {
        "code": identity("workflow_scripts.train.tune"),
        "recipe": recipe.model_dump(mode="json"),
        "prompt": prompt.model_dump(mode="json"),
        "rows": data_hash,
        "model": record.content,
        "features": None if features is None else features.identity,
        "libraries": runtime.pop("libraries"),
        "job": runtime | {"processes": processes, "rows_at_once": _rows_at_once(recipe, processes)},
    }


def note_job(folder: Path, key: str) -> None:
    """Note beside the checkpoints that the job of `key` has worked on them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key}.job").touch()


def jobs_of(folder: Path) -> set[str]:
    """Keys of the jobs that have worked on the checkpoints: an adapter of several is of none of these, and not stored.

    A killed run may go on elsewhere, on another kind of GPU say: the adapter is as good, but its bits are no one's.
    """
    return {file.stem for file in folder.glob("*.job")}


def _first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _publish(entry: Path, adapter: Path, history: Path) -> None:
    """Publish the adapter and its history from an entry of the store."""
    unfinished = _unfinished(adapter)
    shutil.copytree(entry / ADAPTER, unfinished)
    _replace(adapter, unfinished)
    for name in (history.name, SPEED):
        shutil.copyfile(entry / name, history.with_name(name))


def _unfinished(adapter: Path) -> Path:
    """A name beside `adapter` where nothing is, for a folder that is to take its place."""
    unfinished = adapter.with_name(f".{adapter.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    return unfinished


def _replace(adapter: Path, unfinished: Path) -> None:
    usual_modes(unfinished)
    shutil.rmtree(adapter, ignore_errors=True)
    unfinished.replace(adapter)


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint below `folder`; one that a kill cut short is removed.

    The trainer's state is the last file that a checkpoint gets.
    """
    complete = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:
            complete.append((json.loads((checkpoint / "trainer_state.json").read_text())["global_step"], checkpoint))
        except (OSError, ValueError, KeyError):
            print(f"{checkpoint} is incomplete and removed")
            shutil.rmtree(checkpoint)
    return str(max(complete)[1]) if complete else None


def _with_adapter(loaded: Loaded, recipe: Recipe) -> PeftModel:
    """The model with fresh adapters, everything else frozen."""
    config = LoraConfig(
        r=recipe.lora.r,
        lora_alpha=recipe.lora.alpha,
        lora_dropout=recipe.lora.dropout,
        target_modules=loaded.family.LORA_TARGETS[recipe.lora.targets],
        task_type="CAUSAL_LM",
    )
    return get_peft_model(loaded.base, config)


def _arguments(recipe: Recipe, folder: Path, loaded: Loaded, workers: int, tracking: str) -> SFTConfig:
    on_gpu = loaded.device.type == "cuda"
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    at_once = _rows_at_once(recipe, processes)
    evaluation = recipe.evaluation
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=at_once,
        per_device_eval_batch_size=at_once,
        gradient_accumulation_steps=recipe.batch // processes // at_once,
        eval_strategy="steps" if evaluation else "no",
        eval_steps=evaluation.every if evaluation else None,
        load_best_model_at_end=evaluation is not None,
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
        save_steps=evaluation.every if evaluation else recipe.save_every,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
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


def _training_step(entry: dict) -> TrainingStep:
    """An entry of the trainer's log."""
    return TrainingStep(
        step=entry["step"],
        epoch=entry["epoch"],
        loss=entry.get("loss"),
        token_accuracy=entry.get("mean_token_accuracy"),
        learning_rate=entry.get("learning_rate"),
        gradient_norm=entry.get("grad_norm"),
        entropy=entry.get("entropy"),
        evaluation_loss=entry.get("eval_loss"),
    )


if __name__ == "__main__":
    run_step(tune)
