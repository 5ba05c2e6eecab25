"""The reference vectors of the judges' parsers and formulas in upstream mode, and where strict mode deviates."""

import hashlib
import json
import math
from pathlib import Path

import pytest

from tests.score.upstream_green import read_green_upstream
from workflow_scripts.judges import upstream
from workflow_scripts.judges.crimson import crimson, faults_of, read_crimson
from workflow_scripts.judges.green import green, read_green
from workflow_scripts.judges.replies import InvalidJudgement
from workflow_scripts.tasks.report.rule_green import rule_green


def cases(name: str) -> list:
    listed = json.loads((Path(__file__).parent / "vectors" / f"{name}.json").read_text(encoding="utf-8"))["cases"]
    return [pytest.param(case, id=case["id"]) for case in listed]


@pytest.fixture(scope="session")
def packages():
    """The upstream packages, where they are installed."""
    for package, distribution in (("CRIMSON", "crimson-score"), ("radeval", "RadEval")):
        if upstream.importlib.util.find_spec(package) is None:
            pytest.skip(f"needs `pip install --no-deps {distribution}`")


@pytest.mark.parametrize("case", cases("crimson_score"))
def test_crimson_formula_is_upstreams(case):
    if case["raises"]:
        with pytest.raises((KeyError, TypeError, AttributeError)) as caught:
            crimson(case["evaluation"], "upstream")
        assert type(caught.value).__name__ == case["raises"]
        return
    got = crimson(case["evaluation"], "upstream")
    expected = case["expected"]
    assert got.score == expected["crimson_score"]
    assert got.error_counts == expected["error_counts"]
    assert got.weighted_error_counts == expected["weighted_error_counts"]
    assert {
        "N_G": got.reference_weight,
        "E_penalty": got.false_weight,
        "correct": got.credit,
        "errors_more_than_correct": got.false_weight - got.credit,
        "S": got.balance,
    } == expected["metrics"]


@pytest.mark.parametrize("case", cases("crimson_score"))
def test_strict_crimson_scores_as_upstream_or_refuses(case):
    try:
        got = crimson(case["evaluation"], "strict").score
    except InvalidJudgement:
        assert faults_of(case["evaluation"])
        assert not case["note"].startswith("random consistent")
    else:
        assert got == case["expected"]["crimson_score"]


REFUSED_REPLIES = {
    "p08", "p09", "p10", "p11", "p12", "p13", "p14", "p15", "p16", "p19", "p31", "p33", "p34", "p41", "p43",
}  # fmt: skip


def test_strict_crimson_refuses_these_vectors_and_scores_all_others():
    """So that no reader passes by refusing everything."""
    judgements = [case.values[0]["evaluation"] for case in cases("crimson_score")]
    assert sum(not faults_of(judgement) for judgement in judgements) == 154
    assert len(judgements) == 185
    refused = set()
    for case in cases("crimson_parse"):
        try:
            read_crimson(case.values[0]["raw"])
        except InvalidJudgement:
            refused.add(case.id)
    assert refused == REFUSED_REPLIES


def test_an_empty_reply_is_not_a_perfect_score():
    with pytest.raises(InvalidJudgement):
        crimson({}, "strict")


@pytest.mark.parametrize("case", cases("crimson_parse"))
def test_crimson_reply_reads_as_upstream(case, packages):
    _same_reading(upstream.crimson_reply, case["raw"], case["crimson_parser"])
    after = case["crimson_score_after_parse"]
    value = case["crimson_parser"].get("value")
    if case["crimson_parser"]["ok"] and value is not None:
        if isinstance(after, str):
            with pytest.raises(AttributeError):
                crimson(value, "upstream")
        else:
            assert crimson(value, "upstream").score == after


@pytest.mark.parametrize("case", cases("crimson_parse"))
def test_crimson_reply_reads_as_radeval(case, packages, monkeypatch):
    nltk = pytest.importorskip("nltk")
    monkeypatch.setattr(nltk, "download", lambda *_, **__: True)
    _same_reading(upstream.radeval_reply, case["raw"], case["radeval_parser"])


