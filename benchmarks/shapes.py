"""Models of the true shapes with random weights: speed and memory depend on shapes, not on values."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil, Gemma3Processor

from workflow_scripts.models.record import write_record
from workflow_scripts.synthetic.pretraining import TURN, build_processor

VOCABULARY = 262_208
SIDE = 1024
"""Pixels of a side of the images."""


def medgemma_config(processor: Gemma3Processor) -> Gemma3Config:
    """MedGemma 1.5 4B's architecture (Gemma 3 4B with SigLIP-So400m at 896 px), token ids of `processor`."""
    tokenizer = processor.tokenizer
    return Gemma3Config(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": 2560,
            "intermediate_size": 10240,
            "num_hidden_layers": 34,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "sliding_window": 1024,
            "query_pre_attn_scalar": 256,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 896,
            "patch_size": 14,
            "vision_use_head": False,
        },
        mm_tokens_per_image=256,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )


def write_medgemma(folder: Path) -> Path:
    """Write a random 4B model and its processor below `folder`; return its record."""
    small = build_processor(vocabulary=1024, seed=0)
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 896, "width": 896}, do_pan_and_scan=False),
        small.tokenizer,
        chat_template=small.chat_template,
        image_seq_length=256,
    )
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Gemma3ForConditionalGeneration(medgemma_config(processor))
    torch.set_default_dtype(torch.float32)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=1152**-0.5)
    stop = processor.tokenizer.convert_tokens_to_ids(TURN[1])
    model.generation_config.eos_token_id = [processor.tokenizer.eos_token_id, stop]
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id
    model.save_pretrained(folder / "medgemma")
    processor.save_pretrained(folder / "medgemma")
    del model
    torch.cuda.empty_cache()
    record = folder / "medgemma.json"
    write_record(record, "medgemma", "gemma3", folder / "medgemma", "0" * 40)
    return record


def write_images(folder: Path, count: int, side: int = SIDE) -> list[str]:
    """`count` PNG files that compress like radiographs; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(count):
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((side, side), Image.BICUBIC)
        pixels = np.asarray(image).astype(np.int16) + rng.integers(-4, 5, (side, side, 1))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png", compress_level=1)
        names.append(f"{number}.png")
    return names
