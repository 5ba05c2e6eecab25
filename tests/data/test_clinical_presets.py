"""The presets of clinical sets, on imitations of the layouts that they name."""

import json

import pytest

from tests.data.clinical_layouts import admissions, cpc, grey_matters, healer
from tests.data.table_layouts import write_files
from tests.data.tables import entry, table_of
from workflow_scripts import ROOT
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.sources import presets
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.sources.table_admissions import write_table_admissions

CLINICAL = ("nejm-cpc", "nejm-cpc-next-test", "nejm-healer", "grey-matters", "probability-cases", "mimic-cdm")


def of_folder(table, folder):
    return [row for row in table.result.rows if row.folder == folder]


@pytest.mark.parametrize(
    ("preset", "layout", "rubric", "answer"),
    [
        ("nejm-cpc", cpc, "bond", "Gout"),
        ("nejm-cpc-next-test", cpc, "likert", "joint aspiration"),
        ("nejm-healer", healer, "r_idea", None),
        ("grey-matters", grey_matters, "management", None),
    ],
)
def test_a_case_of_a_journal_becomes_a_row_with_its_rubric_and_no_image(tmp_path, preset, layout, rubric, answer):
    table = table_of(tmp_path / "work", layout(tmp_path / "set"), preset=preset)
    assert table.faults == []
    assert {row.task for row in table.result.rows} == {"free_response"}
    for row in table.result.rows:
        stated = json.loads(row.rubric)
        assert (stated if isinstance(stated, str) else stated["rubric"]) == rubric and row.images == ()
    scored = of_folder(table, "testing")
    assert scored and {row.case_id for row in scored}.isdisjoint({row.case_id for row in of_folder(table, "training")})
    assert answer is None or scored[0].answer == answer


def test_the_stages_of_a_case_are_one_case(tmp_path):
    table = table_of(tmp_path / "work", healer(tmp_path / "set", cases=2), preset="nejm-healer")
    scored = of_folder(table, "testing")
    assert len(scored) == 8 and len({row.case_id for row in scored}) == 2
    assert {row.groups[0].value for row in scored} == {"1", "2", "3", "4"}


def test_items_of_a_case_that_do_not_make_100_points_go_to_quarantine(tmp_path):
    place = grey_matters(tmp_path / "set")
    rows = [json.loads(line) for line in (place / "cases.jsonl").read_text().splitlines()]
    rows[0]["rubric"][0]["points"] = 49
    (place / "cases.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    table = table_of(tmp_path / "work", place, preset="grey-matters")
    assert [reason for reason, _ in table.faults] == ["bad_rubric"] and len(table.result.rows) == 2


def test_the_published_probabilities_are_nine_questions_on_five_cases(tmp_path):
    table = table_of(tmp_path / "work", ROOT / "config/probability", preset="probability-cases")
    scored = of_folder(table, "testing")
    assert table.faults == [] and len(scored) == 9 and len({row.case_id for row in scored}) == 5
    assert all(row.expected.percent and row.task == "probability" for row in table.result.rows)
    assert {row.groups[0].value for row in scored} == {"before", "positive"}


@pytest.fixture(scope="module")
def cdm(tmp_path_factory):
    place = tmp_path_factory.mktemp("cdm")
    said = write_table_admissions(info=tuple(admissions(place / "info")), out=place / "set", examples=0.3)
    return said, table_of(place / "work", place / "set", preset="mimic-cdm")


def test_admissions_become_decisions_with_what_was_known(cdm):
    said, table = cdm
    counts = [len(of_folder(table, folder)) for folder in ("testing", "training")]
    assert said == f"{counts[0]} cases, {counts[1]} examples" and sum(counts) == 16 and min(counts) > 0
    assert table.faults == [] and {row.task for row in table.result.rows} == {"clinical_decision"}
    row = next(row for row in table.result.rows if json.loads(row.answer_raw)["pathology"] == "appendicitis")
    assert "White Blood Cells: 14.2 K/uL (range 4.5 to 11)" in row.question
    assert "CT of the abdomen\nThe wall is thick." in row.question and "lungs" not in row.question
    assert "50882" not in row.question and "Lipase" not in row.question  # not needed and not neutral
    assert row.answer.startswith("Final Diagnosis: Acute appendicitis")
    gallstones = next(row for row in table.result.rows if row.groups[0].value == "pancreatitis")
    assert "item 50956: 60 IU/L\n" in gallstones.question


def test_labels_of_items_come_from_the_sets_own_table(tmp_path):
    place = write_files(tmp_path, {"labels.csv": "itemid,label,fluid\n50956,Lipase,Blood\n"})
    write_table_admissions(info=tuple(admissions(place / "info", 1)), out=place / "set", labels=place / "labels.csv")
    assert "(Blood) Lipase: 60 IU/L" in "".join(
        json.loads(line)["laboratory"]
        for name in ("cases", "examples")
        for line in (place / f"set/{name}.jsonl").read_text().splitlines()
    )


@pytest.mark.parametrize(
    ("name", "text", "error", "said"),
    [
        ("gout.json", "{}", Refused, "begins with none of appendicitis"),
        ("appendicitis.pkl", "\x80\x04", BadFile, "is not JSON that can be read"),
        ("appendicitis.json", "[]", BadFile, "no JSON object of admissions"),
        ("appendicitis.json", '{"1": {}}', BadFile, "admission 1: 'Patient History' is NoneType"),
    ],
)
def test_a_file_of_another_form_is_refused_with_a_remedy(tmp_path, name, text, error, said):
    place = write_files(tmp_path, {name: text})
    with pytest.raises(error, match=said):
        write_table_admissions(info=(place / name,), out=tmp_path / "set")


@pytest.mark.parametrize("preset", CLINICAL)
def test_the_line_that_a_preset_shows_is_one_that_it_reads(tmp_path, preset):
    text = (ROOT / f"workflow_scripts/core/config/sources/presets/{preset}.yaml").read_text(encoding="utf-8")
    comment = "".join(line.removeprefix("#").strip() + " " for line in text.splitlines() if line.startswith("#   "))
    row = json.loads(comment)
    if "rubric" in row:
        assert sum(item["points"] for item in row["rubric"]) == 100
    place = write_files(tmp_path / "set", {"cases.jsonl": json.dumps(row)})
    table = table_of(tmp_path / "work", place, preset=preset)
    assert table.faults == [] and len(table.result.rows) == 1
    assert preset in presets.PRESETS


@pytest.mark.parametrize("preset", CLINICAL)
def test_a_preset_counts_as_the_keys_that_it_stands_for(preset):
    keys = presets.keys_of(preset) | {"path": "here"}
    named = entry(preset=preset, path="here").root
    assert named.source_spec() == entry(**keys).root.source_spec()
    assert named.source_spec() != entry(**keys | {"question": "{case}?"}).root.source_spec()
