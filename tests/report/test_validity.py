"""A judge of rubrics whose validity is not shown is grey in every table and on the page, by itself."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.pages import page_of
from tests.score.graded import GRADED, Judged, recorded, reply
from tests.score.rubric_cases import cases
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.rubrics.rows import CalibrationPoint, ValidityMeasure
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.latex import TexCaption
from workflow_scripts.report.palette import system_colours
from workflow_scripts.report.plots.render import svg_of
from workflow_scripts.report.tables import graded_latex, graded_markdown, headline, latex_table, markdown_table
from workflow_scripts.report.validity.figure import calibration_plots
from workflow_scripts.report.validity.section import validity_section

REPLIES = Path(__file__).parents[1] / "score/smollm2_rubric_replies.jsonl"
SYSTEMS = ["base"]


def smollm2_replies():
    """What SmolLM2 said of each of these answers, the first time that it was asked."""
    listed, said = cases(), {}
    for line in REPLIES.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        said.setdefault(entry["case"], entry["reply"])
    return [(case, said[place]) for place, case in enumerate(listed) if place in said and case.rubric == '"bond"']


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """SmolLM2's replies, a judge that agrees with people, and one that nobody compared, on the same answers."""
    done = Judged(tmp_path_factory.mktemp("grey"), GRADED)
    agreeing = [(case, reply(case, case.score)) for case in GRADED]
    sections = {
        "smollm2": recorded(done.folder, "smollm2", smollm2_replies()),
        "sound": recorded(done.folder, "sound", agreeing),
        "unknown": recorded(done.folder, "unknown", agreeing, None),
    }
    done.pairs = {name: done.judged(name, section) for name, section in sections.items()}
    for name in ("smollm2", "sound"):
        done.measured(name, sections[name])
    done.values = done.metrics(*sections)
    done.tables = {
        kind: [done.folder / f"{name}-{kind}.parquet" for name in ("smollm2", "sound")]
        for kind in ("out", "calibration")
    }
    return done


@pytest.fixture(scope="module")
def page(run):
    return page_of(
        run.folder,
        run.folder,
        values=[replace(value, system="a") for value in run.values],
        rows=run.rows,
        validity=run.tables["out"],
        calibration=run.tables["calibration"],
    )


def test_smollm2_s_replies_are_real_ones(run):
    assert len(run.pairs["smollm2"]) == len(GRADED)
    assert {pair.status for pair in run.pairs["smollm2"]} >= {"invalid"}


def test_markdown_puts_grey_columns_in_parentheses_with_their_note(run):
    text = graded_markdown(run.values, SYSTEMS)
    lines = re.findall(r"^(?=.*\*\*macro\*\*.*bond \((\w+)\) ↑)(.*)$", text, re.MULTILINE)
    macro = dict(lines)
    assert set(macro) == {"smollm2", "sound", "unknown"}
    assert "below validity" in macro["smollm2"] and "no validity" in macro["unknown"]
    assert "validity" not in macro["sound"] and "(2.800 [" in macro["unknown"] and "| 2.800 [" in macro["sound"]
    assert "- below validity: the judge agrees too little" in text and "- no validity: no human scores" in text


def test_the_headline_names_the_sound_judge_alone(run):
    heads = headline(run.values, SYSTEMS)
    assert {line.label for line in heads} == {"bond (sound) ↑"}
    table = markdown_table(run.values, SYSTEMS)
    assert "bond (sound)" in table and "smollm2) ↑" not in table
    assert re.search(r"^- judge smollm2 \(bond\): base \d+ of 40", table, re.MULTILINE)


def test_latex_is_grey_or_in_italics_with_the_note_below(run):
    caption = TexCaption("validation", 0.95, 100)
    text = graded_latex(run.values, SYSTEMS, caption)
    assert r"\providecommand{\flarebenchgrey}[1]{\ifcsname textcolor\endcsname\textcolor{gray}{#1}" in text
    pattern = r"\\textit\{Free response\}: bond \((\w+)\)(.*?)addlinespace"
    parts = dict(re.findall(pattern, text, re.DOTALL))
    assert "flarebenchgrey{2.800}" in parts.get("unknown", text.rsplit("unknown", 1)[1])
    assert "flarebenchgrey" not in parts["sound"]
    assert "Below validity (the judge agrees too little" in text and "No validity (" in text
    head = latex_table(run.values, SYSTEMS, [], "validation", Scoring())
    assert "bond (sound)" in head and "bond (smollm2)" not in head.split("Judge smollm2")[0]


def rows_of(page: str, section: str) -> dict[str, str]:
    """The lines of the first table of a section of the page, by the judge that they name."""
    part = page.split(f'aria-labelledby="{section}"')[1].split("</table>")[0]
    lines = re.findall(r"<tr[^>]*>.*?</tr>", part, re.DOTALL)
    return {name: line for line in lines for name in ("smollm2", "sound", "unknown") if name in line}


@pytest.mark.parametrize("section", ["judges-title", "validity-title"])
def test_the_page_greys_smollm2_and_not_the_judge_that_agrees(page, section):
    lines = rows_of(page, section)
    assert {name: line.startswith('<tr class="grey">') for name, line in lines.items()} == {
        "smollm2": True,
        "sound": False,
        "unknown": True,
    }


def test_the_page_says_why(page):
    lines = rows_of(page, "validity-title")
    why = r"no<small>(a score for \d+ of 40 answers alone|κ, quadratic weights (&lt;|<|undefined))"
    assert re.search(why, lines["smollm2"])
    assert "yes<small>κ, quadratic weights ≥ 0.6</small>" in lines["sound"]
    assert "no<small>no human scores</small>" in lines["unknown"]
    assert 'href="#validity"' in page
    assert "⚠ the judge agrees too little with human scores" in rows_of(page, "judges-title")["smollm2"]


def test_a_page_without_judges_of_rubrics_has_no_such_section(run, tmp_path):
    values = [value for value in run.values if value.judge is None]
    assert "validity-title" not in page_of(tmp_path, tmp_path, values=values, rows=run.rows)


def test_calibration_is_drawn_by_rubric_and_says_its_numbers(run):
    points = [point for path in run.tables["calibration"] for point in read_rows(path, CalibrationPoint)]
    [drawing] = calibration_plots(points, system_colours(sorted({point.judge for point in points})))
    assert drawing.name == "calibration-bond" and drawing.section == "validity"
    assert "sound 5, human 5.00 (8 answers)" in drawing.description
    assert svg_of(drawing).startswith("<svg")


def test_a_judge_that_was_never_compared_has_a_line_of_dashes(run):
    measures = [line for path in run.tables["out"] for line in read_rows(path, ValidityMeasure)]
    lines = {line.judge: line for line in validity_section(measures, [], [("unknown", "bond"), ("sound", "bond")])}
    assert [lines[name].grey for name in ("smollm2", "sound", "unknown")] == [True, False, True]
    assert {value for value, _, _ in lines["unknown"].cells} == {"–"}
    assert [decides for _, _, decides in lines["sound"].cells] == [False, False, True, False, False]
