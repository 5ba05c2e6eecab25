"""What a decision may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import tokens_of_answer

_DIAGNOSIS = r"Final Diagnosis: [A-Za-z][A-Za-z -]{0,60}"
_TREATMENT = r"(\nTreatment: [A-Za-z][ -9;-~]*)?"
_SEVERAL = r"[^\n]*[ -](and|or|vs)([ -][^\n]*)?(\n[^\n]*)?"
_MISLEADING = r"[^\n]*: [^\n]*([Tt][Rr][Ee][Aa][Tt][Mm][Ee][Nn][Tt]|patient has)[^\n]*(\n[^\n]*)?"
"""Words with which the reader would take the diagnosis for another: see `diagnosis`."""


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """One diagnosis in words, and a line with the treatment where the limit allows one.

    An answer has fewer bytes than the limit has tokens; where that is under 24, which the heading takes, up to 24.
    """
    size = max(24, tokens_of_answer(max_new_tokens))
    allowed = f"/[ -~\\n]{{0,{size}}}/ & /{_DIAGNOSIS}{_TREATMENT}/"
    return f"start: ANSWER\nANSWER: {allowed} & ~/{_SEVERAL}/ & ~/{_MISLEADING}/\n"
