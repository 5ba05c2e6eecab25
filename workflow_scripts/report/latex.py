"""The table of primary metrics in LaTeX: one float with the means over subsets, and one long table of the subsets.

`\\input{table.tex}` is all that a paper needs, besides `\\usepackage{booktabs,graphicx,longtable}`. The text is ASCII
and compiles with pdfLaTeX and LuaLaTeX.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workflow_scripts.report.escaping import latex_text
from workflow_scripts.report.summary.verdict import LEVEL

NAME = 48
"""Characters of a name in a cell; longer ones are cut, so that the table stays on the page."""

MANY = 5
"""Systems that fit a page in the usual size of type."""


@dataclass(frozen=True)
class TexCell:
    """What stands in a system's cell."""

    value: str  # as text; a dash where there is none
    interval: str  # `[low, high]`, or empty
    best: bool = False  # of its line
    better_than: tuple[str, ...] = ()  # systems that the test says it is better than
    valid: str = ""  # the share of valid answers, where it is below 100%


@dataclass(frozen=True)
class TexLine:
    """One line of the table."""

    task: str
    subset: str  # a subset or "macro"
    metric: str  # with its judge
    higher: bool  # whether higher is better
    rows: int
    cells: tuple[TexCell, ...]  # in the order of the systems
    notes: tuple[str, ...] = ()  # why the line is to be read with care


@dataclass(frozen=True)
class TexCaption:
    """What the captions say."""

    split: str
    confidence: float
    resamples: int
    meanings: tuple[tuple[str, str], ...] = ()  # notes, and what each means
    missing: tuple[str, ...] = ()  # a sentence for each judge with judgements that are missing


def latex_tables(lines: Sequence[TexLine], systems: Sequence[str], caption: TexCaption) -> str:
    """Both tables as one file."""
    macro = [line for line in lines if line.subset == "macro"]
    subsets = [line for line in lines if line.subset != "macro"]
    head = (
        "% Written by flarebench; needs \\usepackage{booktabs,graphicx,longtable}. Every text is escaped.\n"
        f"% Systems: {', '.join(f'{letter} = {latex_text(name)}' for letter, name in letters(systems).items())}\n"
    )
    tables = [_macro_table(macro, systems, caption)] if macro else []
    tables += [_subset_table(subsets, systems, caption)] if subsets else []
    return head + "\n".join(tables)


def letters(systems: Sequence[str]) -> dict[str, str]:
    """A letter for each system, in their order; after z come numbers."""
    return {chr(ord("a") + place) if place < 26 else str(place + 1): name for place, name in enumerate(systems)}


def latex_number(text: str) -> str:
    """A number that was written for a terminal, with a minus sign and powers of ten as they are printed."""

    def power(match: re.Match[str]) -> str:
        exponent = match[3] if match[2] == "+" else f"-{match[3]}"
        return f"${match[1]}\\times10^{{{exponent}}}$"

    parts = re.split(r"(-?[0-9.]+e[+-][0-9]+)", text)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = re.sub(r"(-?[0-9.]+)e([+-])0*([0-9]+)", power, part)
        else:
            parts[place] = re.sub(r"-(?=[0-9])", "$-$", part).replace("–", "\\textendash{}")
    return "".join(parts)


def _macro_table(lines: Sequence[TexLine], systems: Sequence[str], caption: TexCaption) -> str:
    rows = []
    for line in lines:
        first = [_task(line.task), f"{latex_text(line.metric, NAME)} {_arrow(line)}", f"{line.rows:,}"]
        rows.append(_two_rows([f"{{{text}}}" for text in first], line, systems))
    columns = f"@{{}}llr{'c' * len(systems)}@{{}}"
    body = "\\addlinespace[2pt]\n".join(rows)
    return f"""\\begin{{table*}}[tbp]
\\centering
\\footnotesize
\\setlength{{\\tabcolsep}}{{4pt}}
\\caption{{Primary metric of each task on {_split(caption)}, averaged over its subsets. {_how(caption)}}}
\\label{{tab:flarebench-{_label(caption.split)}}}
\\par\\smallskip
% shrinks where it is wider than the column, and never grows
\\resizebox{{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}}{{!}}{{%
\\begin{{tabular}}{{{columns}}}
\\toprule
Task & Metric & $n$ & {_systems(systems)} \\\\
\\midrule
{body}\\bottomrule
\\end{{tabular}}}}
{_below(lines, caption.meanings, caption.missing)}\\end{{table*}}
"""


