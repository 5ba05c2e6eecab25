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
    grey: bool = False  # of a judge that is not relied on


@dataclass(frozen=True)
class TexLine:
    """One line of the table."""

    task: str
    subset: str  # a subset or "macro"
    metric: str  # with its judge
    higher: bool | None  # whether higher is better; None where that is not known
    rows: int  # 0: not known
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
    heading = f"Primary metric of each task by subset on {_split(caption)}. {_how(caption)}"
    return _long_table(lines, systems, caption, ("Subset", heading, "subsets"))


def group_table(lines: Sequence[TexLine], systems: Sequence[str], caption: TexCaption, group: str, number: int) -> str:
    """The primary metrics by the values of a group, which stand in the lines' `subset`."""
    name = latex_text(group, NAME)
    heading = f"Primary metric of each task by {name} on {_split(caption)}. {_intervals(caption)} $n$: questions."
    return _long_table(lines, systems, caption, (name, heading, f"group-{number}"))


def holdout_table(lines: Sequence[TexLine], values: Sequence[str], caption: TexCaption, group: str) -> str:
    """The primary metrics of systems, which stand in the lines' `subset`, by the values that were held out in turns."""
    heading = (
        f"Primary metric of each task, each {latex_text(group, NAME)} held out of training in turns "
        f"({latex_text(caption.split, NAME)}). {_intervals(caption)} $n$: questions, at most."
    )
    note = "% Written by flarebench; needs \\usepackage{booktabs,longtable}. Every text is escaped.\n"
    columns = " & ".join(f"{{{latex_text(value, NAME)}}}" for value in values)
    return note + _long_table(lines, values, caption, ("System", heading, "holdout"), columns)


def published_table(lines: Sequence[TexLine], systems: Sequence[str], caption: TexCaption, text: str) -> str:
    """Numbers of others, which stand first in the lines' cells, beside those of systems; `text`: what they are."""
    columns = " & ".join(f"{{{latex_text(name, NAME)}}}" for name in ("imported", *systems))
    words = ("Imported", latex_text(text, 4000), "published")
    return _long_table(lines, ("imported", *systems), caption, words, columns)


def graded_table(lines: Sequence[TexLine], systems: Sequence[str], caption: TexCaption, text: str) -> str:
    """Scores by rubrics; those of a judge that is not relied on are grey, or in italics where xcolor is not loaded."""
    grey = "\\ifcsname textcolor\\endcsname\\textcolor{gray}{#1}\\else\\textit{#1}\\fi"
    words = ("Subset", f"{latex_text(text, 4000)} {_intervals(caption)} $n$: questions.", "rubrics")
    return f"\\providecommand{{\\flarebenchgrey}}[1]{{{grey}}}\n" + _long_table(lines, systems, caption, words)


def gap_table(rows: Iterable[tuple[str, ...]], caption: TexCaption, group: str, number: int) -> str:
    """Gaps between the values of a group.

    Args:
        rows: task, system, values, gap, interval and corrected p of each, as texts.
        caption: of the split.
        group: its name.
        number: its place, for the label.
    """
    body = "".join(
        " & ".join(
            [
                *(latex_text(text, 2 * NAME) for text in texts),
                latex_number(gap),
                latex_number(interval),
                latex_number(p).replace("<", "$<$"),
            ]
        )
        + " \\\\\n"
        for *texts, gap, interval, p in rows
    )
    head = "\\toprule\nTask & System & Difference & Gap & Interval & $p$ \\\\\n\\midrule\n"
    percent = f"{caption.confidence * 100:g}"
    return f"""\\expandafter\\let\\expandafter\\ifflarebenchcolumns\\csname if@twocolumn\\endcsname
\\ifflarebenchcolumns\\onecolumn\\fi
{{\\footnotesize
\\setlength{{\\tabcolsep}}{{4pt}}
\\begin{{longtable}}{{@{{}}llp{{.36\\linewidth}}rlr@{{}}}}
\\caption{{Gaps of the primary metrics between values of {latex_text(group, NAME)} on {_split(caption)}. \
Intervals hold together at {percent}\\,\\%; $p$: permutation of labels over cases, corrected.}}
\\label{{tab:flarebench-{_label(caption.split)}-gaps-{number}}} \\\\
{head}\\endfirsthead
{head}\\endhead
\\bottomrule
\\endlastfoot
{body}\\end{{longtable}}
}}
\\ifflarebenchcolumns\\twocolumn\\fi
"""


def _long_table(
    lines: Sequence[TexLine],
    systems: Sequence[str],
    caption: TexCaption,
    words: tuple[str, str, str],
    columns: str = "",
) -> str:
    """A table over pages; `words`: heading of its first column, caption, and the end of its label.

    `columns` are the headings of the others, where these are no systems.
    """
    width = len(systems) + 2
    first, text, label = words
    body, task = [], None
    for line in lines:
        if task != (line.task, line.metric):
            body.append("" if task is None else "\\addlinespace[4pt]\n")
            heading = f"\\textit{{{_task(line.task)}}}: {latex_text(line.metric, NAME)} {_arrow(line)}"
            body.append(f"\\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{{heading}}} \\\\*\n")
            task = (line.task, line.metric)
        body.append(_two_rows([f"{{{latex_text(line.subset, NAME)}}}", f"{{{_rows(line)}}}"], line, systems))
    head = f"\\toprule\n{first} & $n$ & {columns or _systems(systems)} \\\\\n\\midrule\n"
    # A long table stands in one column alone: a paper of two columns has it on pages of its own.
    return f"""\\expandafter\\let\\expandafter\\ifflarebenchcolumns\\csname if@twocolumn\\endcsname
\\ifflarebenchcolumns\\onecolumn\\fi
{{\\{"footnotesize" if len(systems) <= MANY else "scriptsize"}
\\setlength{{\\tabcolsep}}{{4pt}}
\\begin{{longtable}}{{@{{}}lr{"c" * len(systems)}@{{}}}}
\\caption{{{text}}}
\\label{{tab:flarebench-{_label(caption.split)}-{label}}} \\\\
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
    number = f"\\flarebenchgrey{{{latex_number(cell.value)}}}" if cell.grey else latex_number(cell.value)
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
    return (
        f"{_intervals(caption)} Bold: best value of a line. A superscript names the systems that a value is "
        f"better than ($p < {LEVEL:g}$, two-sided paired randomisation test over cases, Holm-corrected). "
        "$n$: questions. After an interval: the share of valid answers, where it is under 100\\,\\%."
    )


def _intervals(caption: TexCaption) -> str:
    percent = f"{caption.confidence * 100:g}"
    return (
        f"In brackets: {percent}\\,\\% intervals, bias-corrected percentile bootstrap over cases, "
        f"{caption.resamples:,} resamples."
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


def _rows(line: TexLine) -> str:
    return f"{line.rows:,}" if line.rows else "\\textendash{}"


def _arrow(line: TexLine) -> str:
    if line.higher is None:
        return ""
    return "$\\uparrow$" if line.higher else "$\\downarrow$"


def _task(task: str) -> str:
    return latex_text(task.replace("_", " ").capitalize(), NAME)


def _split(caption: TexCaption) -> str:
    return f"the split {latex_text(caption.split, NAME)}"


def _label(split: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", split)
