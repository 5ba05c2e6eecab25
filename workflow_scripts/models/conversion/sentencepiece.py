"""The tokenizer of a `tokenizer.model`: SentencePiece's byte-pair encodings read without its library.

The file is one protocol-buffer message (`sentencepiece_model.proto`): pieces with scores and kinds, settings of the
training, settings of the normalisation. Tokenizers of Llama and Mistral use little of it, and anything else is refused.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE

from workflow_scripts.core.files import BadFile

SPACE = "▁"

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6
"""Kinds of pieces; 1 is a plain one."""

BYTE_PAIR = 2
"""`trainer_spec.model_type` of a byte-pair encoding."""


@dataclass(frozen=True)
class Piece:
    """An entry of the vocabulary: merges that lead to a higher score come first."""

    text: str
    score: float
    kind: int


def read_tokenizer(file: Path) -> Tokenizer:
    """The tokenizer of `file`, with the token that begins a text set before it.

    A space is set before each stretch of text that no special token interrupts, as SentencePiece does where such
    stretches are encoded one by one.

    Raises:
        BadFile: the file is damaged, or not a byte-pair encoding with bytes for unknown characters.
    """
    pieces = read_pieces(file)
    ids = {piece.text: number for number, piece in enumerate(pieces)}
    unknown = [piece.text for piece in pieces if piece.kind == UNKNOWN]
    if sum(piece.kind == BYTE for piece in pieces) != 256 or len(unknown) != 1:
        raise BadFile(f"{file} has no piece for every byte, or not one unknown piece; expected a tokenizer of Mistral")
    model = BPE(ids, merges_of(pieces, ids), unk_token=unknown[0], fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(
        [AddedToken(p.text, normalized=False, special=True) for p in pieces if p.kind in (UNKNOWN, CONTROL)]
    )
    tokenizer.add_tokens([AddedToken(p.text, normalized=False) for p in pieces if p.kind == USER_DEFINED])
    begin = next(piece.text for piece in pieces if piece.kind == CONTROL)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, ids[begin])]
    )
    return tokenizer


def merges_of(pieces: list[Piece], ids: dict[str, int]) -> list[tuple[str, str]]:
    """Pairs of pieces whose union is a piece, those of the highest score first."""
    pairs = []
    for piece in pieces:
        if piece.kind != 1:
            continue
        for cut in range(1, len(piece.text)):
            left, right = piece.text[:cut], piece.text[cut:]
            if left in ids and right in ids:
                pairs.append((-piece.score, ids[left], ids[right], left, right))
    return [(left, right) for *_, left, right in sorted(pairs)]


def read_pieces(file: Path) -> list[Piece]:
    """The vocabulary of a byte-pair encoding whose normalisation only marks spaces.

    Raises:
        BadFile: see `read_tokenizer`.
    """
    try:
        message = list(fields(file.read_bytes()))
        pieces = [_piece(bytes(value)) for number, value in message if number == 1]
        training = _settings(message, 2)
        normalisation = _settings(message, 3)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise BadFile(f"{file} is not a SentencePiece model ({error}); download it again") from None
    if training.get(3, 1) != BYTE_PAIR:
        raise BadFile(f"{file} is not a byte-pair encoding; expected a tokenizer of Llama or Mistral")
    if normalisation.get(2) or normalisation.get(4, 1) or not normalisation.get(3, 1):
        raise BadFile(
            f"{file} changes text before it splits it (maps characters, drops spaces, or sets none first), which is "
            "not read here: convert the tokenizer to tokenizer.json with the sentencepiece package, and put it beside"
        )
    if not any(piece.kind == CONTROL for piece in pieces):
        raise BadFile(f"{file} has no token that begins a text; expected a tokenizer of Llama or Mistral")
    return pieces


def _piece(data: bytes) -> Piece:
    values = dict(fields(data))
    text, score, kind = values[1], values.get(2, bytes(4)), values.get(3, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or not isinstance(kind, int):
        raise ValueError("a piece of another format")
    return Piece(text.decode("utf-8"), struct.unpack("<f", score)[0], kind)


def _settings(message: list[tuple[int, int | bytes]], number: int) -> dict[int, int | bytes]:
    """Fields of one of the message's settings."""
    values = [value for place, value in message if place == number and isinstance(value, bytes)]
    return dict(fields(values[0])) if values else {}


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a protocol-buffer message; fixed numbers and texts as bytes.

    Raises:
        ValueError: the message is cut short or of another format.
    """
    place = 0
    while place < len(data):
        tag, place = _number(data, place)
        kind = tag & 7
        value: int | bytes
        if kind == 0:
            value, place = _number(data, place)
        else:
            if kind == 2:
                size, place = _number(data, place)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise ValueError(f"a field of kind {kind}")
            value, place = data[place : place + size], place + size
            if place > len(data):
                raise ValueError("it is cut short")
        yield tag >> 3, value


def _number(data: bytes, place: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the place behind it."""
    value = shift = 0
    while True:
        if place >= len(data):
            raise ValueError("it is cut short")
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
