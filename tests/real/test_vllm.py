"""vLLM takes the checkpoint and the adapter as the workflow writes them, and answers as the engine here does.

Its environment, 3.5 GB, is made once: see `vllm_environment`. It computes in bfloat16, the engine here in float32.
"""

from types import SimpleNamespace

import pytest
import yaml

from tests.real.vllm_environment import vllm_python
from tests.real.vllm_process import ServedByVLLM
from tests.workflow.runs import checkout, snakemake
from workflow_scripts.core.rows import Prediction
from workflow_scripts.core.tables import read_rows

pytestmark = [pytest.mark.extended, pytest.mark.workflow]

SYSTEMS = ("base", "tuned")
STEPS = 60
"""Steps of training: enough that answers are words of the dataset."""

EQUAL = 0.8
"""The share of answers that are the same to the letter; two precisions part where two tokens are nearly alike."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """The predictions of each system, answered here and behind vLLM, and what the server wrote of itself."""
    folder = checkout(tmp_path_factory.mktemp("vllm") / "run")
    log = folder / "server.log"
    raw = yaml.safe_load((folder / "config/config.yaml").read_text())
    raw["recipes"]["qlora"] |= {"epochs": None, "steps": STEPS}
    raw["systems"] = {name: raw["systems"][name] for name in SYSTEMS}
    with ServedByVLLM(vllm_python(), log) as server:
        raw["engines"] = {"vllm": {"url": server.url, "workers": server.at_once, "timeout": 1800}}
        raw["systems"] |= {
            f"{name}_served": raw["systems"][name] | {"engine": "vllm", "served_as": name} for name in SYSTEMS
        }
        (folder / "vllm.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        adapter = "results/systems/tuned_served/adapter"
        files = [f"results/predictions/validation/{name}.parquet" for name in raw["systems"]]
        configured = ("--configfile", "vllm.yaml")
        snakemake(folder, f"{adapter}/adapter_model.safetensors", *configured)
        rank = raw["recipes"]["qlora"]["lora"]["r"]
        server.start(folder / "results/models/tiny", "base", {"tuned": folder / adapter}, rank)
        # One system after the other: asked for both at once, vLLM 0.32 on a CPU answers base rows by the adapter.
        for file in files:
            snakemake(folder, file, *configured)
    tables = {name: read_rows(folder / file, Prediction) for name, file in zip(raw["systems"], files, strict=True)}
    return SimpleNamespace(tables=tables, log=log.read_text(errors="replace"))


def pairs(answers, system: str) -> list[tuple[Prediction, Prediction]]:
    """The predictions of a system, those made here beside those of the server, by row."""
    served = {row.uid: row for row in answers.tables[f"{system}_served"]}
    return [(row, served[row.uid]) for row in answers.tables[system]]


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_row_is_answered_by_the_server(answers, system):
    here, served = answers.tables[system], answers.tables[f"{system}_served"]
    assert len(here) > 90 and [row.uid for row in served] == [row.uid for row in here]
    assert {row.engine for row in served} == {"openai"} and "openai" not in {row.engine for row in here}


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_prompt_has_as_many_tokens_there_as_here(answers, system):
    counts = [(a.uid, a.prompt_tokens, b.prompt_tokens) for a, b in pairs(answers, system)]
    assert [row for row in counts if row[1] != row[2]] == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_nearly_all_answers_are_the_same_to_the_letter(answers, system):
    same = [a.text == b.text for a, b in pairs(answers, system)]
    assert sum(same) / len(same) >= EQUAL, f"{sum(same)} of {len(same)}"


def test_the_adapter_answers_and_not_its_base(answers):
    base = [row.text for row in answers.tables["base_served"]]
    tuned = [row.text for row in answers.tables["tuned_served"]]
    assert sum(a != b for a, b in zip(base, tuned, strict=True)) > len(base) / 10


def test_the_server_reads_the_chat_in_parts(answers):
    """A template that servers take for one of plain texts gets its images' marks in other places."""
    assert "content format to be 'openai'" in answers.log
