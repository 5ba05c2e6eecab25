"""Rubrics through Snakemake: graded answers and human scores in, grey and relied-on columns out."""

import csv
import json

import pytest
import yaml

from tests.data.roots import png, write_subset
from tests.data.roots import row as record
from tests.report.test_validity import smollm2_replies
from tests.score.graded import GRADED, human_line, reply
from tests.workflow.runs import checkout, planned, snakemake
from workflow_scripts.core.rows import JudgedPair, MetricValue
from workflow_scripts.core.tables import read_rows

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
CONFIG, RESULTS = "config/rubrics.yaml", "results/rubrics"
OF_RULES = ("score_judge", "score_validity", "score_reports", "report_page")


def lines_of(replies) -> str:
    entries = (human_line(case) | {"reply": text, "scores": None} for case, text in replies)
    return "".join(json.dumps({key: value for key, value in e.items() if key != "scores"}) + "\n" for e in entries)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run: 40 answers, SmolLM2's replies about them, and those of a judge that agrees with people."""
    place = checkout(tmp_path_factory.mktemp("rubrics"))
    images = {f"imagesVal/{n}.png": png(n) for n in range(len(GRADED))}
    rows = [
        record(name, case.question, case.reference, "Free response") | {"Rubric": json.loads(case.rubric)}
        for name, case in zip(images, GRADED, strict=True)
    ]
    write_subset(place / "cases", rows, images, name="cpc", folder="validation-public", file="cpc_questions_val.json")
    answers = [
        {"uid": f"validation-public/Xray/cpc/cpc_questions_val/{n}", "prediction": case.answer}
        for n, case in enumerate(GRADED)
    ]
    (place / "theirs.jsonl").write_text("".join(json.dumps(answer) + "\n" for answer in answers))
    (place / "human.jsonl").write_text("".join(json.dumps(human_line(case)) + "\n" for case in GRADED))
    (place / "smollm2.jsonl").write_text(lines_of(smollm2_replies()))
    (place / "sound.jsonl").write_text(lines_of([(case, reply(case, case.score)) for case in GRADED]))
    judge = {"backend": "recorded", "metric": "rubric", "retries": 0, "invalid_share": 1.0}
    judge |= {"validity": {"path": "human.jsonl"}}
    raw = {
        "results": RESULTS,
        "datasets": {"cases": {"source": "local", "path": "cases"}},
        "splits": {"validation": {"dataset": "cases", "folder": "validation-public"}},
        "models": {},
        "systems": {"theirs": {"predictions": "theirs.jsonl"}},
        "judges": {name: judge | {"path": f"{name}.jsonl"} for name in ("smollm2", "sound")},
        "evaluate": ["validation"],
        "scoring": {"resamples": 100},
        "report": {"cases": 2},
    }
    (place / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
    snakemake(place, "--configfile", CONFIG)
    return place


def test_the_column_of_smollm2_is_grey_by_itself_and_the_sound_judge_s_is_not(folder):
    report = folder / RESULTS / "report/validation"
    table = (report / "table.md").read_text()
    assert "| free response | **macro** | bond (sound) ↑ | 40 |" in table
    assert "below validity" in next(line for line in table.splitlines() if "bond (smollm2) ↑" in line)
    page = (report / "index.html").read_text()
    validity = page.split('aria-labelledby="validity-title"')[1].split("</table>")[0]
    assert validity.count('<tr class="grey">') == 1 and validity.count("<tr><th") == 2  # the head, and the sound judge
    assert 'id="calibration-bond"' in page and "flarebenchgrey" in (report / "table.tex").read_text()
    with (report / "table.csv").open(newline="") as stream:
        notes = {(line["judge"], line["note"]) for line in csv.DictReader(stream) if line["metric"] == "bond"}
    assert notes == {("smollm2", "below_validity"), ("sound", "")}
    assert "is relied on where its weighted kappa" in (report / "methods.md").read_text()


def test_the_validity_of_a_judge_is_a_table_of_its_own(folder):
    with (folder / RESULTS / "validity/sound/table.csv").open(newline="") as stream:
        lines = {line["measure"]: line for line in csv.DictReader(stream)}
    assert lines["weighted_kappa"]["value"] == "1" and lines["weighted_kappa"]["valid"] == "true"


def test_answers_and_human_scores_share_the_store(folder):
    pairs = read_rows(folder / RESULTS / "scores/validation/judgements/sound.1-of-1.parquet", JudgedPair)
    log = (folder / RESULTS / "logs/score_validity/sound.log").read_text()
    other = (folder / RESULTS / "logs/score_judge/validation.sound.1-of-1.log").read_text()
    assert len(pairs) == 40
    assert "40 of them stored, 0 to ask" in log or "40 of them stored, 0 to ask" in other


def test_changed_human_scores_judge_nothing_again(folder):
    assert planned(folder, "--configfile", CONFIG) == {}
    human = folder / "human.jsonl"
    before = human.read_bytes()
    human.write_bytes(before + b"\n")
    plan = planned(folder, "--configfile", CONFIG)
    human.write_bytes(before)
    assert {rule: plan.get(rule, 0) for rule in OF_RULES} == {
        "score_judge": 0,
        "score_validity": 2,
        "score_reports": 1,
        "report_page": 1,
    }


def test_a_stricter_threshold_judges_nothing_again(folder):
    raw = yaml.safe_load((folder / CONFIG).read_text())
    for judge in raw["judges"].values():
        judge["validity"]["at_least"] = 0.9
    (folder / "strict.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    plan = planned(folder, "--configfile", "strict.yaml")
    assert (plan.get("score_judge", 0), plan["score_validity"], plan["score_reports"]) == (0, 2, 1)


def test_missing_human_scores_are_named_before_anything_runs(folder):
    raw = yaml.safe_load((folder / CONFIG).read_text())
    raw["judges"]["sound"]["validity"]["path"] = "nowhere.jsonl"
    (folder / "missing.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    assert "nowhere.jsonl" in snakemake(folder, "-n", "--configfile", "missing.yaml", code=1)


def test_values_are_those_of_the_replies(folder):
    values = read_rows(folder / RESULTS / "scores/validation/metrics.parquet", MetricValue)
    by_judge = {v.judge: v for v in values if (v.metric, v.subset) == ("bond", "macro")}
    assert by_judge["sound"].value == pytest.approx(sum(case.score for case in GRADED) / len(GRADED))
    assert by_judge["smollm2"].invalid > 20 and not by_judge["smollm2"].primary
