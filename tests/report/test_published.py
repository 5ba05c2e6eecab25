"""Numbers of others stand beside the run's own, marked as imported, and change nothing else."""

import re

import pytest

from tests.report.pages import page_of
from tests.report.rows import metric
from workflow_scripts import ROOT
from workflow_scripts.core.config.scoring import Published, PublishedNumbers
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration
from workflow_scripts.report.latex import TexCaption
from workflow_scripts.report.summary.published import published_lines
from workflow_scripts.report.tables import markdown_table, published_latex, published_markdown

EVIL = "<script>alert(1)</script> =1+1 | \\input{x} \u202e"
NUMBERS = [
    {"task": "counting", "metric": "mae", "value": 0.0, "low": 0.0, "high": 0.5, "rows": 1200},
    {"task": "fundus", "subset": "EyePACS", "metric": "accuracy", "value": 64.9},
]
PUBLISHED = PublishedNumbers.model_validate(
    {
        "MedGemma 4B": {"source": "its model card", "link": "https://example.org/card", "numbers": NUMBERS[:1]},
        EVIL: {"source": EVIL, "percent": True, "numbers": NUMBERS[1:]},
    }
)


@pytest.fixture
def lines():
    values = [metric("a", value=0.7), metric("a", value=0.9, primary=False, reading="lenient"), metric("b", value=0.6)]
    return published_lines(PUBLISHED.root, values, ["a", "b", "c"])


def test_each_number_stands_beside_the_runs_own_of_that_name(lines):
    first, second = lines
    assert [cell and cell.value for cell in first.own] == [0.7, 0.6, None]
    assert (first.value, first.limits, first.rows) == (0.0, (0.0, 0.5), 1200)
    assert second.own == (None, None, None) and second.value == pytest.approx(0.649)


def test_it_is_marked_as_imported_with_its_source_and_its_texts_stay_text(lines):
    text = published_markdown(lines, ["a", "b", "c"])
    assert text.count("(imported)") == 2 and "its model card, https:&#47;&#47;example.org/card" in text
    assert (
        "| MedGemma 4B (imported) | counting | macro | mae | 1200 | 0.000 [0.000, 0.500] | 0.700 [0.400, 0.600]" in text
    )
    assert "<script" not in text and "\u202e" not in text and "never ranked" not in text.lower()
    assert "They are in no ranking, comparison or verdict." in text
    latex = published_latex(lines, ["a", "b", "c"], TexCaption("v", 0.95, 100))
    assert latex.isascii() and "\\input{x}" not in latex and "MedGemma 4B (imported)" in latex
    assert (
        "textbf" not in latex
        and published_markdown([], ["a"]) == published_latex([], ["a"], TexCaption("v", 0.95, 1)) == ""
    )


def test_the_page_shows_them_and_is_otherwise_the_page_without_them(root, tmp_path):
    """A published error of zero would be the best of every line, were it looked at."""
    values = [metric("a", value=0.7), metric("b", value=0.9)]
    given = {"baselines": ["b"], "values": values}
    plain = page_of(tmp_path / "one" / "v", root, **given)
    with_numbers = page_of(tmp_path / "two" / "v", root, published=PUBLISHED, **given)
    section = re.search(r'<section id="published".*?</section>\n', with_numbers, re.DOTALL)[0]
    assert section.count("(imported)") == 2 and "<script" not in section and "alert" in section
    rest = with_numbers.replace(section.removesuffix("\n"), "").replace(
        '<a href="#published">Numbers of others</a>', ""
    )
    assert rest.replace("\n", "") == plain.replace("\n", "")


def test_the_table_of_primary_metrics_never_holds_them(lines):
    table = markdown_table([metric("a", value=0.7)], ["a"])
    assert "imported" not in table and "MedGemma" not in table


def test_a_published_name_that_is_a_system_is_refused():
    import yaml

    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    entry = {"source": "a paper", "numbers": NUMBERS}
    with pytest.raises(ConfigurationError, match="published: 'base' is a system of this run"):
        load_configuration(raw | {"published": {"base": entry}}, "x")
    assert (
        load_configuration(raw | {"published": {"Their 4B": entry}}, "x").published["Their 4B"].numbers[1].value == 64.9
    )


@pytest.mark.parametrize(
    "change", [{"link": "http://x.org"}, {"link": "javascript:alert(1)"}, {"numbers": []}, {"source": ""}]
)
def test_a_number_without_a_source_or_with_another_link_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Published.model_validate({"source": "a paper", "numbers": NUMBERS} | change)
