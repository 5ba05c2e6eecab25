"""Groups through Snakemake: tables by hospital, each hospital held out in turns, and nothing planned without them."""

import csv

import pytest
import yaml

from tests.data.roots import png, write_subset
from tests.data.roots import row as record
from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.core.groups.rows import GroupGap, GroupValue
from workflow_scripts.core.groups.values import group_value
from workflow_scripts.core.rows import LeftOutRow, MetricValue, Row
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow
CONFIG = "config/hospitals.yaml"
HOSPITALS = {"A": "A & <b>", "B": "B", "C": "Ç"}
RESULTS = "results/hospitals"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout, and a FLARE-shaped folder of three hospitals that share one case and one image."""
    place = checkout(tmp_path_factory.mktemp("hospitals"))
    names, records, images = list(HOSPITALS.values()), [], {}
    for number in range(90):
        images[f"imagesTr/{number}.png"] = png(3 if number == 4 else number)
        answer = "ABC"[(number // 3) % 3] if number % 3 else "A"
        entry = record(f"imagesTr/{number}.png", f"Which? ({number}) Options: A) Nevus B) Melanoma C) Scar", answer)
        case = "shared" if number in (7, 8) else f"case {number // 3 * 3 + number % 3}"
        records.append(entry | {"Groups": {"hospital": names[number % 3], "sex": "FM"[number % 2]}, "Case": case})
    write_subset(place / "lab", records, images)
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw |= {
        "results": RESULTS,
        "datasets": {"lab": {"source": "local", "path": "lab"}},
        "splits": {},
        "holdouts": {"by": {"dataset": "lab", "folder": "training", "group": "hospital", "values": HOSPITALS}},
        "systems": {
            "majority": {"baseline": "majority", "train": "by"},
            "nearest": {"baseline": "nearest", "train": "by"},
        },
        "judges": {},
        "evaluate": ["by"],
        "groups": {"columns": ["sex"], "least_cases": 5},
    }
    raw["models"], raw["recipes"] = {}, {}
    (place / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
    return place


def test_a_plan_has_the_pairs_of_splits_and_each_system_on_its_own_hospital_alone(folder):
    plan = planned(folder, "--configfile", CONFIG)
    assert (plan["data_split"], plan["infer_baseline"], plan["score_outcomes"]) == (6, 6, 6)
    assert (plan["score_groups"], plan["report_groups"], plan["report_holdouts"], plan["report_page"]) == (3, 3, 1, 3)


def test_a_plan_without_groups_has_no_job_of_them(folder):
    plan = planned(folder, "--configfile", "config/smoke.yaml")
    assert not {"score_groups", "report_groups", "report_holdouts"} & plan.keys()


@pytest.fixture(scope="module")
def done(folder):
    snakemake(folder, "--configfile", CONFIG)
    return folder / RESULTS


@pytest.mark.extended
def test_no_case_and_no_image_is_on_both_sides(done):
    for own, hospital in HOSPITALS.items():
        held, trained = (
            read_rows(done / f"splits/{name}/rows.parquet", Row) for name in (f"by-{own}", f"by-without-{own}")
        )
        assert {group_value(row, "hospital") for row in held} == {hospital} and len(held) == 30
        assert {group_value(row, "hospital") for row in trained} == {*HOSPITALS.values()} - {hospital}
        assert not {row.case_id for row in held} & {row.case_id for row in trained}
    left_out = {
        own: {entry.reason for entry in read_rows(done / f"splits/by-without-{own}/left_out.parquet", LeftOutRow)}
        for own in HOSPITALS
    }
    assert left_out == {"A": {"leaked_image"}, "B": {"leaked_image", "leaked_case"}, "C": {"leaked_case"}}


@pytest.mark.extended
def test_hospitals_stand_side_by_side(done):
    with (done / "holdouts/by/table.csv").open(newline="", encoding="utf-8") as stream:
        lines = list(csv.DictReader(stream))
    assert {line["value"] for line in lines} == set(HOSPITALS.values()) and len(lines) == 6
    for line in lines:
        own = next(name for name, value in HOSPITALS.items() if value == line["value"])
        assert line["evaluated_as"] == f"{line['system']}-without-{own}"
        metrics = read_rows(done / f"scores/by-{own}/metrics.parquet", MetricValue)
        (metric,) = [m for m in metrics if m.primary and m.subset == "macro" and m.system == line["evaluated_as"]]
        assert float(line["score"]) == metric.value and int(line["rows"]) == metric.rows
    text = (done / "holdouts/by/table.md").read_text(encoding="utf-8")
    assert "| A &amp; &lt;b&gt; | B | Ç | mean | worst |" in text and text.count("\n| classification ") == 2
    assert (done / "holdouts/by/table.tex").read_text(encoding="utf-8").isascii()


@pytest.mark.extended
def test_each_hospital_has_its_page_and_tables_by_sex(done):
    for own in HOSPITALS:
        values = read_rows(done / f"scores/by-{own}/groups.parquet", GroupValue)
        assert {(v.group, v.value) for v in values} == {("sex", "F"), ("sex", "M")}
        gaps = read_rows(done / f"scores/by-{own}/group_gaps.parquet", GroupGap)
        assert {g.system for g in gaps} == {f"majority-without-{own}", f"nearest-without-{own}"}
        page = (done / f"report/by-{own}/index.html").read_text(encoding="utf-8")
        assert 'id="group-1"' in page and f"majority-without-{own}" in page
        assert not [other for other in HOSPITALS if other != own and f"majority-without-{other}" in page]
        assert (done / f"report/by-{own}/groups.tex").is_file() and (done / f"report/by-{own}/groups.md").is_file()
        methods = (done / f"report/by-{own}/methods.md").read_text(encoding="utf-8")
        assert "Primary metrics are also given by sex" in methods


@pytest.mark.extended
def test_a_second_run_does_nothing(folder, done):
    assert "Nothing to be done" in snakemake(folder, "--configfile", CONFIG)
