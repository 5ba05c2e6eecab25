"""A tiny Llama with a ChatML template."""

from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.models.tiny.tokenizer import CHATML, build_tokenizer


def build_text(folder: Path) -> None:
    """A causal language model of two layers."""
    tokenizer = build_tokenizer(["<|im_start|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