def _subset_table(lines: Sequence[TexLine], systems: Sequence[str], caption: TexCaption) -> str:
    width = len(systems) + 2
    body, task = [], None
    for line in lines:
        if task != (line.task, line.metric):
            body.append("" if task is None else "\\addlinespace[4pt]\n")
            heading = f"\\textit{{{_task(line.task)}}}: {latex_text(line.metric, NAME)} {_arrow(line)}"
            body.append(f"\\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{{heading}}} \\\\*\n")
            task = (line.task, line.metric)
        body.append(_two_rows([f"{{{latex_text(line.subset, NAME)}}}", f"{{{line.rows:,}}}"], line, systems))
    head = f"\\toprule\nSubset & $n$ & {_systems(systems)} \\\\\n\\midrule\n"
    # A long table stands in one column alone: a paper of two columns has it on pages of its own.
    return f"""\\expandafter\\let\\expandafter\\ifflarebenchcolumns\\csname if@twocolumn\\endcsname
\\ifflarebenchcolumns\\onecolumn\\fi
{{\\{"footnotesize" if len(systems) <= MANY else "scriptsize"}
\\setlength{{\\tabcolsep}}{{4pt}}
\\begin{{longtable}}{{@{{}}lr{"c" * len(systems)}@{{}}}}
\\caption{{Primary metric of each task by subset on {_split(caption)}. {_how(caption)}}}
\\label{{tab:flarebench-{_label(caption.split)}-subsets}} \\\\
{head}\\endfirsthead
{head}\\endhead
\\midrule
\\multicolumn{{{width}}}{{@{{}}r@{{}}}}{{continued on the next page}} \\\\
\\endfoot
\\bottomrule
\\endlastfoot
{"".join(body)}\\end{{longtable}}
{_below(lines, caption.meanings)}}}
\\ifflarebenchcolumns\\twocolumn\\fi
"""


def _two_rows(first: list[str], line: TexLine, systems: Sequence[str]) -> str:
    """Values on one row of the table, their intervals on the next, with no page break between."""
    values = " & ".join([*first, *(_value(cell, systems) for cell in line.cells)])
    intervals = " & ".join([*("" for _ in first), *(_interval(cell) for cell in line.cells)])
    return f"{values} \\\\*[-2.5pt]\n{intervals} \\\\\n"


def _value(cell: TexCell, systems: Sequence[str]) -> str:
    number = latex_number(cell.value)
    text = f"\\textbf{{{number}}}" if cell.best else number
    letter_of = {name: letter for letter, name in letters(systems).items()}
    marks = ",".join(letter_of[name] for name in systems if name in cell.better_than)
    return f"{text}\\textsuperscript{{{marks}}}" if marks else text


def _interval(cell: TexCell) -> str:
    parts = [latex_number(cell.interval), latex_text(cell.valid)]
    text = " ".join(part for part in parts if part)
    return f"{{\\tiny {text}}}" if text else ""


def _systems(systems: Sequence[str]) -> str:
    return " & ".join(
        f"{{{latex_text(name, NAME)}\\textsuperscript{{{letter}}}}}" for letter, name in letters(systems).items()
    )


def _how(caption: TexCaption) -> str:
    """How a table is to be read, for its caption."""
    percent = f"{caption.confidence * 100:g}"
    return (
        f"In brackets: {percent}\\,\\% intervals, bias-corrected percentile bootstrap over cases, "
        f"{caption.resamples:,} resamples. Bold: best value of a line. A superscript names the systems that a value is "
        f"better than ($p < {LEVEL:g}$, two-sided paired randomisation test over cases, Holm-corrected). "
        "$n$: questions. After an interval: the share of valid answers, where it is under 100\\,\\%."
    )


def _below(lines: Iterable[TexLine], meanings: Iterable[tuple[str, str]], missing: Iterable[str] = ()) -> str:
    """What is to be read with care, as a paragraph below the table: each note with its meaning and its lines."""
    places: dict[str, list[str]] = {}
    for line in lines:
        for note in line.notes:
            named = line.task if line.subset == "macro" else f"{line.task} of {line.subset}"
            places.setdefault(note, []).append(latex_text(named.replace("_", " "), 2 * NAME))
    sentences = [
        f"{latex_text(note).capitalize()} ({latex_text(meaning)}): {', '.join(places[note])}."
        for note, meaning in meanings
        if note in places
    ]
    sentences += [f"{latex_text(text)}." for text in missing]
    if not sentences:
        return ""
    return "\\par\\smallskip\n{\\scriptsize\\raggedright " + "\n".join(sentences) + "\\par}\n"


def _arrow(line: TexLine) -> str:
    return "$\\uparrow$" if line.higher else "$\\downarrow$"


def _task(task: str) -> str:
    return latex_text(task.replace("_", " ").capitalize(), NAME)


def _split(caption: TexCaption) -> str:
    return f"the split {latex_text(caption.split, NAME)}"


def _label(split: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", split)
