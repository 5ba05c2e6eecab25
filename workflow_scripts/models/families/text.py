"""Language models that read no image: what a question alone gives away, and tasks of text.

Any causal model that transformers knows (Llama, Qwen3, Gemma 3's text models, SmolLM2). Images of a row are left out
of its prompt, and the tables say so of the system.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from workflow_scripts.models.families.family import ATTENTION, PROJECTIONS, Chat, Family, Size, language_targets
from workflow_scripts.models.markup import chat_ids

_MARK = "\ue000"


class TextProcessor:
    """A tokenizer where others have a tokenizer and an image processor."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer

    def save_pretrained(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)


class Text(Family):
    """The question is the prompt; a checkpoint without a chat template gets it and a line feed."""

    keep_unquantised = ("lm_head",)
    lora_targets = language_targets("layers", ATTENTION, f"{PROJECTIONS}|dense|fc1|fc2")
    reads_images = False

    def load_processor(self, folder: Path) -> TextProcessor:
        return TextProcessor(AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False))

    def load_model(self, folder: Path, **options: Any) -> PreTrainedModel:
        return AutoModelForCausalLM.from_pretrained(
            folder, use_safetensors=True, local_files_only=True, trust_remote_code=False, **options
        )

    def image_token_id(self, processor: TextProcessor) -> None:
        return None

    def image_tokens(self, processor: TextProcessor, size: Size) -> int:
        return 0

    def bos_place(self, processor: TextProcessor, sizes: Sequence[Size]) -> None:
        """Not checked: some families' BOS opens every turn, others have none."""
        return None

    def end_of_answer(self, processor: TextProcessor) -> str:
        """The special token that the chat template writes after an answer, or the tokenizer's end of text."""
        tokenizer = processor.tokenizer
        if tokenizer.chat_template is None:
            return str(tokenizer.eos_token)
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        after = str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(_MARK)[2].lstrip()
        marks = sorted(
            {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}, key=len, reverse=True
        )
        return next((mark for mark in marks if after.startswith(mark)), str(tokenizer.eos_token))

    def prompt_ids(self, processor: TextProcessor, chat: Chat, sizes: Sequence[Size]) -> list[int]:
        tokenizer = processor.tokenizer
        turns = [turn | {"content": "\n".join(_texts(turn))} for turn in chat]

        def write(chat: Chat) -> str:
            if tokenizer.chat_template is None:
                return (tokenizer.bos_token or "") + "".join(f"{turn['content']}\n" for turn in chat)
            return str(
                tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False, enable_thinking=False)
            )

        return chat_ids(tokenizer, turns, write)

    def pixels(self, processor: TextProcessor, image: Image.Image) -> torch.Tensor:
        raise TypeError("a language model has no pixels")

    def vision_tower(self, model: PreTrainedModel) -> None:
        return None

    def feature_width(self, config: Any) -> int:
        return 0

    def features(self, model, processor, pixels, sizes) -> torch.Tensor:
        raise TypeError("a language model has no features of images")

    def encoder_outputs(self, model, processor, features, sizes) -> dict[str, Any]:
        return {}


def _texts(turn: dict[str, Any]) -> list[str]:
    """The texts of a turn, without those that say what an image is: there is none to see."""
    texts = [part["text"] for part in turn["content"] if part["type"] == "text"]
    return texts if len(texts) == 1 else [texts[-1].removeprefix("\n\n")]


FAMILY = Text()
