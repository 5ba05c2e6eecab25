"""Explanation maps through Snakemake: planned where they are configured, and on the page of a run."""

import csv

import pytest
import yaml

from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.core.saliency.rows import SaliencyMap
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow
CONFIG = "config/why.yaml"
MAPS = {
    "why": {"system": "base", "rows": 2, "steps": 2, "draws": 1, "methods": ["occlusion", "counterfactual"]},
    "tuned_why": {"system": "tuned", "split": "validation", "rows": 2},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = checkout(tmp_path_factory.mktemp("why"))
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    (place / CONFIG).write_text(yaml.safe_dump(raw | {"saliency": MAPS}, sort_keys=False))
    return place


def test_a_plan_has_a_job_of_maps_an_entry_and_one_of_their_table(folder):
    plan = planned(folder, "--configfile", CONFIG)
    assert (plan["saliency_map"], plan["saliency_table"], plan["report_page"]) == (2, 1, 1)


def test_a_plan_without_the_section_has_no_job_of_maps(folder):
    plan = planned(folder, "--configfile", "config/smoke.yaml")
    assert not {"saliency_map", "saliency_table"} & set(plan) and plan["report_page"] == 1


@pytest.mark.extended
def test_a_run_puts_maps_on_the_page_and_a_second_one_does_nothing(folder):
    page = "results/smoke/report/validation/index.html"
    snakemake(folder, page, "--configfile", CONFIG)
    results = folder / "results/smoke"
    maps = read_rows(results / "saliency/validation/base/why/maps.parquet", SaliencyMap)
    assert len({one.uid for one in maps}) == 2 and {one.method for one in maps} == {"occlusion"}
    with (results / "report/validation/saliency.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert {line["name"] for line in table} == set(MAPS) and "changed_box" in {line["measure"] for line in table}
    text = (folder / page).read_text(encoding="utf-8")
    assert "Explanation maps" in text and "tuned_why" in text
    assert planned(folder, page, "--configfile", CONFIG) == {}
