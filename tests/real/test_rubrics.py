"""SmolLM2 as a judge of rubrics: whatever it replies has an outcome, and its own validity greys its column."""

import json

import pytest

from tests.score.graded import GRADED, Judged, human_line
from workflow_scripts.core.config.judges import TransformersJudge, Validity
from workflow_scripts.core.config.models import Checkpoint

pytestmark = [pytest.mark.extended]
CASES = GRADED[:15]


def test_its_column_is_grey_by_itself(smollm2, tmp_path):
    from workflow_scripts.models.fetch import fetch

    record = tmp_path / "judge.json"
    fetch(spec=Checkpoint(family="judge", checkpoint=str(smollm2)), record=record)
    human = tmp_path / "human.jsonl"
    human.write_text("".join(json.dumps(human_line(case)) + "\n" for case in CASES))
    section = TransformersJudge(
        metric="rubric",
        checkpoint=str(smollm2),
        gpus=0,
        batch=15,
        retries=0,
        max_new_tokens=48,
        invalid_share=1.0,
        validity=Validity(path=str(human)),
    )
    run = Judged(tmp_path, CASES)
    pairs = run.judged("smollm2", section, record)
    assert len(pairs) == len(CASES) and sum(len(pair.reply) > 5 for pair in pairs) > 10
    [decisive] = [line for line in run.measured("smollm2", section, record) if line.decisive]
    statuses = [pair.status for pair in pairs]
    assert (decisive.answers, decisive.invalid) == (len(CASES), statuses.count("invalid"))  # from the store
    assert not decisive.valid
    values = [value for value in run.metrics("smollm2") if value.judge == "smollm2"]
    assert values and all("below_validity" in str(value.note) and not value.primary for value in values)