def _same_reading(read, raw: str, expected: dict) -> None:
    if not expected["ok"]:
        with pytest.raises(ValueError):
            read(raw)
        return
    got = read(raw)
    if expected.get("note") == "contains NaN":  # JSON cannot say so; the vector holds null
        assert math.isnan(got["reference_findings"][0]["w"])
    else:
        assert got == expected["value"]


@pytest.mark.parametrize("case", cases("crimson_parse"))
def test_strict_crimson_reads_the_same_or_more_or_refuses(case):
    """Never another judgement than upstream's; more than upstream where only the form is wrong."""
    try:
        got = read_crimson(case["raw"])
    except InvalidJudgement:
        return
    assert crimson(got, "strict").score == 0.0  # every vector that can be read misses its one finding
    upstream_score = case["crimson_score_after_parse"]
    assert upstream_score in (None, 0.0)


@pytest.mark.parametrize("case", cases("crimson_clean_text"))
def test_crimson_cleans_text_as_upstream(case, packages):
    assert upstream.crimson_clean(case["raw"]) == case["clean"]


@pytest.mark.parametrize("case", cases("green_clean"))
def test_green_cleans_replies_as_upstream(case, packages):
    assert upstream.green_clean(case["raw"]) == case["clean"]


@pytest.mark.parametrize("case", cases("green_parse"))
def test_green_counts_are_upstreams(case):
    got = read_green_upstream(case["raw"])
    expected = case["upstream"]
    assert list(got.significant) == expected["significant"]
    assert list(got.insignificant) == expected["insignificant"]
    assert got.matched == expected["matched"]
    assert green(got) == expected["green"]


def test_green_replies_do_not_change_how_later_ones_are_read():
    listed = [case.values[0] for case in cases("green_parse")]
    alone = [read_green_upstream(case["raw"]) for case in listed]
    assert [read_green_upstream(case["raw"]) for case in reversed(listed)] == alone[::-1]


STRICT_GREEN = {  # vector: strict score, or None for an invalid reply; the others are as upstream
    "g08": 1.0, "g09": 1.0, "g11": 1.0, "g36": 1.0, "g37": 1.0, "g38": 1.0, "g50": 1.0,
    "g26": 2 / 3, "g27": 2 / 3, "g28": 1 / 3, "g33": 0.4, "g34": 0.4, "g47": 1 / 3,
    "g07": None, "g10": None, "g13": None, "g14": None, "g15": None, "g16": None, "g19": None, "g20": None,
    "g21": None, "g22": None, "g23": None, "g25": 0.25, "g29": None, "g30": None, "g42": None, "g45": None,
    "g48": None, "g40": 5 / 6,
}  # fmt: skip


@pytest.mark.parametrize("case", cases("green_parse"))
def test_strict_green_deviates_where_upstream_is_wrong(case):
    expected = STRICT_GREEN.get(case["id"], case["upstream"]["green"])
    if expected is None:
        with pytest.raises(InvalidJudgement):
            read_green(case["raw"])
    else:
        assert green(read_green(case["raw"])) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("case", cases("prompts_sha256"))
def test_prompts_are_upstreams_to_the_byte(case, packages):
    if case["metric"] == "green":
        prompt = upstream.green_prompt(case["reference"], case["hypothesis"])
    else:
        options = case["options"]
        prompt = upstream.crimson_prompt(
            case["reference"], case["hypothesis"], options["patient_context"], guidelines=options["guidelines"]
        )
    assert hashlib.sha256(prompt.encode()).hexdigest() == case["prompt_sha256"]


@pytest.mark.parametrize("case", cases("flare25_rule_green"))
def test_rule_green_is_that_of_2025(case):
    got = rule_green(case["reference"], case["hypothesis"])
    assert got == pytest.approx(case["expected"], abs=1e-12)
