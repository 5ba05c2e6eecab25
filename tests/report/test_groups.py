"""Tables, figures and the page by group: what the tables hold, hostile names as text, and nothing without groups."""

import csv
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest

from tests.report.splits import HOSTILE, SYSTEMS, scored_split
from tests.report.test_tables_methods import CONFIGURATION
from workflow_scripts import ROOT
from workflow_scripts.core.config.scoring import Groups, Scoring
from workflow_scripts.core.files import write_json
from workflow_scripts.core.groups.rows import GroupGap, GroupValue
from workflow_scripts.core.rows import Group, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.grouping.figure import MOST, group_plots
from workflow_scripts.report.grouping.lines import group_sections
from workflow_scripts.report.groups import cell_parts, latex, write_groups
from workflow_scripts.report.latex import TexCaption
from workflow_scripts.report.lineage import lineage
from workflow_scripts.report.methods.section import methods_text
from workflow_scripts.report.page import write_page
from workflow_scripts.report.palette import system_colours
from workflow_scripts.report.plots.catalogue import read_figures
from workflow_scripts.report.plots.render import write_drawings
from workflow_scripts.score.groups import write_groups as score_groups

SEX = '<img src=x onerror="alert(1)">'
"""The name of a group, which is a source's text as its values are."""
GROUPS = Groups(columns=("hospital", SEX, "scanner"), least_cases=3)
SCORING = Scoring(resamples=100)
VALUES = (HOSTILE, '=HYPERLINK("x")|*`$', "St. Mary \\input{x} & \u202eco")


def in_hospitals(row: Row) -> Row:
    """A row with a hostile hospital and sex; one copy in eight states none, and one a hospital of its own."""
    copy = int(row.uid.rsplit("/", 1)[1]) // 7
    hospital = "" if copy % 8 == 7 else "tiny" if copy == 6 else VALUES[copy % 3]
    groups = (Group(SEX, "FM"[copy % 2]), *([Group("hospital", hospital)] if hospital else []))
    return replace(row, groups=tuple(sorted(groups)))


