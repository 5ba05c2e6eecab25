"""A byte-level BPE with a family's special tokens: any text goes to ids and back."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The shape of the ChatML templates; IMAGE stands for what a family writes where an image stands."""


def byte_level(words: Sequence[str], size: int) -> Tokenizer:
    """A byte-level BPE of `size` tokens, the first of them whole words."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=size,
        special_tokens=list(words),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["What is the number of cells in this image?\nHow many?"] * 5, trainer)
    return tokenizer


def build_tokenizer(special: list[str], **named: str) -> PreTrainedTokenizerFast:
    """A tokenizer of some 300 tokens.

    Args:
        special: further special tokens.
        named: pad_token, eos_token, bos_token, unk_token.
    """
    words = list(dict.fromkeys([*named.values(), *special]))
    tokenizer = byte_level(words, 290 + len(words))
    rest = [word for word in words if word not in named.values()]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, padding_side="left", additional_special_tokens=rest, **named
    )
