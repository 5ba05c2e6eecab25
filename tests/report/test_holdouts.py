"""The table of what was held out in turns: one column a hospital, one name for the systems of all hospitals."""

import csv
import shutil
import subprocess

import pytest

from tests.report.rows import metric
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.groups.holdouts import Holdout
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.tables import write_rows
from workflow_scripts.report.holdouts import common_name, holdout_lines, write_holdouts

VALUES = {"mary": "St. Mary", "c": "=C & <b>|\\x", "tokyo": "東京"}
HOLDOUT = Holdout(dataset="lab", folder="training", group="hospital_1", values=VALUES)
SYSTEMS = ["base", *(f"tuned-without-{name}" for name in VALUES)]
OF_VALUE = {
    "mary": [metric("base", value=5.0), metric("tuned-without-mary", value=1.0), metric("base", subset="marks")],
    "c": [metric("base", value=6.0), metric("tuned-without-c", value=4.0)],
    "tokyo": [metric("base", value=None), metric("tuned-without-tokyo", value=2.5), metric("base", primary=False)],
}


def test_each_system_has_one_line_with_its_own_system_for_each_hospital():
    base, tuned = holdout_lines(OF_VALUE, SYSTEMS)
    assert (base.system, tuned.system) == ("base", "tuned")
    assert [cell.system for cell in tuned.cells] == SYSTEMS[1:]
    assert [cell.value for cell in tuned.cells] == [1.0, 4.0, 2.5]


def test_mean_and_worst_are_over_all_hospitals_and_the_worst_error_is_the_largest():
    base, tuned = holdout_lines(OF_VALUE, SYSTEMS)
    assert tuned.summary == ("2.500", "4.000")
    assert base.summary == ("–", "–"), "a hospital without a score has no mean to be part of"


@pytest.mark.parametrize(
    ("system", "name"),
    [("tuned-without-mary", "tuned"), ("without-mary", "without-mary"), ("a-without-b", "a-without-b")],
)
def test_only_the_ending_of_a_held_out_value_is_taken_off(system, name):
    assert common_name(system, VALUES) == name


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("holdouts")
    for name, values in OF_VALUE.items():
        write_rows(folder / f"{name}.parquet", values, MetricValue)
    write_holdouts(
        name="by",
        spec=HOLDOUT,
        metrics=[folder / f"{name}.parquet" for name in VALUES],
        systems=SYSTEMS,
        scoring=Scoring(),
        csv_table=folder / "table.csv",
        markdown_table=folder / "table.md",
        latex_table=folder / "table.tex",
    )
    return folder


def test_hostile_values_are_text_in_every_table(written):
    with (written / "table.csv").open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert {line["value"] for line in lines} == {"St. Mary", "'=C & <b>|\\x", "東京"} and len(lines) == 6
    text = (written / "table.md").read_text(encoding="utf-8")
    assert "<b>" not in text and "| counting | mae ↓ | tuned | 1.000 [0.400, 0.600] |" in text
    latex = (written / "table.tex").read_text(encoding="utf-8")
    assert latex.isascii() and "mae $\\downarrow$" in latex and "U+219" not in latex


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not here")
@pytest.mark.slow
def test_the_latex_compiles(written, tmp_path):
    head = "\\documentclass{article}\\usepackage{booktabs,longtable}\\begin{document}"
    (tmp_path / "x.tex").write_text(f"{head}\\input{{{written / 'table.tex'}}}\\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:]
