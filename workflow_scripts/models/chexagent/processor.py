"""CheXagent-2's processor: its tokenizer from the published vocabulary, and images of one size; no code of its own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import AutoProcessor, PreTrainedTokenizerFast, ProcessorMixin, SiglipImageProcessorPil

from workflow_scripts.core.files import BadFile, read_json
from workflow_scripts.models.chexagent.configuration import CheXagentConfig

PROMPT: dict[str, str] = yaml.safe_load((Path(__file__).parent / "prompt.yaml").read_text(encoding="utf-8"))

MARKS = (
    *("<|img|>", "<|/img|>", "<|imgpad|>", "<|ref|>", "<|/ref|>", "<|box|>", "<|/box|>", "<|quad|>", "<|/quad|>"),
    *(f"<|coord_{digit}|>" for digit in range(10)),
)
"""Tokens that the published tokenizer adds, in this order, where its files do not name them."""

END = PROMPT["end_of_answer"]


class CheXagentProcessor(ProcessorMixin):
    """Tokenizer and image preparation.

    Args:
        image_tokens: tokens of an image.
        most_images: images that the context holds.
    """

    def __init__(
        self,
        image_processor: SiglipImageProcessorPil | None = None,
        tokenizer: PreTrainedTokenizerFast | None = None,
        image_tokens: int = 0,
        most_images: int = 0,
    ) -> None:
        self.image_tokens, self.most_images = image_tokens, most_images
        super().__init__(image_processor, tokenizer)

    @property
    def image_token_id(self) -> int:
        """The token that an image's patches take the places of."""
        return self.tokenizer.convert_tokens_to_ids(PROMPT["image_token"])

    def prompt(self, chat: list[dict[str, Any]]) -> str:
        """The text of a chat up to where the answer begins; a chat without a system turn gets the usual one."""
        if chat[0]["role"] != "system":
            chat = [{"role": "system", "content": PROMPT["system"]}, *chat]
        tokens = PROMPT["image_token"] * self.image_tokens
        number, turns = 0, []
        for turn in chat:
            text = ""
            for part in parts_of(turn["content"]):
                if part["type"] == "image":
                    number += 1
                    text += PROMPT["image"].format(number=number, tokens=tokens)
                else:
                    text += part["text"]
            turns.append(PROMPT["turn"].format(role=turn["role"], text=text))
        return "".join(turns) + PROMPT["answer"]


def parts_of(content: str | list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The parts of a turn, whether it is a text or a list of them."""
    yield from [{"type": "text", "text": content}] if isinstance(content, str) else content


def read_processor(folder: Path) -> CheXagentProcessor:
    """The processor of a checkpoint, published or saved by this module.

    Raises:
        BadFile: the tokenizer's files are missing or not those of CheXagent-2.
    """
    config = CheXagentConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    side = config.vision_config.image_size
    images = SiglipImageProcessorPil(
        size={"height": side, "width": side},
        resample=Image.Resampling.BICUBIC,
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return CheXagentProcessor(images, read_tokenizer(folder), config.image_tokens, config.most_images)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a checkpoint: byte-level BPE, no BOS; padding is masked, and so needs no token of its own.

    Raises:
        BadFile: files are missing, or a token would get another id than they say.
    """
    whole = folder / "tokenizer.json"
    backend = Tokenizer.from_file(str(whole)) if whole.is_file() else _from_vocabulary(folder)
    for mark in (END, *MARKS):
        if backend.token_to_id(mark) is None:
            backend.add_special_tokens([AddedToken(mark, special=True, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=END, unk_token=END, pad_token=END)
    tokenizer.padding_side = "left"
    return tokenizer


def _from_vocabulary(folder: Path) -> Tokenizer:
    """A byte-level BPE of `vocab.json` and `merges.txt`, with the tokens that `tokenizer_config.json` adds."""
    if not all((folder / name).is_file() for name in ("vocab.json", "merges.txt")):
        raise BadFile(
            f"{folder} has neither tokenizer.json nor vocab.json with merges.txt; download the checkpoint whole"
        )
    try:
        bpe = BPE.from_file(str(folder / "vocab.json"), str(folder / "merges.txt"))
    except Exception as error:  # noqa: BLE001 - the library raises nothing narrower
        raise BadFile(f"{folder}: vocab.json and merges.txt are no BPE ({error}); download them again") from None
    tokenizer = Tokenizer(bpe)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    settings = folder / "tokenizer_config.json"
    stated = read_json(settings) if settings.is_file() else {}
    added = stated.get("added_tokens_decoder", {}) if isinstance(stated, dict) else {}
    for number, token in sorted(added.items(), key=lambda item: int(item[0])):
        flags = {name: bool(token.get(name)) for name in ("lstrip", "rstrip", "single_word", "normalized", "special")}
        add = tokenizer.add_special_tokens if flags["special"] else tokenizer.add_tokens
        add([AddedToken(token["content"], **flags)])
        if (place := tokenizer.token_to_id(token["content"])) != int(number):
            raise BadFile(
                f"{settings}: {json.dumps(token['content'])} has the id {number}, but {place} in the vocabulary: "
                "download the checkpoint's files again, all of one commit"
            )
    return tokenizer


AutoProcessor.register(CheXagentConfig, CheXagentProcessor)
