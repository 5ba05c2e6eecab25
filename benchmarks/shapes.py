"""Models of the true shapes with random weights: speed and memory depend on shapes, not on values."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    LlamaConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from workflow_scripts.models.record import write_record
from workflow_scripts.synthetic.lessons import lesson
from workflow_scripts.synthetic.pretraining import TURN, build_processor, build_tokenizer

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


def qwen3_vl_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    """Qwen3-VL 4B's architecture with the token ids of `tokenizer`."""
    id_of = tokenizer.convert_tokens_to_ids
    return Qwen3VLConfig(
        text_config={
            "vocab_size": 151_936,
            "hidden_size": 2560,
            "intermediate_size": 9728,
            "num_hidden_layers": 36,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "rope_parameters": {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20]},
            "tie_word_embeddings": True,
            "pad_token_id": tokenizer.pad_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "depth": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_heads": 16,
            "out_hidden_size": 2560,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [5, 11, 17],
        },
        tie_word_embeddings=True,
        image_token_id=id_of("<|image_pad|>"),
        video_token_id=id_of("<|video_pad|>"),
        vision_start_token_id=id_of("<|vision_start|>"),
        vision_end_token_id=id_of("<|vision_end|>"),
    )


def llama_config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Llama 7B's architecture, as of GREEN's judge, with the token ids of `tokenizer`."""
    return LlamaConfig(
        vocab_size=32_000,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=4096,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )


def medgemma_processor(tokenizer: PreTrainedTokenizerFast, chat_template: str) -> Gemma3Processor:
    """MedGemma's processor: 896 × 896 pixels, 256 image tokens."""
    return Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 896, "width": 896}, do_pan_and_scan=False),
        tokenizer,
        chat_template=chat_template,
        image_seq_length=256,
    )


def tokenizer_of(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of `vocabulary` tokens that was trained on `texts` and on the toy dataset's questions."""
    rng = np.random.default_rng(0)
    corpus = [
        f"{question}\n{answer}" for item in (lesson(rng, 5) for _ in range(600)) for question, answer in item.turns
    ]
    return build_tokenizer(corpus + texts * 5 + ["user\n", "model\n"] * 50, vocabulary)


def random_model(build: Callable[[], PreTrainedModel], device: str, tokens: int) -> PreTrainedModel:
    """A model with random weights in bfloat16 on `device`, whose greedy answers consist of the first `tokens` ids.

    The rows of the head beyond them are zero, and the largest of thousands of random logits is not.
    """
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = build()
    finally:
        torch.set_default_dtype(torch.float32)
    with torch.no_grad():
        model.get_output_embeddings().weight[tokens:] = 0
        for name, parameter in model.named_parameters():
            if name.endswith("mm_input_projection_weight"):
                torch.nn.init.normal_(parameter, std=parameter.shape[0] ** -0.5)
    return model.to(torch.bfloat16)


def write_medgemma(folder: Path) -> Path:
    """Write a random 4B model and its processor below `folder`; return its record."""
    small = build_processor(vocabulary=1024, seed=0)
    processor = medgemma_processor(small.tokenizer, small.chat_template)
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


def write_qwen3_vl(folder: Path) -> Path:
    """Write a random Qwen3-VL of 4B and its processor below `folder`, 256 tokens an image; return its record."""
    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = tokenizer_of([], 1024)
    tokenizer.add_special_tokens({"additional_special_tokens": marks, "eos_token": "<|im_end|>"})
    tokenizer.bos_token = None
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Qwen3VLForConditionalGeneration(qwen3_vl_config(tokenizer))
    torch.set_default_dtype(torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder / "qwen3_vl")
    tokenizer.save_pretrained(folder / "qwen3_vl")
    pixels = 512 * 512
    Qwen2VLImageProcessorPil(patch_size=16, size={"shortest_edge": pixels, "longest_edge": pixels}).save_pretrained(
        folder / "qwen3_vl"
    )
    del model
    torch.cuda.empty_cache()
    record = folder / "qwen3_vl.json"
    write_record(record, "qwen3_vl", "qwen3_vl", folder / "qwen3_vl", "0" * 40)
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
