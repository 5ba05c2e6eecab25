"""Whole runs over the folder of inputs that failed: its trees, its server, its predictions with thoughts, its paths."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.workflow.runs import checkout, snakemake
from workflow_scripts.core.rows import Outcome
from workflow_scripts.core.tables import read_rows

pytestmark = [pytest.mark.workflow, pytest.mark.extended]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout beside the trees, drawn anew."""
    place = os.environ.get("FLAREBENCH_BUG_INPUTS")
    if not place:
        pytest.skip("FLAREBENCH_BUG_INPUTS is not set to the folder of inputs that failed")
    folder = checkout(tmp_path_factory.mktemp("public faults"))  # with a space
    scripts = shutil.copytree(place, folder / "inputs")
    subprocess.run([sys.executable, scripts / "make_trees.py", folder / "OUT"], check=True)
    return folder


def written(folder: Path, name: str, source: str | dict, **changes) -> tuple[str, str]:
    """A configuration of the folder, with the keys of today, in the checkout."""
    raw = yaml.safe_load((folder / "inputs" / source).read_text()) if isinstance(source, str) else source
    for system in raw["systems"].values():
        if "trivial" in system:
            system["baseline"] = system.pop("trivial")
    raw |= {"judges": {"rules": {"backend": "rule_based"}}} | changes
    (folder / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return "--configfile", f"config/{name}.yaml"


def test_results_with_a_space_from_two_datasets_run(folder):
    snakemake(folder, "all", *written(folder, "spaces", "two_sets_space.yaml"))
    assert (folder / "results/my run/report/validation/table.md").is_file()


def test_results_below_the_users_folder_run_and_no_folder_is_called_tilde(folder, tmp_path):
    configuration = written(folder, "tilde", "tilde.yaml", dataset_path="OUT/good")
    snakemake(folder, "all", *configuration, env=os.environ | {"HOME": str(tmp_path)})
    assert (tmp_path / "flare-results/report/validation/table.md").is_file()
    assert not (folder / "~").exists()


@pytest.mark.parametrize(
    "name",
    ["sym", "sym_images", "sym_all", "nfd", "latin1", "names", "tok_q_soi", "tok_q_soft", "tok_q_bos",
     "tok_q_image_for_paligemma2"],
)  # fmt: skip
def test_a_tree_that_failed_is_converted_and_audited_without_a_traceback(folder, name):
    raw = {
        "results": f"results/{name}",
        "datasets": {"mine": {"source": "local", "path": f"OUT/{name}"}},
        "splits": {"validation": {"dataset": "mine", "folder": "training"}},
        "models": {},
        "systems": {"empty": {"baseline": "constant", "train": "validation"}},
        "evaluate": ["validation"],
    }
    raw["splits"]["other"] = {"dataset": "mine", "folder": "training", "part": {"seed": 1, "start": 0.0, "stop": 0.5}}
    raw["systems"]["empty"]["train"] = "other"
    output = snakemake(folder, f"results/{name}/data/mine/audit/index.html", *written(folder, name, raw))
    assert "Traceback" not in output


class Served:
    """The folder's server, a process of its own."""

    def __init__(self, folder: Path, kind: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen([sys.executable, folder / "inputs/server.py", str(self.port), kind])

    def __enter__(self) -> str:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return f"http://127.0.0.1:{self.port}/v1"
            time.sleep(0.1)
        raise TimeoutError("the server did not start")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def served(folder: Path, kind: str, url: str) -> dict:
    return {
        "results": f"results/served {kind}",
        "datasets": {"mine": {"source": "local", "path": "OUT/good"}},
        "splits": {"validation": {"dataset": "mine", "folder": "validation-public", "only": ["DS"]}},
        "models": {"tiny": {"source": "synthetic"}},
        "engines": {"lab": {"url": url, "retries": 0}},
        "systems": {"base": {"model": "tiny", "engine": "lab", "served_as": "base"}},
        "inference": {"shards": 1},
        "evaluate": ["validation"],
    }


@pytest.mark.parametrize(
    ("kind", "strict", "outcome"),
    [
        ("ok", "A", "valid"),
        ("parts", "A", "valid"),
        ("think", "C", "valid"),
        ("think2", "C", "valid"),
    ],
)
def test_an_answer_of_the_server_is_scored_behind_its_thoughts(folder, kind, strict, outcome):
    with Served(folder, kind) as url:
        configuration = written(folder, f"served_{kind}", served(folder, kind, url))
        target = f"results/served {kind}/scores/validation/base/outcomes.parquet"
        snakemake(folder, target, *configuration)
    outcomes = read_rows(folder / target, Outcome)
    assert len(outcomes) == 6
    assert {(row.outcome, json.loads(row.strict)) for row in outcomes} == {(outcome, strict)}


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("reasoning", "reasoning_content"),
        ("reasoning_length", "reasoning"),
        ("refusal", "refusal"),
        ("tool", "tool_calls"),
        ("proxy", "proxy"),
    ],
)
def test_what_is_no_answer_stops_the_step_with_a_sentence_that_names_what_came(folder, kind, sentence):
    with Served(folder, kind) as url:
        configuration = written(folder, f"served_{kind}", served(folder, kind, url))
        target = f"results/served {kind}/predictions/validation/base.parquet"
        output = snakemake(folder, target, *configuration, code=1)
    log = (folder / f"results/served {kind}/logs/infer_ask/validation.base.1-of-1.log").read_text()
    assert "Traceback" not in output
    assert url in log and sentence in log, log
    assert not (folder / target).exists()


def test_the_answer_behind_a_recorded_thought_is_read(folder):
    thoughts = [json.loads(line) for line in (folder / "inputs/thought_predictions.jsonl").read_text().splitlines()]
    (folder / "thoughts.jsonl").write_text("\n".join(map(json.dumps, thoughts)))
    source = served(folder, "none", "http://127.0.0.1:9/v1")
    del source["engines"]
    source["models"] = {}
    source |= {"results": "results/thoughts", "systems": {"theirs": {"predictions": "thoughts.jsonl"}}}
    del source["splits"]["validation"]["only"]
    target = "results/thoughts/scores/validation/theirs/outcomes.parquet"
    snakemake(folder, target, *written(folder, "thoughts", source))
    outcomes = read_rows(folder / target, Outcome)
    by_uid = {row.uid: row for row in outcomes}
    for number, letter in enumerate("BCABCA"):
        row = by_uid[f"validation-public/Xray/DS/DS_questions_val/{number}"]
        assert (row.outcome, json.loads(row.strict)) == ("valid", letter)
    reports = [json.loads(row.strict) for row in outcomes if "/RP/" in row.uid]
    assert len(reports) == 6 and not any("Is there" in str(report) for report in reports)
