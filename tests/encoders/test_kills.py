"""A process that tunes an encoder is killed at random moments: the next ones end with the same bytes."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.encoders.tiny import rows_of, write_encoder
from workflow_scripts import ROOT
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import write_rows

pytestmark = pytest.mark.extended
SPEC = {"tasks": ["entities", "entailment"], "length": 96, "stride": 16, "tuning": {"epochs": 6, "save_every": 2}}


def start(place, out, log):
    command = [
        *(sys.executable, "-m", "workflow_scripts.encoders.train", "--spec", json.dumps(SPEC)),
        *("--split", place / "train.parquet", "--record", place / "tiny.json", "--out", out / "encoder"),
        *("--history", out / "history.parquet", "--checkpoints", out / "checkpoints"),
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=os.environ)


def test_killed_at_random_moments_it_ends_with_the_same_networks_and_log(tmp_path):
    rows = [row for row in rows_of(10) if row.task in SPEC["tasks"]]
    write_rows(tmp_path / "train.parquet", rows, Row)
    write_encoder(tmp_path / "tiny", [text for row in rows for text in (row.question, row.expected.text or "")])
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    with (tmp_path / "whole.log").open("w") as log:
        assert start(tmp_path, tmp_path / "whole", log).wait() == 0, (tmp_path / "whole.log").read_text()[-2000:]
    moments = random.Random(3)
    for _ in range(2):
        with (tmp_path / "log").open("w") as log:
            process = start(tmp_path, tmp_path / "killed", log)
            steps = moments.randint(3, 6)
            while process.poll() is None and len(re.findall("'loss'", (tmp_path / "log").read_text())) < steps:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not (tmp_path / "killed" / "encoder").exists()
    assert list(tmp_path.glob("killed/checkpoints/*/*/checkpoint-*"))
    with (tmp_path / "log").open("w") as log:
        assert start(tmp_path, tmp_path / "killed", log).wait() == 0, (tmp_path / "log").read_text()[-2000:]
    for task in SPEC["tasks"]:
        name = f"encoder/{task}/model.safetensors"
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    history = [(tmp_path / name / "history.parquet").read_bytes() for name in ("killed", "whole")]
    assert history[0] == history[1]
