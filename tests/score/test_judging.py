"""Judges fail in every way; the run ends with what is valid, says what is not, and stops above the allowed share."""

import json
import subprocess
import sys

import pytest

from tests.score.conftest import prediction, row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import RecordedJudge, RuleBasedJudge
from workflow_scripts.core.tables import JUDGED_FINDINGS, JUDGEMENTS, REPORT_SCORES, read_table
from workflow_scripts.judges.crimson import crimson
from workflow_scripts.judges.judgements import JudgeDied, Judgement, Pair, Store, judge_pairs
from workflow_scripts.score.findings import write_findings
from workflow_scripts.score.judge import judge_system
from workflow_scripts.score.reports import score_reports


def reply(significance: str = "urgent", *, found: bool = True) -> str:
    """A valid CRIMSON reply about one reference finding."""
    finding = {"finding": "pneumothorax", "clinical_significance": significance}
    return json.dumps(
        {
            "reference_findings": [{"id": "R1"} | finding],
            "predicted_findings": [{"id": "P1"} | finding] if found else [],
            "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}] if found else [],
            "errors": {"false_findings": [], "missing_findings": [] if found else ["R1"], "attribute_errors": []},
        }
    )  # fmt: skip


FAULTS = {
    "empty object": "{}",
    "prose": "Both reports are quite similar.",
    "truncated": reply()[:120],
    "wrong ids": reply().replace('"ref_id": "R1"', '"ref_id": "R9"'),
    "nothing": "",
    "unknown word": reply().replace("urgent", "very bad"),
}


class Scripted:
    """A judge that replies by script and counts what it is asked."""

    def __init__(self, answer):
        self.identity = {"backend": "scripted"}
        self.answer = answer
        self.asked = 0

    def ask(self, pairs, attempt):
        self.asked += len(pairs)
        return [self.answer(pair, attempt) for pair in pairs]


PAIRS = [Pair(f"Finding {number}.", "Something.") for number in range(6)]


def test_a_pair_is_judged_once_ever(tmp_path):
    judge = Scripted(lambda pair, attempt: Judgement("valid", pair.reference))
    first = judge_pairs(PAIRS * 3, Store(tmp_path, judge.identity), judge, 2)
    assert judge.asked == len(PAIRS)
    second = judge_pairs(PAIRS, Store(tmp_path, judge.identity), judge, 2)
    assert judge.asked == len(PAIRS)
    assert first == second
    judge_pairs(PAIRS, Store(tmp_path, {"backend": "scripted", "revision": "2"}), judge, 2)
    assert judge.asked == 2 * len(PAIRS)


def test_an_invalid_reply_is_asked_for_again_twice_and_the_last_one_kept(tmp_path):
    judge = Scripted(lambda pair, attempt: Judgement("valid" if attempt == 2 else "invalid", str(attempt), "fault"))
    judged = judge_pairs(PAIRS[:1], Store(tmp_path, judge.identity), judge, 2)
    assert judged[PAIRS[0]] == Judgement("valid", "2", "fault")
    assert judge.asked == 3
    never = Scripted(lambda pair, attempt: Judgement("invalid", "x", "fault"))
    judge_pairs(PAIRS[1:2], Store(tmp_path, never.identity), never, 2)
    assert never.asked == 3


def test_no_reply_is_invalid_now_and_asked_for_in_the_next_run(tmp_path):
    silent = Scripted(lambda pair, attempt: None)
    judged = judge_pairs(PAIRS, Store(tmp_path, silent.identity), silent, 1)
    assert {judgement.status for judgement in judged.values()} == {"invalid"}
    awake = Scripted(lambda pair, attempt: Judgement("valid", "x"))
    judged = judge_pairs(PAIRS, Store(tmp_path, silent.identity), awake, 1)
    assert awake.asked == len(PAIRS)
    assert {judgement.status for judgement in judged.values()} == {"valid"}


def test_what_a_dying_judge_said_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.judges.judgements.CHUNK", 2)

    def answer(pair, attempt):
        if pair == PAIRS[3]:
            raise JudgeDied("out of memory")
        return Judgement("valid", "x")

    dying = Scripted(answer)
    judged = judge_pairs(PAIRS, Store(tmp_path, dying.identity), dying, 2)
    assert [judged[pair].status for pair in PAIRS] == ["valid", "valid", "invalid", "invalid", "invalid", "invalid"]
    assert "out of memory" in judged[PAIRS[5]].reason
    well = Scripted(lambda pair, attempt: Judgement("valid", "x"))
    judge_pairs(PAIRS, Store(tmp_path, dying.identity), well, 2)
    assert well.asked == 4


