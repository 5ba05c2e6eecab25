"""The protocols of MedEvalKit (alibaba-damo-academy/MedEvalKit 9b12e3b) without a judge.

`utils/VQA_RAD/VQA_RAD.py` and `utils/PATH_VQA/PATH_VQA.py` judge an answer by yes or no where the reference is one of
these words, in whatever letters, and else as an open one; `utils/SLAKE/SLAKE.py` goes by the dataset's answer type.

Faults of upstream, which the published columns keep: `utils/utils.py` returns (F1, precision, recall) and unpacks it as
precision, recall, F1, so that the column `f1` holds the recall, `precision` the F1 and `recall` the precision; an empty
open answer raises and ends the evaluation; "no" is found in "normal"; SLAKE's "Yes" and "No" are not taken for yes and
no, and equal no answer that says more. ROUGE and BLEU-2 to BLEU-4, which it prints too, are no columns here.
"""

from collections.abc import Container
from typing import NamedTuple

from workflow_scripts.tasks.vqa.bleu import bleu_1

_BOX = "\\boxed{"
_LEADS = (
    "**answer**:",
    "**answer**",
    "*answer*:",
    "**answer:**",
    "answer is",
    "answer:",
    "答案:",
    "final answer",
    "final answer is",
)
"""What an answer follows, in upstream's order."""
YES_NO = ("yes", "no")


def final_answer_of(text: str) -> str:
    """The answer that upstream takes out of a response, in lower case."""
    return _led(_taken_out(text).lower())


def vqa_rad_answer(text: str) -> str:
    """The same as `VQA_RAD.py` and `PATH_VQA.py` do it: stripped in between."""
    return _led(_taken_out(text).lower().strip())


def _taken_out(text: str) -> str:
    boxed = _boxed(text)
    return boxed if boxed != "None" else _tagged(text)


def _led(response: str) -> str:
    """A second time in lower case, and what follows the last lead."""
    response = _boxed(response) if "boxed" in response else _tagged(response)
    for lead in _LEADS:
        response = response.rpartition(lead)[2]
    return response


def _boxed(text: str) -> str:
    """What the last LaTeX box holds; "None" where there is none that is closed."""
    start = text.rfind(_BOX)
    if start < 0:
        return "None"
    depth = 0
    inside = text[start + len(_BOX) :]
    for place, letter in enumerate(inside):
        depth += (letter == "{") - (letter == "}")
        if depth < 0:
            return inside[:place].strip()
    return "None"


def _tagged(text: str) -> str:
    """What stands between `<answer>` and `</answer>`, joined; the text itself where that is nothing."""
    parts = []
    rest = text
    while True:
        _, opened, rest = rest.partition("<answer>")
        part, closed, rest = rest.partition("</answer>")
        if not opened or not closed:
            break
        parts.append(part)
    return " ".join(parts).strip() or text


class OpenScores(NamedTuple):
    """Scores of an open answer, by their right names."""

    exact_match: float
    bleu_1: float
    f1: float
    precision: float
    recall: float
    stops: bool  # upstream raises


def open_scores(reference: str, answer: str) -> OpenScores:
    """Scores of an open answer as VQA-RAD's and PathVQA's modules compute them: F1 over the different words.

    Without words on one side all are 0.
    """
    expected, given = reference.lower().strip(), vqa_rad_answer(answer)
    words, of_answer = set(expected.split()), set(given.split())
    stops = not words or not of_answer or not expected.strip(".") or not given.strip(".")
    shared = len(words & of_answer)
    precision, recall = (shared / len(of_answer), shared / len(words)) if shared else (0.0, 0.0)
    return OpenScores(
        float(given == expected),
        bleu_1(_tokens(expected), _tokens(given)),
        2 * precision * recall / (precision + recall) if shared else 0.0,
        precision,
        recall,
        stops,
    )


def _tokens(text: str) -> list[str]:
    return text.lower().replace(".", " .").split(" ")


def is_yes_no(reference: str) -> bool:
    """Whether VQA-RAD's and PathVQA's modules take a row for a closed one."""
    return reference.lower().strip() in YES_NO


def _bare(response: str) -> str:
    return response.replace("\n", "").replace(".", "")


def _one_of(response: Container[str]) -> str | None:
    """The one of yes and no that a response holds, a text their letters; None where it holds none or both."""
    said = [word for word in YES_NO if word in response]
    return said[0] if len(said) == 1 else None


def yes_no_as_published(reference: str, answer: str) -> float:
    """1 where the response holds the letters of one of yes and no alone, and those of the reference."""
    response = _bare(vqa_rad_answer(answer))
    return float(_one_of(response) is not None and reference.lower().strip() in response)


def yes_no(reference: str, answer: str) -> float:
    """1 where the response says one of the words yes and no alone, and it is the reference."""
    words = {word.strip(".,;:!?\"'()*") for word in vqa_rad_answer(answer).split()}
    return float(_one_of(words) == reference.lower().strip())


def slake_closed_as_published(reference: str, answer: str) -> float:
    """SLAKE's closed accuracy: by yes and no where the reference is one of these in lower case, else equality."""
    response = _bare(final_answer_of(answer))
    if reference in YES_NO:
        return float(_one_of(response) is not None and reference in response)
    return float(response == reference.lower())


def slake_closed(reference: str, answer: str) -> float:
    """The same in any letters, over whole words, without white space at the ends."""
    if is_yes_no(reference):
        return yes_no(reference, answer)
    return float(_bare(final_answer_of(answer)).strip() == reference.lower().strip().replace(".", ""))
