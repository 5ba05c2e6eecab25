"""Figures say what the tables say: files, names, determinism, hostile text, and the step's refusals."""

import io
import json
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import jinja2
import pytest

from tests.report.figure_tables import CLASSES, EVIL, PAIR, SHOWN, SYSTEMS, row, write_split
from workflow_scripts import ROOT
from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Agreement, Comparison, MetricValue, Outcome, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.report.figures import pairs_to_show, write_figures
from workflow_scripts.report.palette import GRID, INK, MUTED, PAPER, REFERENCE, system_colours
from workflow_scripts.report.plots.catalogue import CATALOGUE, SECTIONS, read_figures
from workflow_scripts.report.plots.style import number, plain, short, short_names

KINDS = {
    "forest",
    "subsets",
    "outcomes",
    "confusion",
    "labels",
    "overlap",
    "identities",
    "scatter",
    "agreement",
    "diversity",
    "findings",
    "attribute",
    "green",
    "training",
}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of a split with many classes and hostile names."""
    return write_split(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def folder(tables, tmp_path_factory):
    """The figures of that split."""
    out = tmp_path_factory.mktemp("figures")
    write_figures(**tables.arguments(out))
    return out


def kind(name: str) -> str:
    return name.split("-")[0]


def test_every_kind_of_figure_is_in_the_catalogue_in_the_order_of_the_sections(folder):
    figures = read_figures(folder)
    assert {kind(figure.name) for figure in figures} == KINDS
    places = [SECTIONS.index(figure.section) for figure in figures]
    assert places == sorted(places)
    assert figures[0].name.startswith("forest-")


def test_each_figure_is_there_as_svg_and_pdf_and_nothing_else_is(folder):
    figures = read_figures(folder)
    assert {path.name for path in folder.iterdir()} == {
        CATALOGUE,
        *(figure.svg for figure in figures),
        *(figure.pdf for figure in figures),
    }
    assert all((folder / figure.pdf).read_bytes().startswith(b"%PDF") for figure in figures)


@pytest.mark.extended
def test_a_second_process_writes_the_same_svgs_and_the_same_catalogue(tables, folder, tmp_path):
    arguments = tables.arguments(tmp_path / "again")
    words = [sys.executable, "-m", "workflow_scripts.report.figures"]
    for name, value in arguments.items():
        words += [f"--{name}", *([str(part) for part in value] if isinstance(value, list) else [str(value)])]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    for path in sorted(folder.glob("*.svg")) + [folder / CATALOGUE]:
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_an_svg_holds_title_and_description_and_no_background_style_script_or_address(folder):
    for figure in read_figures(folder):
        text = (folder / figure.svg).read_text(encoding="utf-8")
        image = ElementTree.fromstring(text)
        assert image.attrib["role"] == "img"
        assert image.find(f"{SVG}title").text == plain(figure.title)
        assert image.find(f"{SVG}desc").text == plain(figure.description)
        tags = {element.tag.removeprefix(SVG) for element in image.iter()}
        assert not tags & {"script", "style", "image", "a", "foreignObject", "use"}, tags
        assert not any("style" in element.attrib or "href" in "".join(element.attrib) for element in image.iter())
        assert not re.search(r'fill="(white|transparent)"', text)
        assert {"text"} <= tags


def test_no_two_figures_of_a_page_share_an_identifier(folder):
    names = [name for path in folder.glob("*.svg") for name in re.findall(r'\bid="([^"]+)"', path.read_text("utf-8"))]
    assert len(names) == len(set(names)) > 0
    for path in folder.glob("*.svg"):
        text = path.read_text("utf-8")
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(re.findall(r'\bid="([^"]+)"', text))


def test_text_is_in_the_colours_that_the_page_replaces(folder):
    allowed = {INK, MUTED, "#fefefe", "#1b1f25"}
    for path in folder.glob("*.svg"):
        image = ElementTree.fromstring(path.read_text("utf-8"))
        fills = {element.attrib.get("fill") for element in image.iter(f"{SVG}text") if element.text}
        assert fills <= allowed, (path.name, fills - allowed)


def test_a_figure_is_no_wider_than_a_column(folder):
    for path in folder.glob("*.svg"):
        width = float(ElementTree.fromstring(path.read_text("utf-8")).attrib["width"])
        assert width <= 510, (path.name, width)


def test_hostile_names_stay_text(folder):
    shown = [path for path in folder.glob("*.svg") if "&lt;script&gt;" in path.read_text("utf-8")]
    assert {"confusion", "labels"} <= {kind(path.name) for path in shown}
    for path in folder.glob("*.svg"):
        text = path.read_text("utf-8")
        assert "<script" not in text and "\u202e" not in text


def test_every_description_states_numbers_and_their_base(folder):
    for figure in read_figures(folder):
        assert re.search(r"\d", figure.description), figure.name
        base = r"n = [\d,]+|\d tasks|[\d,]+ (answers|steps)|[\d,]+ of [\d,]+ reports judged"
        assert re.search(base, figure.description), figure.description[:200]


def test_what_became_of_the_answers_is_counted_as_the_tables_have_it(tables, folder):
    (figure,) = [figure for figure in read_figures(folder) if figure.name == "outcomes"]
    outcomes = [entry for path in tables.outcomes for entry in read_rows(path, Outcome)]
    refused = sum(
        entry.outcome == "refused" and entry.task == "classification" and entry.system == SHOWN[0] for entry in outcomes
    )
    assert refused and re.search(rf"classification, {SHOWN[0]}: [^;]*\b{refused} refused", figure.description)


@pytest.fixture
def one_task(tables, tmp_path):
    """A split of two rows of one task, whose other tables are empty."""
    results = tmp_path / "results"
    shutil.copytree(tables.results, results)

    def arguments(rows: list[Row], outcomes: list[Outcome]) -> dict:
        changed = tables.arguments(tmp_path / "out")
        for name in ("split", "metrics", "comparisons", "agreement"):
            changed[name] = results / changed[name].relative_to(tables.results)
        uids = {entry.uid for entry in rows}
        write_rows(changed["split"], rows, Row)
        changed["outcomes"] = [results / "outcomes.parquet"]
        write_rows(changed["outcomes"][0], [entry for entry in outcomes if entry.uid in uids], Outcome)
        for name, cells in (("metrics", MetricValue), ("comparisons", Comparison), ("agreement", Agreement)):
            write_rows(changed[name], [], cells)
        return changed | {"findings": [], "judgements": [], "histories": [], "results": results}

    return arguments


def answered(entry: Row, system: str, reference: object, value: object) -> Outcome:
    """A valid outcome."""
    text = json.dumps(value)
    return Outcome(
        entry.uid, system, entry.subset, entry.task, entry.case_id, "valid", text, text, json.dumps(reference),
        "null", False, text, text, False,
    )  # fmt: skip


def test_what_has_no_data_has_no_entry(one_task, tmp_path):
    rows = [row("classification", "two", place, "A") for place in range(4)]
    outcomes = [answered(entry, system, "A", "A") for entry in rows for system in SHOWN]
    write_figures(**one_task(rows, outcomes))
    assert [figure.name for figure in read_figures(tmp_path / "out")] == ["outcomes", "confusion-classification-two"]


def test_subsets_whose_names_share_no_letter_have_files_of_their_own(one_task, tmp_path):
    rows = [row("classification", subset, place, "A") for subset in ("чест", "眼底") for place in range(2)]
    outcomes = [answered(entry, system, "A", "A") for entry in rows for system in SHOWN]
    write_figures(**one_task(rows, outcomes))
    names = [figure.name for figure in read_figures(tmp_path / "out")]
    assert names == ["outcomes", "confusion-classification", "confusion-classification-2"]


def test_a_very_long_name_gives_a_file_and_a_description_of_usual_size(one_task, tmp_path):
    long = "class " * 30_000
    rows = [row("classification", "s" * 250, place, answer) for place, answer in enumerate([long, "B"])]
    outcomes = [answered(entry, system, entry.answer, "B") for entry in rows for system in SHOWN]
    write_figures(**one_task(rows, outcomes))
    figure = read_figures(tmp_path / "out")[-1]
    assert figure.name.startswith("confusion-classification-sss") and len(figure.svg.encode()) < 200
    assert "class class" in figure.description and len(figure.description) < 1_000


def test_baselines_are_drawn_where_nothing_else_is(one_task, tmp_path):
    rows = [row("classification", "two", place, "A") for place in range(4)]
    outcomes = [answered(entry, SYSTEMS[3], "A", "A") for entry in rows]
    arguments = one_task(rows, outcomes) | {"systems": SYSTEMS[3:], "baselines": SYSTEMS[3:], "pairs": []}
    write_figures(**arguments)
    assert "confusion-classification-two" in {figure.name for figure in read_figures(tmp_path / "out")}


@pytest.mark.parametrize("pair", ["base", "base:nobody", "base:tuned:more"])
def test_a_pair_that_names_no_two_systems_is_refused(pair):
    with pytest.raises(Refused, match="BASE:TUNED"):
        pairs_to_show(["base", "tuned"], [pair])


def test_without_pairs_the_first_system_is_compared_with_each_other():
    assert pairs_to_show(["a", "b", "c"], []) == [("a", "b"), ("a", "c")]
    assert pairs_to_show(SYSTEMS, [PAIR]) == [(SYSTEMS[0], SYSTEMS[1])]


def test_a_damaged_catalogue_is_named(folder, tmp_path):
    with pytest.raises(BadFile, match="missing"):
        read_figures(tmp_path)
    (tmp_path / CATALOGUE).write_text('[{"name": "x"}]')
    with pytest.raises(BadFile, match="not a list of figures"):
        read_figures(tmp_path)
    shutil.copy(folder / CATALOGUE, tmp_path)
    with pytest.raises(BadFile, match="not there"):
        read_figures(tmp_path)


def test_each_kind_of_figure_has_a_caption_in_snakemakes_report():
    template = jinja2.Template((ROOT / "rules/captions/figures.rst").read_text(encoding="utf-8"))
    for name in {*KINDS, "cost"}:
        wildcards = {"figure": f"{name}-x", "split": "validation"}
        first = template.render(snakemake={"wildcards": wildcards}).strip().splitlines()[0]
        assert first.endswith("."), name


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, two: str) -> float:
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_text_is_legible_on_paper_and_systems_have_colours_of_their_own():
    assert contrast(INK, PAPER) > 7 and contrast(MUTED, PAPER) > 4.5 and contrast(GRID, PAPER) < 1.5
    colours = system_colours([f"s{place}" for place in range(7)])
    assert len({*colours.values(), REFERENCE}) == 8


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (-0.001, "0.00"), (-0.5, "−0.50"), (12.34, "12.3"), (4248.2, "4,248")]
)
def test_a_number_has_the_digits_that_its_size_deserves(value, text):
    assert number(value) == text


def test_short_names_stay_apart():
    names = short_names([*CLASSES, "", "a" * 30 + "b", "a" * 30 + "c"], 20)
    assert len(set(names.values())) == len(names)
    assert all(0 < len(name) <= 20 for name in names.values())
    assert "\u202e" not in plain(EVIL) and short("a\n\tb\x00", 9) == "a b"


def test_png_of_a_figure_is_not_empty(folder):
    import vl_convert
    from PIL import Image

    png = vl_convert.svg_to_png((folder / read_figures(folder)[0].svg).read_text("utf-8"))
    image = Image.open(io.BytesIO(png))
    assert len(image.getcolors(1 << 20)) > 20