def recorded(tmp_path, replies: dict[tuple[str, str], str], **changes) -> RecordedJudge:
    path = tmp_path / "replies.jsonl"
    lines = [
        json.dumps({"reference": reference, "hypothesis": hypothesis, "reply": text})
        for (reference, hypothesis), text in replies.items()
    ]
    path.write_text("\n".join(lines))
    return RecordedJudge(metric="crimson", path=str(path), freeze_references=False, **changes)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_an_invalid_row_and_the_mean_is_over_the_valid_ones(fault, tmp_path, tables):
    rows = [
        row(0, "report", "Pneumothorax."),
        row(1, "report", "Left pneumothorax."),
        row(2, "report", "Apical pneumothorax."),
    ]
    split, answers = tables(rows, [prediction(r["uid"], "Pneumothorax.") for r in rows])
    judge = recorded(
        tmp_path,
        {
            ("Pneumothorax.", "Pneumothorax."): reply(),
            ("Left pneumothorax.", "Pneumothorax."): reply(found=False),
            ("Apical pneumothorax.", "Pneumothorax."): FAULTS[fault],
        },
        invalid_share=0.5,
    )  # fmt: skip
    out, scores = tmp_path / "j.parquet", tmp_path / "r.parquet"
    judge_system(split, answers, "model", judge, tmp_path / "store", out)
    statuses = [entry["status"] for entry in read_table(out, JUDGEMENTS).to_pylist()]
    assert sorted(statuses) == ["invalid", "valid", "valid"]
    score_reports(split, answers, [out], scores)
    values = {
        entry["uid"]: entry["value"]
        for entry in read_table(scores, REPORT_SCORES).to_pylist()
        if entry["metric"] == "crimson_model"
    }
    assert values == {"u0000": 1.0, "u0001": 0.0, "u0002": None}
    bounds = metric_values(split, answers, scores, tmp_path)
    assert bounds["crimson_model"] == pytest.approx(0.5)
    assert bounds["crimson_model_lowest"] == pytest.approx(0.0)
    assert bounds["crimson_model_highest"] == pytest.approx(2 / 3)


def metric_values(split, answers, scores, folder) -> dict[str, float]:
    from workflow_scripts.core.config.scoring import Scoring
    from workflow_scripts.core.tables import METRICS
    from workflow_scripts.score.metrics import score_systems
    from workflow_scripts.score.outcomes import read_outcomes

    outcomes, out = folder / "o.parquet", folder / "m.parquet"
    read_outcomes(split, answers, "base", outcomes)
    score_systems([outcomes], [scores], Scoring(resamples=100), out)
    return {r["metric"]: r["value"] for r in read_table(out, METRICS).to_pylist() if r["dataset"] == "macro"}


def test_too_many_invalid_replies_stop_the_step_with_a_sentence(tmp_path, tables):
    rows = [row(0, "report", "Pneumothorax."), row(1, "report", "Left pneumothorax.")]
    split, answers = tables(rows, [prediction(r["uid"], "Pneumothorax.") for r in rows])
    judge = recorded(tmp_path, {("Pneumothorax.", "Pneumothorax."): reply()}, invalid_share=0.2)
    out = tmp_path / "j.parquet"
    with pytest.raises(Refused, match=r"judge model: 50% of its replies are invalid, 20% are allowed"):
        judge_system(split, answers, "model", judge, tmp_path / "store", out)
    assert not out.exists()
    command = [sys.executable, "-m", "workflow_scripts.score.judge", "--split", split, "--predictions", answers,
               "--judge", "model", "--spec", judge.spec(), "--store", tmp_path / "store", "--out", out]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_systems_share_the_denominator_of_a_reference(tmp_path, tables):
    """Beside a short hypothesis the judge finds one finding in the reference, beside itself two."""
    two = json.loads(reply())
    two["reference_findings"].append({"id": "R2", "finding": "effusion", "clinical_significance": "urgent"})
    two["predicted_findings"].append({"id": "P2", "finding": "effusion", "clinical_significance": "urgent"})
    two["matched_findings"].append({"ref_id": "R2", "pred_id": "P2"})
    whole = crimson(two).reference_weight
    assert whole == 2.0
    alone = json.loads(reply())
    alone["predicted_findings"].append({"id": "P2", "finding": "mass", "clinical_significance": "urgent"})
    alone["errors"]["false_findings"] = ["P2"]
    assert crimson(alone).score == 0.0
    assert crimson(alone, reference_weight=whole).score == 0.5


def test_the_lexicon_abstains_in_the_table_and_its_findings_are_exported(tmp_path, tables):
    rows = [
        row(0, "report", "Small left pleural effusion. Cardiomegaly."),
        row(1, "report", "Optic disc cupping.", modality="Retinography"),
    ]
    split, answers = tables(rows, [prediction("u0000", "Left effusion."), prediction("u0001", "Drusen.")])
    out, findings = tmp_path / "j.parquet", tmp_path / "f.parquet"
    judge_system(split, answers, "offline", RuleBasedJudge(), tmp_path / "store", out)
    judged = read_table(out, JUDGEMENTS).to_pylist()
    assert sorted(entry["status"] for entry in judged) == ["abstained", "valid"]
    write_findings([out], findings)
    fates = {(f["side"], f["id"]): f["fate"] for f in read_table(findings, JUDGED_FINDINGS).to_pylist()}
    assert fates == {("reference", "R1"): "matched", ("reference", "R2"): "missing", ("predicted", "P1"): "matched"}
