"""Each setting of a judge, from a real server's replies to the table of scores, with a judge that needs it."""

import json
import re

import pytest

from tests.chat_server import ChatServer, Reply
from tests.score.conftest import prediction, row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import JudgeSection
from workflow_scripts.core.rows import JudgedPair, Prediction, ReportScore
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.replies import LONGEST, MOST
from workflow_scripts.score.judge import judge
from workflow_scripts.score.reports import write_reports

ROWS = [row(n, "report", f"Reference number {n}.") for n in range(4)]


def reply(reference: list[str], matched: int, false: int = 0) -> str:
    """CRIMSON's JSON: findings of the reference by significance, the first `matched` of them found, others false."""
    findings = [{"id": f"R{n}", "finding": "f", "clinical_significance": word} for n, word in enumerate(reference)]
    predicted = [{"id": f"P{n}", "finding": "f", "clinical_significance": "urgent"} for n in range(matched + false)]
    return json.dumps(
        {
            "reference_findings": findings,
            "predicted_findings": predicted,
            "matched_findings": [{"ref_id": f"R{n}", "pred_id": f"P{n}"} for n in range(matched)],
            "errors": {
                "false_findings": [f"P{n}" for n in range(matched, matched + false)],
                "missing_findings": [f"R{n}" for n in range(matched, len(reference))],
                "attribute_errors": [],
            },
        }
    )


def reports_in(body: dict) -> tuple[str, str]:
    """The reference and the hypothesis that a request asks about."""
    text = body["messages"][-1]["content"]
    reference, hypothesis = re.findall(r"(Reference number \d|Guess \w+ \d)\.", text)[-2:]
    return reference, hypothesis


@pytest.fixture
def scored(tmp_path):
    """A function that judges two systems by a server and gives CRIMSON by system and row, and the judged pairs."""

    def run(answer, **settings):
        split = tmp_path / "split"
        systems = {name: tmp_path / name for name in ("base", "tuned")}
        write_rows(split, ROWS, type(ROWS[0]))
        for name, path in systems.items():
            answers = [prediction(r.uid, f"Guess {name} {n}.", name) for n, r in enumerate(ROWS)]
            write_rows(path, answers, Prediction)
        with ChatServer(lambda body: Reply(answer(body))) as server:
            section = {"backend": "openai", "metric": "crimson", "url": server.url, "model": "m", "revision": "1"}
            judged = tmp_path / "judged"
            spec = JudgeSection.model_validate(section | settings)
            answers_of_all = list(systems.values())
            judge(split=split, predictions=answers_of_all, name="m", spec=spec, store=tmp_path / "s", out=judged)
            bodies = list(server.bodies)
        values = {}
        for name, path in systems.items():
            out = tmp_path / f"{name}.scores"
            write_reports(split=split, predictions=path, judgements=[judged], out=out, findings=tmp_path / "f")
            values |= {
                (name, score.uid): (score.value, score.status)
                for score in read_rows(out, ReportScore)
                if (score.metric, score.stratum) == ("crimson", None)
            }
        return values, read_rows(judged, JudgedPair), bodies

    return run


def moody(body: dict) -> str:
    """A judge that sees one urgent finding in a reference by itself and beside `base`, and two beside `tuned`."""
    _, hypothesis = reports_in(body)
    return reply(["urgent", "urgent"], 1) if "tuned" in hypothesis else reply(["urgent"], 1)


def test_frozen_references_give_all_systems_one_denominator(scored):
    values, pairs, _ = scored(moody)
    assert len(pairs) == 3 * len(ROWS)
    assert {value for (name, _), (value, _) in values.items() if name == "base"} == {1.0}
    # Half of what the judge saw in the reference was found: half of the frozen weight of one finding.
    assert {value for (name, _), (value, _) in values.items() if name == "tuned"} == {0.5}
    assert {len(json.loads(pair.reply)["reference_findings"]) for pair in pairs} == {1, 2}


def test_joint_references_are_weighed_beside_each_hypothesis_and_ask_for_no_more_pairs(scored):
    values, pairs, bodies = scored(moody, freeze_references=False)
    assert len(pairs) == len(bodies) == 2 * len(ROWS)
    assert values["base", "u0000"] == (1.0, "valid") and values["tuned", "u0000"] == (0.5, "valid")


def test_retries_ask_an_invalid_pair_again_with_another_seed_and_no_valid_one(scored):
    tries: dict[tuple[str, str], int] = {}

    def stubborn(body):
        pair = reports_in(body)
        tries[pair] = tries.get(pair, 0) + 1
        return reply(["urgent"], 1) if tries[pair] == 3 or "base" in pair[1] else "I would rather not."

    values, _, bodies = scored(stubborn, retries=2, freeze_references=False)
    assert {status for _, status in values.values()} == {"valid"}
    assert len(bodies) == (1 + 3) * len(ROWS)
    assert {body["seed"] for body in bodies} == {42, 43, 44}
    assert {body["temperature"] for body in bodies if body["seed"] > 42} == {0.3}


def test_slips_of_form_are_repaired_and_scored(scored):
    forms = [
        lambda text: f"Here is my evaluation:\n```json\n{text}\n```\nLet me know!",
        lambda text: text.replace("}]", "},]", 1),
        lambda text: f"\ufeff<think>Is it urgent? {{maybe}}</think>{text}",
        lambda text: text,
    ]

    def sloppy(body):
        reference, _ = reports_in(body)
        return forms[int(reference[-1])](reply(["urgent"], 1))

    values, pairs, bodies = scored(sloppy, retries=0, freeze_references=False)
    assert set(values.values()) == {(1.0, "valid")} and len(bodies) == len(pairs) == 2 * len(ROWS)


def test_absurd_replies_are_invalid_and_named_and_the_rest_is_scored(scored, capsys):
    absurd = [
        lambda: reply(["urgent"] * (MOST + 1), 0),
        lambda: " " * LONGEST + reply(["urgent"], 1),
        lambda: reply(["urgent"], 1)[:-30],
    ]

    def careless(body):
        number = int(reports_in(body)[0][-1])
        return absurd[number]() if number < len(absurd) else reply(["urgent"], 1)

    values, pairs, _ = scored(careless, retries=0, freeze_references=False, invalid_share=1)
    assert [values["base", r.uid] for r in ROWS] == [(None, "invalid")] * 3 + [(1.0, "valid")]
    reasons = {pair.reason for pair in pairs if pair.status == "invalid"}
    assert len(reasons) == 3 and any("101 entries" in reason for reason in reasons)
    out = capsys.readouterr().out
    assert all(f"invalid: {reason}" in out for reason in reasons)


def test_the_step_stops_above_the_invalid_share_and_not_at_it(scored):
    def half(body):
        return reply(["urgent"], 1) if "base" in reports_in(body)[1] else "No."

    with pytest.raises(Refused, match=r"judge m: 50% of its replies are invalid, 49% are allowed \(`invalid_share`\)"):
        scored(half, retries=0, freeze_references=False, invalid_share=0.49)
    values, _, bodies = scored(half, retries=0, freeze_references=False, invalid_share=0.5)
    assert {status for (name, _), (_, status) in values.items() if name == "tuned"} == {"invalid"}
    assert len(bodies) == len(ROWS)  # the valid half was stored by the run that stopped
