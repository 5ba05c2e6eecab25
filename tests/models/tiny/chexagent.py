"""A random CheXagent-2 of two layers, as this workflow saves one."""

from pathlib import Path

import torch

from tests.models.tiny.tokenizer import byte_level
from workflow_scripts.models.chexagent.configuration import CheXagentConfig
from workflow_scripts.models.chexagent.network import CheXagentForConditionalGeneration
from workflow_scripts.models.chexagent.processor import END, MARKS, read_processor, read_tokenizer

SIDE, PATCH, WIDTH = 64, 16, 64
TOKENS = (SIDE // PATCH) ** 2


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE whose only word besides its pieces ends a text; the marks are added when it is read."""
    byte_level([END], 320).save(str(folder / "tokenizer.json"))


def config(vocabulary: int, **text: object) -> CheXagentConfig:
    """A context of 40 positions: two images of 16 tokens, and not three."""
    shape = {"hidden_size": WIDTH, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return CheXagentConfig(
        vision_config={**shape, "image_size": SIDE, "patch_size": PATCH},
        text_config={**shape, "vocab_size": vocabulary, "max_position_embeddings": 40, **text},
    )


def enliven(model: CheXagentForConditionalGeneration) -> CheXagentForConditionalGeneration:
    """Weights large enough that images, attention and biases are seen in the logits."""
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
        elif name == "lm_head.weight" or ("language_model.layers" in name and weight.ndim == 2):
            torch.nn.init.normal_(weight, std=WIDTH**-0.5)
        elif "multi_modal_projector.linear" in name:
            torch.nn.init.normal_(weight, std=weight.shape[1] ** -0.5)
    return model


def build(folder: Path) -> None:
    """Write the checkpoint with its processor."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder)
    tokenizer = read_tokenizer(folder)
    torch.manual_seed(0)
    settings = config(
        len(tokenizer), **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.eos_token_id)
    )
    settings.image_token_id = tokenizer.convert_tokens_to_ids("<|imgpad|>")
    enliven(CheXagentForConditionalGeneration(settings)).save_pretrained(folder)
    assert len(MARKS) == 19
    read_processor(folder).save_pretrained(folder)
