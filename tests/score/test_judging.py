"""Judges fail in every way; the run ends with what is valid, says what is not, and stops above the allowed share."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.score.conftest import prediction, row
from workflow_scripts.cache.given_files import identity_of_file
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import Judge, JudgeSection, RecordedJudge, RuleBasedJudge
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import JudgedFinding, JudgedPair, MetricValue, Prediction, ReportScore, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.backends.recorded import RecordedReplies
from workflow_scripts.judges.judgements import JudgeDied, Judgement, Pair, Store, judge_pairs
from workflow_scripts.score.judge import judge
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import write_reports


def reply(significance: str = "urgent", *, matched: bool = True) -> str:
    """A valid CRIMSON reply about one reference finding."""
    finding = {"finding": "pneumothorax", "clinical_significance": significance}
    return json.dumps(
        {
            "reference_findings": [{"id": "R1"} | finding],
            "predicted_findings": [{"id": "P1"} | finding] if matched else [],
            "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}] if matched else [],
            "errors": {"false_findings": [], "missing_findings": [] if matched else ["R1"], "attribute_errors": []},
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
    """A judge that replies by script and counts the pairs that it is given."""

    def __init__(self, answer):
        self.identity = {"backend": "scripted"}
        self.answer = answer
        self.pairs = 0

    def ask(self, pairs, attempt):
        for pair in pairs:
            self.pairs += 1
            yield pair, self.answer(pair, attempt)


PAIRS = [Pair(f"Finding {number}.", "Something.") for number in range(6)]


def test_a_pair_is_judged_once_ever(tmp_path):
    scripted = Scripted(lambda pair, attempt: Judgement("valid", pair.reference))
    first = judge_pairs(PAIRS * 3, Store(tmp_path, scripted.identity), scripted, 2)
    assert scripted.pairs == len(PAIRS)
    second = judge_pairs(PAIRS, Store(tmp_path, scripted.identity), scripted, 2)
    assert scripted.pairs == len(PAIRS)
    assert first == second
    judge_pairs(PAIRS, Store(tmp_path, {"backend": "scripted", "revision": "2"}), scripted, 2)
    assert scripted.pairs == 2 * len(PAIRS)


def test_an_invalid_reply_is_asked_for_again_twice_and_in_the_next_run_until_it_is_valid(tmp_path):
    scripted = Scripted(lambda pair, attempt: Judgement("valid" if attempt == 2 else "invalid", str(attempt), "fault"))
    judgements = judge_pairs(PAIRS[:1], Store(tmp_path, scripted.identity), scripted, 2)
    assert judgements[PAIRS[0]] == Judgement("valid", "2", "fault")
    assert scripted.pairs == 3
    never = Scripted(lambda pair, attempt: Judgement("invalid", "x", "fault"))
    judgements = judge_pairs(PAIRS[1:2], Store(tmp_path, never.identity), never, 2)
    assert judgements[PAIRS[1]] == Judgement("invalid", "x", "fault")
    assert never.pairs == 3
    judge_pairs(PAIRS[1:2], Store(tmp_path, never.identity), never, 2)
    assert never.pairs == 6
    at_last = Scripted(lambda pair, attempt: Judgement("valid", "y"))
    assert judge_pairs(PAIRS[1:2], Store(tmp_path, never.identity), at_last, 2)[PAIRS[1]].status == "valid"
    judge_pairs(PAIRS[:2], Store(tmp_path, never.identity), at_last, 2)
    assert at_last.pairs == 1


def test_nothing_that_was_refused_is_stored(tmp_path):
    """What a judge could not read, did not answer or answered wrongly leaves no line; an abstention is an answer."""
    by_pair = dict(zip(PAIRS, ["valid", "invalid", None, "abstained", "invalid", "valid"], strict=True))
    scripted = Scripted(lambda pair, attempt: by_pair[pair] and Judgement(by_pair[pair], "x", "why"))
    judge_pairs(PAIRS, Store(tmp_path, scripted.identity), scripted, 1)
    lines = [json.loads(line) for file in tmp_path.rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert sorted(line["value"]["status"] for line in lines) == ["abstained", "valid", "valid"]
    scripted.pairs = 0
    judge_pairs(PAIRS, Store(tmp_path, scripted.identity), scripted, 0)
    assert scripted.pairs == 3


def test_a_step_that_was_refused_goes_on_with_the_replies_that_were_valid(tmp_path, tables):
    rows = [row(0, "report", "Pneumothorax."), row(1, "report", "Left pneumothorax.")]
    split, answers = tables(rows, [prediction(r.uid, "Pneumothorax.") for r in rows])
    section = recorded(tmp_path, {("Pneumothorax.", "Pneumothorax."): reply()})
    with pytest.raises(Refused, match="50% of its replies are invalid"):
        judged(split, answers, "model", section, tmp_path)
    stored = [line for file in (tmp_path / "store").rglob("*.jsonl") for line in file.read_text().splitlines()]
    assert len(stored) == 1


def test_no_reply_is_invalid_now_and_asked_for_in_the_next_run(tmp_path):
    silent = Scripted(lambda pair, attempt: None)
    judgements = judge_pairs(PAIRS, Store(tmp_path, silent.identity), silent, 1)
    assert {judgement.status for judgement in judgements.values()} == {"invalid"}
    awake = Scripted(lambda pair, attempt: Judgement("valid", "x"))
    judgements = judge_pairs(PAIRS, Store(tmp_path, silent.identity), awake, 1)
    assert awake.pairs == len(PAIRS)
    assert {judgement.status for judgement in judgements.values()} == {"valid"}


def test_what_a_dying_judge_said_is_stored(tmp_path):
    def answer(pair, attempt):
        if pair == PAIRS[3]:
            raise JudgeDied("out of memory")
        return Judgement("valid", "x")

    dying = Scripted(answer)
    judgements = judge_pairs(PAIRS, Store(tmp_path, dying.identity), dying, 2)
    assert [judgements[pair].status for pair in PAIRS] == ["valid", "valid", "valid", "invalid", "invalid", "invalid"]
    assert "out of memory" in judgements[PAIRS[5]].reason
    well = Scripted(lambda pair, attempt: Judgement("valid", "x"))
    judge_pairs(PAIRS, Store(tmp_path, dying.identity), well, 2)
    assert well.pairs == 3


def recorded(tmp_path, replies: dict[tuple[str, str], str], **changes) -> RecordedJudge:
    path = tmp_path / "replies.jsonl"
    lines = [
        json.dumps({"reference": reference, "hypothesis": hypothesis, "reply": text})
        for (reference, hypothesis), text in replies.items()
    ]
    path.write_text("\n".join(lines))
    return RecordedJudge(**{"metric": "crimson", "path": str(path), "freeze_references": False} | changes)


def test_recorded_replies_may_hold_the_line_separators_that_json_leaves_as_they_are(tmp_path):
    strange = "Line\u2028separator, next\u0085line, \x0b and \u2029."
    path = tmp_path / "replies.jsonl"
    entries = [{"reference": strange, "hypothesis": name, "reply": f"no {strange}"} for name in "ab"]
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries]
    assert all(len(line.splitlines()) > 1 for line in lines)
    path.write_text("\r\n".join(lines) + "\n\n", encoding="utf-8", newline="")
    backend = RecordedReplies(RecordedJudge(metric="green", path=str(path)))
    replies = [judgement.reply for _, judgement in backend.ask([Pair(strange, name) for name in "ab"], 0)]
    assert replies == [f"no {strange}"] * 2
    path.write_text("\n".join([*lines, "", "{}"]), encoding="utf-8")
    with pytest.raises(BadFile, match="line 4: expected reference, hypothesis and reply"):
        RecordedReplies(RecordedJudge(metric="green", path=str(path)))


def test_recorded_replies_below_the_users_folder_are_read_and_noted(tmp_path, tables, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    split, answers = tables([row(0, "report", "Pneumothorax.")], [prediction("u0000", "Pneumothorax.")])
    section = recorded(tmp_path, {("Pneumothorax.", "Pneumothorax."): reply()}, path="~/replies.jsonl")
    seen, files = tmp_path / "seen.json", {"split": split, "predictions": [answers], "store": tmp_path / "s"}
    planned = identity_of_file(section.file, seen)
    judge(**files, name="panel", spec=JudgeSection(section), content=planned, seen=seen, out=tmp_path / "j")
    assert [pair.status for pair in read_rows(tmp_path / "j", JudgedPair)] == ["valid"]
    assert not (tmp_path / "~").exists()
    assert identity_of_file(section.file, seen) == planned
    recorded(tmp_path, {("Pneumothorax.", "Pneumothorax."): reply(matched=False)})
    os.utime(section.file, (1, 1))
    again = identity_of_file(section.file, seen)
    assert again != planned
    judge(**files, name="panel", spec=JudgeSection(section), content=again, seen=seen, out=tmp_path / "j")
    assert [json.loads(pair.reply)["errors"]["missing_findings"] for pair in read_rows(tmp_path / "j", JudgedPair)] == [
        ["R1"]
    ]


def judged(split, predictions, name: str, section: Judge, folder):
    """The table of judged pairs that the step writes."""
    out = folder / f"{name}.judgements.parquet"
    spec = JudgeSection(section)
    judge(split=split, predictions=[predictions], name=name, spec=spec, store=folder / "store", out=out)
    return out


def scored(split, predictions, judgements, folder):
    """The tables of report scores and of findings that the step writes."""
    out, findings = folder / "scores.parquet", folder / "findings.parquet"
    write_reports(split=split, predictions=predictions, judgements=judgements, out=out, findings=findings)
    return out, findings


def metrics_of(split, predictions, scores, folder, rule_based_judges=()) -> dict[tuple, MetricValue]:
    """Macro metrics by name, judge and stratum."""
    outcomes, out = folder / "o.parquet", folder / "m.parquet"
    write_outcomes(split=split, predictions=predictions, system="base", out=outcomes)
    write_metrics(
        outcomes=[outcomes],
        report_scores=[scores],
        rule_based_judges=rule_based_judges,
        scoring=Scoring(resamples=100),
        out=out,
    )
    values = [value for value in read_rows(out, MetricValue) if value.subset == "macro"]
    by_key = {(value.metric, value.judge, value.stratum): value for value in values}
    assert len(by_key) == len(values)
    return by_key


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_an_invalid_row_and_the_mean_is_over_the_valid_ones(fault, tmp_path, tables):
    rows = [
        row(0, "report", "Pneumothorax."),
        row(1, "report", "Left pneumothorax."),
        row(2, "report", "Apical pneumothorax."),
    ]
    split, answers = tables(rows, [prediction(r.uid, "Pneumothorax.") for r in rows])
    section = recorded(
        tmp_path,
        {
            ("Pneumothorax.", "Pneumothorax."): reply(),
            ("Left pneumothorax.", "Pneumothorax."): reply(matched=False),
            ("Apical pneumothorax.", "Pneumothorax."): FAULTS[fault],
        },
        invalid_share=0.5,
    )
    out = judged(split, answers, "model", section, tmp_path)
    assert sorted(pair.status for pair in read_rows(out, JudgedPair)) == ["invalid", "valid", "valid"]
    scores, _ = scored(split, answers, [out], tmp_path)
    values = {
        score.uid: score.value
        for score in read_rows(scores, ReportScore)
        if (score.metric, score.judge, score.stratum) == ("crimson", "model", None)
    }
    assert values == {"u0000": 1.0, "u0001": 0.0, "u0002": None}
    metrics = metrics_of(split, answers, scores, tmp_path)
    assert metrics["crimson", "model", None].value == pytest.approx(0.5)
    assert metrics["crimson_lowest", "model", None].value == pytest.approx(0.0)
    assert metrics["crimson_highest", "model", None].value == pytest.approx(2 / 3)


def test_too_many_invalid_replies_stop_the_step_with_a_sentence(tmp_path, tables):
    rows = [row(0, "report", "Pneumothorax."), row(1, "report", "Left pneumothorax.")]
    split, answers = tables(rows, [prediction(r.uid, "Pneumothorax.") for r in rows])
    section = recorded(tmp_path, {("Pneumothorax.", "Pneumothorax."): reply()}, invalid_share=0.2)
    with pytest.raises(Refused, match=r"judge model: 50% of its replies are invalid, 20% are allowed"):
        judged(split, answers, "model", section, tmp_path)
    assert not list(tmp_path.glob("*.judgements.parquet"))
    command = [sys.executable, "-m", "workflow_scripts.score.judge", "--split", split, "--predictions", answers]
    command += ["--name", "model", "--spec", section.spec(), "--store", tmp_path / "store", "--out", tmp_path / "j"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1


def test_a_section_that_is_none_is_refused_by_its_flag(tmp_path):
    command = [sys.executable, "-m", "workflow_scripts.score.judge", "--split", "s", "--predictions", "p",
               "--name", "model", "--spec", '{"backend": "oracle"}', "--store", "s", "--out", "o"]  # fmt: skip
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    assert "oracle" in ended.stderr + ended.stdout


WHOLE = "Pneumothorax and effusion."
PART = "Pneumothorax and mass."


def replies_that_weigh_the_reference_anew() -> dict[tuple[str, str], str]:
    """Beside a short hypothesis the judge names one finding of the reference, beside itself two."""
    alone = json.loads(reply())
    for side in ("reference_findings", "predicted_findings"):
        alone[side].append({"id": f"{side[0].upper()}2", "finding": "effusion", "clinical_significance": "urgent"})
    alone["matched_findings"].append({"ref_id": "R2", "pred_id": "P2"})
    joint = json.loads(reply())
    joint["predicted_findings"].append({"id": "P2", "finding": "mass", "clinical_significance": "urgent"})
    joint["errors"]["false_findings"] = ["P2"]
    return {(WHOLE, WHOLE): json.dumps(alone), (WHOLE, PART): json.dumps(joint)}


@pytest.mark.parametrize(("freeze", "value"), [(True, 0.5), (False, 0.0)])
def test_systems_share_the_denominator_of_a_reference(freeze, value, tmp_path, tables):
    """One urgent finding matched, one false: (1 - 1) / 1 beside the hypothesis; (2 - 1) / 2 by the whole reference.

    The credited share of the reference, all of it here, counts against the reference's weight by itself.
    """
    split, answers = tables([row(0, "report", WHOLE)], [prediction("u0000", PART)])
    section = recorded(tmp_path, replies_that_weigh_the_reference_anew(), freeze_references=freeze)
    out = judged(split, answers, "model", section, tmp_path)
    assert {(pair.reference, pair.hypothesis) for pair in read_rows(out, JudgedPair)} == (
        {(WHOLE, WHOLE), (WHOLE, PART)} if freeze else {(WHOLE, PART)}
    )
    scores, _ = scored(split, answers, [out], tmp_path)
    crimson = [s.value for s in read_rows(scores, ReportScore) if s.metric == "crimson" and s.stratum is None]
    assert crimson == [value]


def test_references_are_frozen_where_a_section_does_not_say():
    assert RecordedJudge(metric="crimson", path="replies.jsonl").freeze_references


def test_the_rule_based_judge_abstains_in_the_table_and_its_findings_are_exported(tmp_path, tables):
    rows = [
        row(0, "report", "Small left pleural effusion. Cardiomegaly."),
        row(1, "report", "Optic disc cupping.", modality="Retinography"),
    ]
    split, answers = tables(rows, [prediction("u0000", "Left effusion."), prediction("u0001", "Drusen.")])
    out = judged(split, answers, "rules", RuleBasedJudge(), tmp_path)
    pairs = read_rows(out, JudgedPair)
    assert sorted(pair.status for pair in pairs) == ["abstained", "valid"]
    assert {(pair.backend, pair.metrics) for pair in pairs} == {("rule_based", ("crimson", "green"))}
    _, findings = scored(split, answers, [out], tmp_path)
    fates = {(finding.side, finding.id): finding.fate for finding in read_rows(findings, JudgedFinding)}
    assert fates == {("reference", "R1"): "matched", ("reference", "R2"): "missing", ("predicted", "P1"): "matched"}


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]*", fullmatch=True).filter(lambda name: len(name) <= 40)
AWKWARD = ("my_judge", "lab-normal", "crimson", "a_b-c", "crimson_lowest", "abnormal", "efficacy_hits", "rouge_l")


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """A split of two reports, one normal, with answers and the tables of a model judge and of the rule-based one."""
    folder = tmp_path_factory.mktemp("names")
    rows = [row(0, "report", "Left pneumothorax."), row(1, "report", "The lungs are clear.")]
    split, answers = folder / "split.parquet", folder / "base.parquet"
    write_rows(split, rows, Row)
    write_rows(answers, [prediction(r.uid, "Left pneumothorax.") for r in rows], Prediction)
    normal = json.loads(reply()) | {"reference_findings": [], "matched_findings": []}
    normal["errors"]["false_findings"] = ["P1"]
    replies = {
        ("Left pneumothorax.", "Left pneumothorax."): reply(),
        ("The lungs are clear.", "Left pneumothorax."): json.dumps(normal),
    }
    model = judged(split, answers, "model", recorded(folder, replies), folder)
    return split, answers, read_rows(model, JudgedPair), judged(split, answers, "rules", RuleBasedJudge(), folder)


@pytest.mark.parametrize("name", AWKWARD)
def test_a_judge_of_any_name_heads_the_table_under_it(name, reports, tmp_path):
    check_a_judges_name(name, reports, tmp_path)


@settings(max_examples=15, deadline=None)
@given(name=NAMES)
def test_a_judge_of_every_name_heads_the_table_under_it(name, reports, tmp_path_factory):
    check_a_judges_name(name, reports, tmp_path_factory.mktemp("name"))


def check_a_judges_name(name: str, reports, folder) -> None:
    """From judged pairs to metrics: the model judge's columns bear its name, and its CRIMSON alone is primary."""
    split, answers, pairs, rules = reports
    other = "rules" if name != "rules" else "rules_2"
    by_model, by_rules = folder / "model.parquet", folder / "rules.parquet"
    write_rows(by_model, [replace(pair, judge=name) for pair in pairs], JudgedPair)
    write_rows(by_rules, [replace(pair, judge=other) for pair in read_rows(rules, JudgedPair)], JudgedPair)
    scores, _ = scored(split, answers, [by_model, by_rules], folder)
    metrics = metrics_of(split, answers, scores, folder, [other])
    of_judge = {(metric, stratum): value.value for (metric, judge, stratum), value in metrics.items() if judge == name}
    assert of_judge == {
        ("crimson", None): 0.25,
        ("crimson", "abnormal"): 1.0,
        ("crimson", "normal"): -0.5,
        ("crimson_lowest", None): 0.25,
        ("crimson_highest", None): 0.25,
    }
    assert {metric for metric, judge, _ in metrics if judge == other} >= {"crimson", "green", "efficacy_f1"}
    assert [key for key, value in metrics.items() if value.primary] == [("crimson", name, None)]
    only_rules, _ = scored(split, answers, [by_rules], folder)
    metrics = metrics_of(split, answers, only_rules, folder, [other])
    assert [key for key, value in metrics.items() if value.primary] == [("crimson", other, None)]
    no_judge, _ = scored(split, answers, [], folder)
    metrics = metrics_of(split, answers, no_judge, folder)
    assert [key for key, value in metrics.items() if value.primary] == [("rouge_l", None, None)]


def test_a_rule_based_judge_that_abstained_everywhere_heads_nothing(tmp_path, tables):
    split, answers = tables([row(0, "report", "Drusen.")], [prediction("u0000", "Drusen.")])
    scores, _ = scored(split, answers, [judged(split, answers, "rules", RuleBasedJudge(), tmp_path)], tmp_path)
    metrics = metrics_of(split, answers, scores, tmp_path, ["rules"])
    assert [key for key, value in metrics.items() if value.primary] == [("rouge_l", None, None)]
    assert metrics["crimson", "rules", None].value is None
    assert (metrics["crimson_lowest", "rules", None].value, metrics["crimson_highest", "rules", None].value) == (-1, 1)
