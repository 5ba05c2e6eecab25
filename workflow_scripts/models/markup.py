"""Texts of data stay text: what a tokenizer would take for its own markup is broken up before it is encoded.

A question may hold `<start_of_image>`, an answer `<end_of_turn>`, a report `</s>`. Such a word is encoded in two
pieces, so that its tokens are those of letters and signs; all else has the ids that it has in the whole text.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Chat = list[dict[str, Any]]
"""Messages whose content is a text or a list of parts."""

_CHATML = r"<\|[A-Za-z0-9_]+\|>"
_SENTENCEPIECE = r"</?s>|<(?:pad|unk)>"

OF_FAMILY = {
    "gemma3": re.compile(
        r"<(?:bos|eos|pad|unk|start_of_turn|end_of_turn|start_of_image|end_of_image|image_soft_token|unused\d+)>"
    ),
    "paligemma2": re.compile(r"<(?:bos|eos|pad|unk|image|unused\d+)>"),
    "llava": re.compile(rf"{_SENTENCEPIECE}|<image>|\[/?INST\]"),
    "idefics3": re.compile(
        rf"{_CHATML}|<(?:image|fake_token_around_image|global-img|row_\d+_col_\d+|end_of_utterance)>"
    ),
    "internvl": re.compile(rf"{_CHATML}|</?(?:img|IMG_CONTEXT|video|quad|ref|box)>"),
    "qwen2_5_vl": re.compile(_CHATML),
    "qwen3_vl": re.compile(rf"{_CHATML}|</?think>"),
    "qwen3_5": re.compile(rf"{_CHATML}|</?think>"),
    "chexagent": re.compile(r"<\|/?[A-Za-z0-9_]+\|>"),
    "text": re.compile(rf"{_CHATML}|{_SENTENCEPIECE}|<(?:bos|eos|start_of_turn|end_of_turn)>|\[/?INST\]"),
}
"""Markup of a family's tokenizers, for where none of them is at hand: a server applies its own."""

_UNUSED = re.compile(r"<unused\d+>")
"""Tokens that a vocabulary sets aside, and models of a family use as marks: MedGemma 1.5 opens a thought with one."""

_BRACKETED = re.compile(r"<.+>|\[.+\]")


@lru_cache(maxsize=8)
def markup_of(tokenizer: "PreTrainedTokenizerBase") -> re.Pattern[str]:
    """Words that `tokenizer` takes for markup: its special tokens, marks of its chat template, and unused ones."""
    template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else ""
    added = list(tokenizer.added_tokens_decoder.values())
    words = {str(word) for word in tokenizer.all_special_tokens}
    words |= {token.content for token in added if token.special}
    words |= {token.content for token in added if _BRACKETED.fullmatch(token.content) and token.content in template}
    patterns = [re.escape(word) for word in sorted(words, key=len, reverse=True) if len(word) > 1]
    if any(_UNUSED.fullmatch(token.content) for token in added):
        patterns.append(_UNUSED.pattern)
    return re.compile("|".join(patterns) or r"(?!)")


def chat_ids(
    tokenizer: "PreTrainedTokenizerBase", chat: Chat, write: Callable[[Chat], str], *, opened: bool = True
) -> list[int]:
    """Token ids of a chat, the texts of its messages as text.

    Args:
        write: the prompt's text of a chat.
        opened: whether the written text begins with the token that begins a text; else the tokenizer sets it.
    """
    texts = [text for message in chat for text in _texts_of(message["content"])]
    markup = markup_of(tokenizer)
    if not any(markup.search(text) for text in texts):
        ids: list[int] = tokenizer(write(chat), add_special_tokens=not opened)["input_ids"]
        return ids
    mark = _unused_character(texts)
    broken = write([message | {"content": _broken_content(message["content"], markup, mark)} for message in chat])
    first: list[int] = [] if opened else tokenizer("")["input_ids"]
    return first + _ids_of_pieces(tokenizer, broken.split(mark))


def text_ids(tokenizer: "PreTrainedTokenizerBase", text: str, ending: str) -> list[int]:
    """Token ids of a text, all of it text, and of the markup that ends it."""
    mark = _unused_character([text])
    return _ids_of_pieces(tokenizer, (_broken(text, markup_of(tokenizer), mark) + ending).split(mark))


def _texts_of(content: str | list[dict[str, Any]]) -> list[str]:
    return [content] if isinstance(content, str) else [part["text"] for part in content if part["type"] == "text"]


def _broken_content(content: str | list[dict[str, Any]], markup: re.Pattern[str], mark: str) -> Any:
    if isinstance(content, str):
        return _broken(content, markup, mark)
    return [
        part | {"text": _broken(part["text"], markup, mark)} if part["type"] == "text" else part for part in content
    ]


def _broken(text: str, markup: re.Pattern[str], mark: str) -> str:
    """`text` with `mark` behind the first character of each word of the markup; words may overlap."""
    while (broken := markup.sub(lambda word: word[0][0] + mark + word[0][1:], text)) != text:
        text = broken
    return text


def _unused_character(texts: Iterable[str]) -> str:
    """A character for private use that no text holds."""
    characters = set().union(*texts)
    return next(character for number in range(0xE000, 0x110000) if (character := chr(number)) not in characters)


def _ids_of_pieces(tokenizer: "PreTrainedTokenizerBase", pieces: Iterable[str]) -> list[int]:
    return [id_ for piece in pieces for id_ in tokenizer(piece, add_special_tokens=False)["input_ids"]]
