"""A text metric that cannot read a script gives no score, never zero; parse rates of reports come from the outcomes."""

import json

import pytest

from tests.score.conftest import prediction, row
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.rows import MetricValue, Outcome, ReportScore, RowFact
from workflow_scripts.core.tables import read_rows
from workflow_scripts.judges.judgements import Pair
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import Lexical, write_reports
from workflow_scripts.tasks.report.metrics import ScoreKey, headline_of
from workflow_scripts.tasks.report.scripts import script_of

CHINESE = "双肺纹理清晰，未见明显实变影。心影大小正常。"
OTHER_CHINESE = "左侧胸腔积液，心影增大。"
ENGLISH = "The lungs are clear."


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (ENGLISH, "latin"),
        ("Épanchement pleural à gauche, cœur élargi.", "latin"),
        ("Tim to, phổi trong, không có tràn dịch màng phổi.", "latin"),
        ("T3, 12 mm", "latin"),
        ("", "latin"),
        ("...", "latin"),
        (CHINESE, "han"),
        ("胸部CT平扫：双肺未见异常", "han"),
        ("両肺野は清明で、心拡大を認めない。", "unspaced"),
        ("ปอดทั้งสองข้างปกติ", "unspaced"),
        ("Лёгкие прозрачные, сердце не расширено.", "spaced"),
        ("Οι πνεύμονες είναι καθαροί.", "spaced"),
        ("الرئتان صافيتان", "spaced"),
        ("폐 야는 깨끗하다", "spaced"),
        ("फेफड़े साफ हैं", "spaced"),
    ],
)
def test_a_script_is_that_of_most_letters(text, script):
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("reference", "read"),
    [
        (ENGLISH, {"bleu", "rouge_l", "chrf", "meteor_stem", "rule_green_2025"}),
        (CHINESE, {"bleu", "chrf"}),
        ("Лёгкие прозрачные, сердце не расширено.", {"bleu", "chrf"}),
        ("両肺野は清明で、心拡大を認めない。", {"chrf"}),
    ],
)
def test_each_metric_reads_an_identical_report_as_identical_or_says_that_it_cannot(reference, read):
    scores = {score.metric: score for score in Lexical().scores(Pair(reference, reference))}
    assert {name for name, score in scores.items() if score.value is not None} == read
    for name, score in scores.items():
        if name not in read:
            assert score.status == "unreadable_script"
        elif name != "rule_green_2025":  # it has no full mark for reports without its keywords
            assert (score.value, score.status) == (pytest.approx(1.0, abs=0.05), "valid")
    assert len(scores) == 5


def test_bleu_tells_chinese_reports_apart():
    near = Lexical().scores(Pair(CHINESE, CHINESE.replace("正常", "增大")))[0]
    far = Lexical().scores(Pair(CHINESE, OTHER_CHINESE))[0]
    assert near.metric == far.metric == "bleu" and far.value < 0.3 < near.value < 1


def metrics_of(tables, folder, pairs: list[tuple[str, str | None]]) -> dict[str, MetricValue]:
    """Macro metrics of reports by name; a hypothesis of None was not predicted."""
    rows = [row(n, "report", reference) for n, (reference, _) in enumerate(pairs)]
    given = [prediction(r.uid, text) for r, (_, text) in zip(rows, pairs, strict=True) if text is not None]
    split, answers = tables(rows, given)
    paths = {name: folder / name for name in ("outcomes", "scores", "findings", "metrics", "facts")}
    write_outcomes(split=split, predictions=answers, system="base", out=paths["outcomes"])
    write_reports(split=split, predictions=answers, judgements=[], out=paths["scores"], findings=paths["findings"])
    write_metrics(
        outcomes=[paths["outcomes"]],
        report_scores=[paths["scores"]],
        scoring=Scoring(resamples=100),
        out=paths["metrics"],
        facts=paths["facts"],
    )
    return {v.metric: v for v in read_rows(paths["metrics"], MetricValue) if v.subset == "macro"}


def test_perfect_chinese_reports_head_the_table_with_a_metric_that_reads_them(tables, tmp_path):
    values = metrics_of(tables, tmp_path, [(CHINESE, CHINESE), (OTHER_CHINESE, OTHER_CHINESE)])
    assert [(name, v.value) for name, v in values.items() if v.primary] == [("chrf", pytest.approx(1.0))]
    rouge = values["rouge_l"]
    assert (rouge.value, rouge.unread, rouge.valid_share, rouge.note) == (None, 2, 1.0, "few_rows; unreadable_script")
    assert values["chrf"].note == "few_rows"
    statuses = {(s.metric, s.status) for s in read_rows(tmp_path / "scores", ReportScore)}
    assert ("rouge_l", "unreadable_script") in statuses and ("chrf", "valid") in statuses
    scores = [fact.value for fact in read_rows(tmp_path / "facts", RowFact) if fact.fact == "row_score"]
    assert scores == pytest.approx([1.0, 1.0])


def test_rouge_heads_the_table_where_it_reads_half_of_the_references_and_says_that_others_are_left_out(
    tables, tmp_path
):
    values = metrics_of(tables, tmp_path, [(CHINESE, CHINESE), (ENGLISH, ENGLISH)])
    assert [(name, v.value, v.unread) for name, v in values.items() if v.primary] == [("rouge_l", 1.0, 1)]
    assert "unreadable_script" in values["rouge_l"].note


def test_no_text_metric_heads_the_table_that_read_nothing():
    columns = {ScoreKey("rouge_l"): {"u": (None, "unreadable_script")}, ScoreKey("chrf"): {"u": (0.0, "valid")}}
    assert headline_of({"base": columns}, []) == ScoreKey("chrf")
    assert headline_of({"base": {ScoreKey("rouge_l"): {"u": (None, "x")}}}, []) is None


@pytest.mark.parametrize("wrong", ["", "   ", "\u200b", ".", "FINDINGS:\n\nIMPRESSION:", "[[10,20,110,120]]", None])
def test_the_parse_rate_of_text_metrics_is_that_of_the_outcomes(wrong, tables, tmp_path):
    """Half of the reports are no reports: half are valid, though each pair has a score."""
    values = metrics_of(tables, tmp_path, [(ENGLISH, ENGLISH), (ENGLISH, wrong)])
    for name in ("rouge_l", "bleu", "chrf", "meteor_stem", "rule_green_2025", "distinct_share"):
        assert values[name].valid_share == 0.5, name
    assert values["rouge_l"].value == 0.5 and values["rouge_l"].unread == 0


def test_outcomes_keep_the_sources_value(tables, tmp_path):
    metrics_of(tables, tmp_path, [(CHINESE, CHINESE)])
    (outcome,) = read_rows(tmp_path / "outcomes", Outcome)
    assert json.loads(outcome.reference_raw) == CHINESE
