"""The conversation that a row becomes: the one place where a prompt is worded, for training and for inference."""


def chat(question: str, image_count: int, system: str | None = None) -> list[dict]:
    """The turns before the answer: an optional system turn, then the user's images followed by the question.

    Args:
        question: the row's question, unchanged.
        image_count: images of the row, in their order.
        system: text of the system turn; None leaves it out.
    """
    turns = [] if system is None else [{"role": "system", "content": [{"type": "text", "text": system}]}]
    images = [{"type": "image"} for _ in range(image_count)]
    return [*turns, {"role": "user", "content": [*images, {"type": "text", "text": question}]}]


def answered(question: str, image_count: int, system: str | None, answer: str) -> list[dict]:
    """`chat` with the answer as the assistant's turn."""
    return [*chat(question, image_count, system), answer_turn(answer)]


def answer_turn(answer: str) -> dict:
    """The assistant's turn."""
    return {"role": "assistant", "content": [{"type": "text", "text": answer}]}
