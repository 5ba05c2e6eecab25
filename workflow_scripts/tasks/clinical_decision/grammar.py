"""What a decision may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import tokens_of_answer

HEADING, TREATMENT = "Final Diagnosis: ", "\\nTreatment: "
WORD, LONGEST = 16, 400
"""Most bytes of a word of the diagnosis, and of the treatment."""


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """One diagnosis in words of four letters or more, and a line with the treatment where the limit allows one.

    An answer has no more bytes than the limit has tokens; where that is under 24, which the heading takes, up to 24.
    Short words are left out, since the reader takes `and`, `or` and `vs` for several diagnoses, and so are those which
    it takes for the beginning of something else.
    """
    left = max(24, tokens_of_answer(max_new_tokens)) - len(HEADING)
    first = min(WORD, left)
    further = max(0, min(4, (left - first) // (WORD + 1)))
    left -= first + further * (WORD + 1) + len(TREATMENT)
    treatment = f' ("{TREATMENT}" TREATMENT)?' if left >= 4 else ""
    lines = [
        f'start: "{HEADING}" FIRST{f" (SPACED){{0,{further}}}" if further else ""}{treatment}',
        f"FIRST: {_word(first)}",
    ]
    lines += [f'SPACED: " " NEXT\nNEXT: {_word(WORD)}'] if further else []
    lines += [f"TREATMENT: /[A-Za-z][ -9;-~]{{0,{min(LONGEST, left) - 1}}}/"] if treatment else []
    return "\n".join(lines) + "\n"


def _word(longest: int) -> str:
    return f"/[A-Za-z][a-z]{{3,{longest - 1}}}/ & ~/[Tt]reatment[a-z]*/ & ~/[Pp]atient[a-z]*/"
