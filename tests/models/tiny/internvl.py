"""A random InternVL3 of two layers: tiles of 32 pixels, 4 tokens each, at most 4 of them beside the whole image."""

import json
from pathlib import Path

import torch
from transformers import GotOcr2ImageProcessorPil, InternVLConfig, InternVLForConditionalGeneration

from tests.models.tiny.tokenizer import CHATML, build_tokenizer
from workflow_scripts.models.families.internvl import ImageTextProcessor

TILE, PATCH, TOKENS, WIDTH = 32, 8, 4, 64
MOST_TILES = 4


def build_processor() -> ImageTextProcessor:
    tokenizer = build_tokenizer(
        ["<|im_start|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>", "<ref>", "</ref>", "<box>", "</box>"],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        start_image_token="<img>",
        end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>",
        video_token="<video>",
    )
    size = {"height": TILE, "width": TILE}
    images = GotOcr2ImageProcessorPil(size=size, min_patches=1, max_patches=MOST_TILES)
    template = CHATML.replace("IMAGE", "<IMG_CONTEXT>\n")
    return ImageTextProcessor(images, tokenizer, image_seq_length=TOKENS, chat_template=template)


def build(folder: Path) -> None:
    """Write the checkpoint with its processor."""
    processor = build_processor()
    tokenizer = processor.tokenizer
    torch.manual_seed(0)
    shape = {"hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = InternVLConfig(
        text_config={
            **shape,
            "model_type": "qwen2",
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "initializer_range": 0.1,
            "bos_token_id": None,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**shape, "image_size": TILE, "patch_size": PATCH, "initializer_range": 0.1},
        image_token_id=processor.image_token_id,
        image_seq_length=TOKENS,
        tie_word_embeddings=False,
    )
    model = InternVLForConditionalGeneration(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    # The layout of the published checkpoints.
    tokenizer.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    settings = {"image_seq_length": TOKENS, "processor_class": "InternVLProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(settings))
    (folder / "chat_template.jinja").write_text(processor.chat_template)
