"""Unsloth's QLoRA at the shape of `benchmarks.train_gpu`, in an environment of its own with the checkpoint of that run.

400 text tokens a row: the image's 256 among them are text too, so that no tower runs, as none does on stored features.
`--images` gives it the images instead, prepared in the loop. Prints a line for each batch size.

    python -m benchmarks.unsloth_gpu --model FOLDER [--batches 24 32 40 48] [--images FOLDER]
"""

import argparse
import gc
import json
from itertools import pairwise
from pathlib import Path

import unsloth  # before everything that it patches
from unsloth import FastVisionModel

import torch  # isort: skip
import transformers  # isort: skip
import trl  # isort: skip
from datasets import Dataset  # isort: skip
from PIL import Image  # isort: skip

IMAGE, PROMPT, ANSWER = 256, 120, 24
STEPS, WARM = 14, 6


class Clock(transformers.TrainerCallback):
    """When the device ends each optimiser step; the processor may be ahead of it."""

    def __init__(self) -> None:
        self._events: list[torch.cuda.Event] = []

    def on_step_end(self, *_, **__):
        self._events.append(torch.cuda.Event(enable_timing=True))
        self._events[-1].record()

    @property
    def ends(self) -> list[float]:
        """Seconds since the end of the first step."""
        torch.cuda.synchronize()
        return [self._events[0].elapsed_time(event) / 1000 for event in self._events]


class Collator:
    """Rows of equal length, with images read and prepared where there are any."""

    def __init__(self, processor, image_token: int) -> None:
        self._processor, self._image_token = processor, image_token

    def __call__(self, rows):
        ids = torch.tensor([row["input_ids"] for row in rows])
        labels = torch.full_like(ids, -100)
        labels[:, -ANSWER:] = ids[:, -ANSWER:]
        batch = {
            "input_ids": ids,
            "labels": labels,
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": (ids == self._image_token).long(),
        }
        if rows[0]["image"]:
            images = [Image.open(row["image"]).convert("RGB") for row in rows]
            pixels = self._processor.image_processor(images=images, return_tensors="pt")["pixel_values"]
            batch["pixel_values"] = pixels.to(torch.bfloat16)
        return batch


def measure(folder: str, images: list[str], batch: int, workers: int) -> dict[str, object]:
    """Train a few steps; rows/s over the last ones, and peak memory."""
    model, processor = FastVisionModel.from_pretrained(
        folder,
        load_in_4bit=True,
        use_gradient_checkpointing=False,
        max_seq_length=512,
        dtype=torch.bfloat16,
        local_files_only=True,
    )
    model = FastVisionModel.get_peft_model(
        model, finetune_vision_layers=False, r=16, lora_alpha=16, lora_dropout=0, use_gradient_checkpointing=False
    )
    FastVisionModel.for_training(model)
    generator = torch.Generator().manual_seed(0)
    vocabulary, image_token = model.config.get_text_config().vocab_size, model.config.image_token_id
    rows = []
    for number in range(batch * STEPS):
        length = PROMPT + ANSWER + (0 if images else IMAGE)
        ids = torch.randint(1100, vocabulary, (length,), generator=generator).tolist()
        ids[0] = processor.tokenizer.bos_token_id
        shown = [image_token] * IMAGE if images else []
        rows.append(
            {"input_ids": [*ids[:4], *shown, *ids[4:]], "image": images[number % len(images)] if images else ""}
        )
    arguments = trl.SFTConfig(
        output_dir="unsloth_out",
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=1,  # Unsloth would make it 2
        max_steps=STEPS,
        learning_rate=2e-4,
        warmup_steps=1,
        optim="adamw_8bit",  # as its notebooks have it
        max_grad_norm=0.3,
        bf16=True,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        dataloader_num_workers=workers,
        dataset_text_field="",
    )
    trainer = trl.SFTTrainer(
        model=model,
        processing_class=processor.tokenizer,
        train_dataset=Dataset.from_list(rows),
        data_collator=Collator(processor, image_token),
        args=arguments,
    )
    clock = Clock()
    trainer.add_callback(clock)
    torch.cuda.reset_peak_memory_stats()
    trainer.train()
    seconds = (clock.ends[-1] - clock.ends[WARM - 1]) / (STEPS - WARM)
    result = {
        "peer": f"Unsloth {unsloth.__version__}, transformers {transformers.__version__}, TRL {trl.__version__}",
        "rows": "images in the loop" if images else "400 text tokens",
        "batch": batch,
        "rows_per_s": round(batch / seconds, 2),
        "steps_s": [round(after - before, 2) for before, after in pairwise(clock.ends)],
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
    }
    del trainer, model
    gc.collect()
    torch.cuda.empty_cache()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the checkpoint's folder")
    parser.add_argument("--images", type=Path, help="folder of images; none: text alone")
    parser.add_argument("--batches", type=int, nargs="*", default=[24, 32, 40, 48])
    parser.add_argument("--workers", type=int, default=14)
    given = parser.parse_args()
    images = sorted(map(str, given.images.iterdir())) if given.images else []
    for batch in given.batches:
        try:
            print(json.dumps(measure(given.model, images, batch, given.workers)), flush=True)
        except torch.cuda.OutOfMemoryError:
            print(json.dumps({"peer": "Unsloth", "batch": batch, "failed": "out of memory"}), flush=True)
            gc.collect()
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
