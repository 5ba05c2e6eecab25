"""A random Idefics3 of two layers: tiles of 32 pixels, 4 tokens each, at most 3 × 3 of them beside the whole image."""

from pathlib import Path

import torch
from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3ImageProcessorPil, Idefics3Processor

from tests.models.tiny.tokenizer import build_tokenizer

LONGEST, TILE, PATCH, TOKENS, WIDTH = 96, 32, 8, 4, 64
MARKS = ["<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"] + [
    f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)
]
"""Special tokens of SmolVLM's tokenizer."""
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'image' %}:{% else %}: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""The shape of SmolVLM's chat template."""


def build_processor() -> Idefics3Processor:
    tokenizer = build_tokenizer(
        MARKS, pad_token="<|endoftext|>", eos_token="<|im_end|>", bos_token="<|im_start|>", unk_token="<|unk|>"
    )
    images = Idefics3ImageProcessorPil(size={"longest_edge": LONGEST}, max_image_size={"longest_edge": TILE})
    return Idefics3Processor(images, tokenizer, TOKENS, chat_template=TEMPLATE)


def settings(processor: Idefics3Processor, **text: object) -> Idefics3Config:
    """The shape of the network; `text` replaces values of the language model's."""
    tokenizer = processor.tokenizer
    shape = {"hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.convert_tokens_to_ids("<end_of_utterance>"),
        "pad_token_id": tokenizer.pad_token_id,
    }
    return Idefics3Config(
        text_config={
            **shape,
            **special,
            "model_type": "llama",
            "num_key_value_heads": 2,
            "vocab_size": len(tokenizer),
            "initializer_range": 0.1,
        }
        | text,
        vision_config={**shape, "hidden_size": 32, "image_size": TILE, "patch_size": PATCH, "initializer_range": 0.1},
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=tokenizer.pad_token_id,
    )


def build(folder: Path) -> None:
    """Write the checkpoint with its processor."""
    processor = build_processor()
    torch.manual_seed(0)
    model = Idefics3ForConditionalGeneration(settings(processor))
    # Images must weigh enough to be seen in the logits.
    torch.nn.init.normal_(model.model.connector.modality_projection.proj.weight, std=0.1)
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
