"""The conversation that a row becomes: the one place where a prompt is worded, for training and for inference.

Images come first, in the row's order, and the question last. Where a row says what an image is, the chat says it too:

- a slice has its name after it, `SLICE 12`, and the question follows all slices after two line feeds: the content of
  MedGemma 1.5's notebook on CT (Google-Health/medgemma d89262c, `notebooks/high_dimensional_ct_hugging_face.ipynb`).
  Without a question after the slices that model is reported to write of a chest X-ray instead (medgemma#76). What the
  notebook says before the slices is a system's prompt here.
- any other role stands before its image, `PRIOR IMAGE`, `CURRENT IMAGE`. These are words of this project: MedGemma's
  notebook on pairs of chest X-rays shows both images without a word on which is which, and names them in the question.

Answered rows that are shown before the question (few-shot prompts) are turns of their own: what the user would ask, and
what the assistant should answer. The system turn stands before them, once.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile

from workflow_scripts.core.rows import Row, is_slice


def chat(question: str, image_count: int, system: str | None = None, roles: Sequence[str] = ()) -> list[dict]:
    """The turns before the answer: an optional system turn, then the user's images followed by the question.

    Args:
        question: the row's question, unchanged.
        image_count: images of the row, in their order.
        system: text of the system turn; None leaves it out.
        roles: of each image, where the row has any; empty for an image that has none.
    """
    turns = [] if system is None else [{"role": "system", "content": [text_part(system)]}]
    parts = [part for role in (roles or [""] * image_count) for part in _image_parts(role)]
    closing = "\n\n" if parts and parts[-1]["type"] == "text" else ""
    return [*turns, {"role": "user", "content": [*parts, text_part(closing + question)]}]


def chat_of(row: Row, system: str | None, question: str | None = None, shots: Iterable[Row] = ()) -> list[dict]:
    """`chat` of a row, with the roles of its images, behind the turns of answered rows.

    Args:
        question: in place of the row's own, where the model is asked in another form.
        shots: answered rows to show before it.
    """
    roles = [image.role for image in row.images]
    *before, last = chat(
        row.question if question is None else question, len(roles), system, roles if any(roles) else ()
    )
    shown = [turn for shot in shots for turn in (*chat_of(shot, None), answer_turn(shot.answer))]
    return [*before, *shown, last]


def answer_turn(answer: str) -> dict:
    """The assistant's turn."""
    return {"role": "assistant", "content": [text_part(answer)]}


def text_part(text: str) -> dict:
    """A text as a part of a turn."""
    return {"type": "text", "text": text}


def _image_parts(role: str) -> Iterator[dict]:
    """An image with what is said of it."""
    after = is_slice(role)
    if role and not after:
        yield text_part(f"{role.upper()} IMAGE")
    yield {"type": "image"}
    if after:
        yield text_part(role.upper())


def closing_fault(
    write: Callable[[list[dict]], Sequence[int]], chat: list[dict], image_token: int | None
) -> str | None:
    """Why a prompt does not close with its question, as the end of a sentence; None where it does.

    Args:
        write: the tokens of a chat's prompt.
        image_token: what stands for an image, or for a part of one; None of a model that reads none.
    """
    *parts, closing = chat[-1]["content"]
    if closing["type"] != "text" or not closing["text"].strip():
        return "it ends with an image: a question must follow the images"
    if image_token is None:
        return None
    other = [*chat[:-1], chat[-1] | {"content": [*parts, text_part(f"{closing['text']} Why?")]}]
    if _after_images(write(chat), image_token) == _after_images(write(other), image_token):
        return (
            "its question does not follow its images: the checkpoint's chat template puts texts first; repair "
            "chat_template.jinja in its folder"
        )
    return None


def _after_images(ids: Sequence[int], image_token: int) -> list[int]:
    """What follows the last image."""
    return list(takewhile(lambda token: token != image_token, reversed(ids)))


def length_fault(tokens: int, image_tokens: Sequence[int], context: int | None, shots: int = 0) -> str | None:
    """Why a row is longer than the model can read, as the end of a sentence; None where it fits.

    Args:
        tokens: of the prompt and the answer, or of the answer's limit.
        image_tokens: how many of them each image takes.
        context: positions of the model; None where it does not say.
        shots: answered rows that stand before the question.
    """
    if context is None or tokens <= context:
        return None
    images = f"{len(image_tokens)} images ({sum(image_tokens):,} tokens)" if image_tokens else "its text"
    remedy = "show fewer slices (`slices` of the dataset)" if len(image_tokens) > 1 else "leave it out"
    if shots:
        images, remedy = f"{shots} shots and {images}", "show fewer shots (`shots.count` of the system)"
    return f"it takes {tokens:,} tokens with {images}, and the model reads {context:,} at most: {remedy}"
