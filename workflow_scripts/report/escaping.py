"""Text that stays text: what a dataset, a model or a configuration wrote, in LaTeX, Markdown and spreadsheets.

Text that is shown goes through `shown` first: one line, cut where it is long, and characters that change the direction
of what stands beside them, or that cannot be seen, are written as their code point.
"""

import unicodedata

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the start of a formula; some take the wide forms of East Asian text too."""

LONGEST = 400
"""Characters of a text in a table for readers."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_\allowbreak{}",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\ttfamily\char34}",
    "'": r"{\ttfamily\char39}",
    "`": r"{\ttfamily\char96}",
    "-": r"-{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "µ": r"$\mu$",
    "μ": r"$\mu$",
    "°": r"$^\circ$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "’": "'",
    "‘": "`{}",
}

_ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
"""Combining marks, and the command of TeX that sets each on a letter."""

_MARKDOWN = {
    **{mark: f"\\{mark}" for mark in "\\|*`[]~$"},
    "<": "&lt;",
    ">": "&gt;",
    "&": "&amp;",
    "@": "&#64;",
}


def shown(text: str, longest: int = LONGEST) -> str:
    """One line of at most `longest` characters, the cut marked; unseen and direction-changing ones as `[U+202E]`."""
    line = " ".join(text[: 4 * longest].split())
    cut = len(line) > longest or len(text) > 4 * longest
    line = line[:longest] + ("…" if cut else "")
    return "".join(
        f"[U+{ord(sign):04X}]" if unicodedata.category(sign)[0] == "C" and sign not in "\n\t" else sign for sign in line
    )


def latex_text(text: str, longest: int = LONGEST) -> str:
    """Text for any place of a LaTeX document, in ASCII: no command, no change of mode, no unknown character."""
    return "".join(_latex_sign(sign) for sign in unicodedata.normalize("NFC", shown(text, longest)))


def _latex_sign(sign: str) -> str:
    if sign in _LATEX:
        return _LATEX[sign]
    if sign.isascii():
        return sign
    letter, *marks = tuple(unicodedata.normalize("NFD", sign))
    if letter.isascii() and letter.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(letter, letter)
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"\\texttt{{U+{ord(sign):04X}}}"


def markdown_cell(text: str, longest: int = LONGEST) -> str:
    """Text that stays text, and in its cell of a table: no markup, no HTML, no link."""
    line = shown(text, longest)
    signs = [_MARKDOWN.get(sign, sign) for sign in line]
    for place, sign in enumerate(line):
        # Underscores within a word emphasise nothing, and metrics are full of them.
        if sign == "_" and not (line[place - 1 : place].isalnum() and line[place + 1 : place + 2].isalnum()):
            signs[place] = "\\_"
    escaped = "".join(signs).replace("://", ":&#47;&#47;").replace("www.", "www&#46;").replace("WWW.", "WWW&#46;")
    return f"\\{escaped}" if escaped.startswith(("#", "+", "-", "=")) else escaped


def spreadsheet_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: `'` stands before what would start one."""
    return f"'{text}" if text.startswith(FORMULA) else text