def written(folder: Path) -> SimpleNamespace:
    """All outputs by group of a split of 12 rows a task, by the real steps."""
    arguments = scored_split(folder, copies=12, change=in_hospitals)
    values, gaps = folder / "groups.parquet", folder / "group_gaps.parquet"
    scored = {key: arguments[key] for key in ("split", "outcomes", "report_scores", "rule_based_judges", "baselines")}
    score_groups(**scored, groups=GROUPS, scoring=SCORING, out=values, gaps=gaps)
    page = arguments["out"].parent
    files = {
        "csv": "groups.csv",
        "gaps_csv": "group_gaps.csv",
        "markdown_table": "groups.md",
        "latex_table": "groups.tex",
    }
    paths = {key: page / name for key, name in files.items()}
    write_groups(values=values, gaps=gaps, systems=SYSTEMS, groups=GROUPS, scoring=SCORING, **paths)
    colours = system_colours(SYSTEMS)
    write_drawings(page / "figures", group_plots(read_rows(values, GroupValue), SYSTEMS[:2], colours, GROUPS.columns))
    arguments |= {"figures": page / "figures", "groups": GROUPS, "scoring": SCORING, "group_tables": (values, gaps)}
    write_page(**arguments)
    return SimpleNamespace(
        arguments=arguments,
        html=arguments["out"].read_text(encoding="utf-8"),
        values=read_rows(values, GroupValue),
        gaps=read_rows(gaps, GroupGap),
        figures=read_figures(page / "figures"),
        **paths,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> SimpleNamespace:
    return written(tmp_path_factory.mktemp("groups"))


def section(html: str, number: int) -> str:
    return re.search(rf'<section id="group-{number}".*?</section>', html, re.DOTALL)[0]


def test_the_page_has_a_section_for_each_group_that_rows_state(done):
    assert 'id="group-1"' in done.html and 'id="group-2"' in done.html and 'id="group-3"' not in done.html
    assert "No row of this split states scanner." in done.html
    assert done.html.index('id="group-1"') < done.html.index('id="data"')
    assert '<a href="#group-1">By <bdi>hospital</bdi></a>' in done.html


def test_names_and_values_of_a_source_are_text_everywhere(done):
    assert "<img src=x" not in done.html and "&lt;img src=x" in done.html
    assert "\u202e" not in section(done.html, 1) and "[U+202E]" in section(done.html, 1)
    for svg in done.arguments["figures"].glob("groups-*.svg"):
        assert "<img" not in svg.read_text(encoding="utf-8")
    markdown = done.markdown_table.read_text(encoding="utf-8")
    assert "<img" not in markdown and "\u202e" not in markdown and "\\|\\*\\`\\$" in markdown
    latex = done.latex_table.read_text(encoding="utf-8")
    assert latex.isascii() and "\\input{x}" not in latex
    for path in (done.csv, done.gaps_csv):
        cells = [cell for line in csv.reader(path.open(newline="", encoding="utf-8")) for cell in line]
        assert not [cell for cell in cells if cell.startswith("=")] and any(cell.startswith("'=") for cell in cells)


def test_every_value_of_the_page_is_the_tables(done):
    for number, group in enumerate(GROUPS.columns[:2], 1):
        html, lines = section(done.html, number), [v for v in done.values if v.group == group and v.subset == "macro"]
        body = re.search(r"<tbody>(.*?)</tbody>", html, re.DOTALL)[1]
        assert body.count("<tr>") == len({(v.task, v.value) for v in lines})
        assert body.count("not ranked") == len({(v.task, v.value) for v in lines if not v.ranked}) > 0 or number == 2
    assert "not stated" in section(done.html, 1) and "tiny" in section(done.html, 1)


def test_each_group_has_its_figures_and_no_figure_stands_twice(done):
    own = [figure.name for figure in done.figures if figure.section == "groups"]
    assert len(own) == 14 and all(done.html.count(f'<figure id="{name}">') == 1 for name in own)
    for number in (1, 2):
        names = re.findall(r'<figure id="([^"]+)"', section(done.html, number))
        assert len(names) == 7 and all(name.startswith(f"groups-{number}-") for name in names)
    counting = next(figure for figure in done.figures if figure.name == "groups-1-counting")
    assert "not ranked" in counting.description and "tuned" in counting.description


def test_baselines_gaps_are_shown_and_not_tested(done):
    lines = group_sections(done.values, done.gaps, SYSTEMS, GROUPS.columns)[0]
    assert {line.p for line in (*lines.ranges, *lines.rest) if line.system == "majority"} <= {"–"}
    assert {line.system for line in lines.ranges} == set(SYSTEMS)


def test_markdown_has_a_line_for_each_value_and_each_gap(done):
    text = done.markdown_table.read_text(encoding="utf-8")
    shown = [v for v in done.values if v.subset == "macro"]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    gaps = [g for g in done.gaps if g.subset == "macro"]
    heads = 2 * len({v.group for v in shown}) + 2 * len({g.group for g in gaps})
    assert len(lines) == len({(v.group, v.task, v.value) for v in shown}) + len(gaps) + heads
    assert "Values of fewer than 3 cases are shown and not ranked" in text


def test_where_values_share_no_subset_every_subset_is_shown(done):
    value = next(v for v in done.values if v.subset == "macro" and v.system == "base")
    apart = [replace(value, subset=subset, value=name) for subset, name in (("one", "A"), ("two", "B"))]
    (only,) = group_sections(apart, [], ["base"], [value.group])
    assert only.has_several_places and [line.place for line in only.lines] == ["one", "two"]


def test_a_figure_shows_the_values_of_the_most_cases(done):
    value = next(v for v in done.values if v.subset == "macro" and v.system == "base")
    many = [replace(value, value=f"site {place:02}", clusters=place + 1) for place in range(30)]
    (drawing,) = group_plots(many, ["base"], system_colours(["base"]), [value.group])
    assert f"The {MOST} values of the most cases, of 30." in drawing.caption
    assert "site 29" in drawing.description and "site 13" not in drawing.description


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not here")
@pytest.mark.slow
def test_the_latex_compiles(done, tmp_path):
    head = "\\documentclass{article}\\usepackage{booktabs,longtable,graphicx}\\begin{document}"
    (tmp_path / "x.tex").write_text(f"{head}\\input{{{done.latex_table}}}\\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]


def test_the_methods_say_which_rows_and_how_gaps_are_tested(tmp_path):
    split = CONFIGURATION["splits"]["validation"] | {"where": {"hospital": ["<b>"]}, "where_not": {"sex": ["F", "M"]}}
    raw = CONFIGURATION | {
        "splits": CONFIGURATION["splits"] | {"validation": split},
        "groups": {"columns": ["sex", "age_band"], "least_cases": 7},
    }
    write_json(tmp_path / "configuration.json", raw)
    text = methods_text(tmp_path, "validation", ["base"], lineage(tmp_path, "validation", ["base"]))
    assert "rows of hospital &lt;b&gt;, rows of sex other than F and M" in text
    assert "Primary metrics are also given by sex and age_band. Gaps between values of at least 7 cases" in text
    assert "hold together at 90%" in text
    write_json(tmp_path / "configuration.json", CONFIGURATION)
    text = methods_text(tmp_path, "validation", ["base"], lineage(tmp_path, "validation", ["base"]))
    assert "Gaps between values" not in text


def test_a_gap_beyond_chance_is_the_first_that_a_section_says(done):
    gap = next(g for g in done.gaps if g.subset == "macro" and g.kind == "range" and g.system == "tuned")
    clear = replace(gap, gap=0.3, low=0.1, high=0.5, p_adjusted=0.0004)
    unsure = replace(clear, system="base", low=0.0, p_adjusted=0.2)
    values = [v for v in done.values if v.group == gap.group]
    sections = group_sections(values, [unsure, clear], SYSTEMS, [gap.group])
    assert [line.clear for line in sections[0].ranges] == [False, True]
    html = rendered(sections, values)
    assert html.count("differs by 0.300 [0.100, 0.500]") == 1 and "(p &lt; 0.001)" in html
    assert "No gap is beyond chance" not in html


def rendered(sections, values) -> str:
    """The part of the page by group."""
    folder = jinja2.FileSystemLoader(ROOT / "workflow_scripts/report")
    environment = jinja2.Environment(loader=folder, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("groups.html.jinja").render(
        groups=sections, names={v.task: v.task for v in values}, systems=SYSTEMS, baselines=["majority"],
        colours=system_colours(SYSTEMS), sections={"groups": []}, group_cell=cell_parts, groups_note="", unstated=[],
    )  # fmt: skip


def test_what_a_section_says_first_is_true_of_all_its_gaps(done):
    gap = next(g for g in done.gaps if g.subset == "macro" and g.kind == "range" and g.system == "tuned")
    unsure = replace(gap, low=0.0, high=0.5, p_adjusted=0.2)
    rest = replace(gap, kind="rest", second=None, gap=-0.3, low=-0.5, high=-0.1, p_adjusted=0.01)
    values = [v for v in done.values if v.group == gap.group]

    def said(*gaps: GroupGap) -> str:
        return rendered(group_sections(values, gaps, SYSTEMS, [gap.group]), values)

    assert "No gap is beyond chance" in said(unsure, replace(rest, p_adjusted=0.3))
    one = said(unsure, rest)
    assert "No gap is beyond chance" not in one and "differs by -0.300 [-0.500, -0.100] in <bdi>" in one
    untested = said(replace(unsure, p=None, p_adjusted=None))
    assert "The gaps were not tested." in untested and "beyond chance" not in untested
    none = said()
    assert "No two values have enough cases and a defined metric" in none


def test_the_latex_names_subsets_and_prints_arrows_and_minus_signs(done):
    values = [v for v in done.values if v.subset == "macro" and v.system == "tuned"][:2]
    values = [replace(value, subset=f"part {n}") for n, value in enumerate(values)]
    gap = next(g for g in done.gaps if g.subset == "macro" and (g.group, g.task) == (values[0].group, values[0].task))
    sections = group_sections(values, [replace(gap, subset="part 0")], SYSTEMS, [gap.group])
    text = latex(sections, SYSTEMS, TexCaption("validation", 0.95, 100))
    assert "\\texttt{U+" not in text and " $-$ " in text and ("$\\uparrow$" in text or "$\\downarrow$" in text)
    body = text.split("Gaps of the primary metrics")[1]
    assert f"{gap.task.replace('_', ' ')}, part 0 &" in body


def test_a_page_without_groups_has_nothing_of_them(page):
    assert "group-1" not in page and "not ranked" not in page
