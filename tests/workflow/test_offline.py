"""The network is cut after fetching: what was fetched by rules where Snakemake runs is all that the jobs need.

A hub on localhost holds a dataset, a model, two judges and an encoder. The fetching rules run against it; the rest of
the plan runs in a network namespace without routes, where not even the loopback is up.
"""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
import yaml

from tests.loopback import LoopbackServer, QuietHandler
from tests.workflow.runs import ROOT, checkout, logged_out, snakemake
from workflow_scripts.core.rows import JudgedPair, MetricValue
from workflow_scripts.core.tables import read_rows
from workflow_scripts.judges import upstream
from workflow_scripts.models.record import ModelRecord
from workflow_scripts.synthetic.model import SHIPPED

pytestmark = [
    pytest.mark.extended,  # three minutes
    pytest.mark.workflow,
    pytest.mark.skipif(
        upstream.importlib.util.find_spec("radeval") is None or upstream.importlib.util.find_spec("CRIMSON") is None,
        reason="needs `pip install --no-deps -r envs/requirements-judges.txt`",
    ),
]
CUT = ("unshare", "--user", "--map-root-user", "--net")
"""Runs a command in a network namespace of its own, which has no route to anywhere."""

FETCHING = {"data_download", "models_fetch"}
MODEL, JUDGES, ENCODER, DATASET = "lab/toy", {"crimson": "lab/gemma", "green": "lab/llama"}, "lab/bert", "lab/flare"


def commit_of(repo: str) -> str:
    """The one commit of a repository."""
    return hashlib.sha1(repo.encode(), usedforsecurity=False).hexdigest()


class ModelHub(LoopbackServer):
    """Folders as repositories of a hub, each at one commit: what listing and downloading need, over real HTTP.

    `requests` counts what it was asked.
    """

    def __init__(self, models: dict[str, Path], datasets: dict[str, Path]) -> None:
        self.repositories = {f"models/{name}": folder for name, folder in models.items()}
        self.repositories |= {f"datasets/{name}": folder for name, folder in datasets.items()}
        self.requests = 0
        super().__init__()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:
        class Handler(QuietHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                hub.requests += 1
                path = self.path.partition("?")[0]
                if listed := re.fullmatch(r"/api/(models|datasets)/([\w.-]+/[\w.-]+)/(revision|tree)/(\w+)", path):
                    kind, repo, action, revision = listed.groups()
                    folder, commit = hub.repositories.get(f"{kind}/{repo}"), commit_of(repo)
                    if folder is None or revision not in ("main", commit):
                        return self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)
                    if action == "revision":
                        answer: object = {"id": repo, "sha": commit, "siblings": []}
                    else:
                        answer = [entry(folder, file) for file in sorted(folder.rglob("*")) if file.is_file()]
                    return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)
                if file := re.fullmatch(r"/(datasets/)?([\w.-]+/[\w.-]+)/resolve/(\w+)/(.+)", path):
                    kind, repo, _, name = file.groups()
                    folder = hub.repositories.get(f"{'datasets' if kind else 'models'}/{repo}")
                    if folder is not None and (folder / name).is_file():
                        data = (folder / name).read_bytes()
                        headers = {"ETag": f'"{digest(data)}"', "X-Repo-Commit": commit_of(repo)}
                        return self._send(200, data, headers, body)
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)

            def _send(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    self.wfile.write(data)

        return Handler


def digest(data: bytes) -> str:
    """Git's name of a blob."""
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()


def entry(folder: Path, file: Path) -> dict[str, object]:
    """A file as a hub lists it."""
    data = file.read_bytes()
    return {"type": "file", "path": file.relative_to(folder).as_posix(), "size": len(data), "oid": digest(data)}


def tokenizer_of(folder: Path, special: list[str], **named: str) -> int:
    """Write a tokenizer of bytes to `folder`; its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate([*special, *letters])}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=16384, **named).save_pretrained(folder)
    return len(vocabulary)


def write_llama(folder: Path) -> None:
    """A random judge of GREEN's class, with half a megabyte of weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = tokenizer_of(folder, ["<pad>", "</s>"], pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=16384, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def write_gemma(folder: Path) -> None:
    """A judge of CRIMSON's class, `Gemma3ForConditionalGeneration`: a random one as small as the class allows."""
    from workflow_scripts.synthetic.pretraining import build_model, build_processor

    processor = build_processor(vocabulary=600, seed=0)
    model = build_model(processor, width=64, layers=1, seed=0)
    assert type(model).__name__ == "Gemma3ForConditionalGeneration"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def write_bert(folder: Path) -> None:
    """A random encoder for BERTScore."""
    import torch
    from transformers import BertConfig, BertModel

    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    size = tokenizer_of(folder, list(names.values()), **names)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=512,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)


def configuration() -> dict[str, object]:
    """Like config/smoke.yaml, with everything from the hub: the dataset, the model, judges and an encoder."""
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw["results"] = "results"
    raw["datasets"] = {"toy": {"source": "hub", "repo": DATASET, "revision": "main"}}
    raw["models"] = {
        "tiny": {"source": "hub", "family": "gemma3", "checkpoint": MODEL, "revision": commit_of(MODEL)}
        | {"gated": False, "gpus": 0}
    }
    raw["recipes"]["qlora"] |= {"steps": 2, "save_every": 2}
    judge = {"revision": "main", "gpus": 0, "max_new_tokens": 8, "retries": 0, "invalid_share": 1.0}
    raw["judges"] |= {
        metric: {"backend": metric, "checkpoint": checkpoint, **judge} for metric, checkpoint in JUDGES.items()
    }
    raw["scoring"] |= {"bertscore": {"checkpoint": ENCODER, "revision": "main", "layer": 1}}
    return raw


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """No token, and a cache of the hub that is empty."""
    return logged_out() | {"HF_HOME": str(tmp_path_factory.mktemp("hub_cache"))}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    for name, write in (("llama", write_llama), ("gemma", write_gemma), ("bert", write_bert)):
        (folder / name).mkdir()
        write(folder / name)
    dataset = [sys.executable, "-m", "workflow_scripts.synthetic.dataset", "--spec", '{"seed": 7, "scale": 0.05}']
    dataset += ["--out", str(folder / "flare"), "--manifest", str(folder / "manifest.json")]
    subprocess.run(dataset, cwd=ROOT, check=True)
    models = {JUDGES["green"]: folder / "llama", JUDGES["crimson"]: folder / "gemma", ENCODER: folder / "bert"}
    with ModelHub(models | {MODEL: SHIPPED}, {DATASET: folder / "flare"}) as running:
        yield running


@pytest.fixture(scope="module")
def fetched(hub, environment, tmp_path_factory):
    """A checkout in which the fetching rules have run, and what they printed."""
    folder = checkout(tmp_path_factory.mktemp("offline"))
    (folder / "mine.yaml").write_text(yaml.safe_dump(configuration(), sort_keys=False))
    targets = ["results/data/toy/manifest.json", "results/models/tiny.json", "results/models/encoders/bertscore.json"]
    targets += [f"results/models/judges/{judge}.json" for judge in JUDGES]
    # A dataset of the hub is taken to be gated; this hub takes any token.
    online = environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_token"}
    output = snakemake(folder, *targets, "--configfile", "mine.yaml", env=online)
    return SimpleNamespace(folder=folder, output=output, requests=hub.requests)


def test_fetching_resolves_main_and_records_and_prints_the_commit(fetched):
    for name, repo in (
        *((f"judges/{metric}", repo) for metric, repo in JUDGES.items()),
        ("encoders/bertscore", ENCODER),
    ):
        path = fetched.folder / f"results/models/{name}.json"
        record = ModelRecord.model_validate_json(path.read_text())
        assert (record.checkpoint, record.revision) == (repo, commit_of(repo))
        assert f"revision: {commit_of(repo)}" in fetched.output
        assert "model.safetensors" in record.files


@pytest.fixture(scope="module")
def cut(fetched, hub, environment):
    """What Snakemake printed where there is no network, on the way to everything."""
    if shutil.which(CUT[0]) is None:
        pytest.skip("unshare is not installed (Debian's util-linux)")
    trial = subprocess.run([*CUT, "true"], capture_output=True, text=True)
    if trial.returncode:
        pytest.skip(f"this kernel gives no network namespace: {trial.stderr.strip()}")
    with socket.create_connection(hub.address, timeout=10):
        pass  # the hub is up: what is cut is the way to it
    reach = f"import socket; socket.create_connection({hub.address!r}, timeout=10)"
    away = subprocess.run([*CUT, sys.executable, "-c", reach], capture_output=True, text=True)
    assert away.returncode and "Network is unreachable" in away.stderr
    command = [*CUT, sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "mine.yaml"]
    online = environment | {"HF_ENDPOINT": hub.endpoint}  # as a user's shell has it: the jobs must not use it
    before = hub.requests
    done = subprocess.run(
        command, cwd=fetched.folder, env=online, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert hub.requests == before
    return done.stdout


def test_without_a_network_the_rest_of_the_plan_runs_and_fetches_nothing(cut):
    table = re.search(r"^job +count\n-+ +-+\n(.*?)\n\n", cut, re.S | re.M)
    assert table, cut[:3000]
    ran = set(re.findall(r"^(\w+) +\d+$", table[1], re.M))
    stages = {"features_extract", "train_tune", "infer_answer", "score_judge", "score_bertscore", "score_reports"}
    assert ran >= stages | {"data_convert", "score_metrics", "report_tables", "report_page"}
    assert not ran & FETCHING
    assert "(100%) done" in cut and "unreachable" not in cut


def test_what_was_computed_there_is_whole(cut, fetched):
    results = fetched.folder / "results"
    rows = pq.read_table(results / "splits/validation/rows.parquet").num_rows
    for system in ("base", "tuned", "majority"):
        assert pq.read_table(results / f"predictions/validation/{system}.parquet").num_rows == rows
    values = read_rows(results / "scores/validation/metrics.parquet", MetricValue)
    judged = {(value.metric, value.judge) for value in values}
    assert judged >= {("crimson", "crimson"), ("green", "green"), ("crimson", "rule_based"), ("bertscore", None)}
    for judge in JUDGES:
        [table] = (results / "scores/validation/judgements").glob(f"{judge}.*.parquet")
        pairs = read_rows(table, JudgedPair)
        assert pairs and all(pair.status == "valid" or pair.reason for pair in pairs)
        assert not any("died" in (pair.reason or "") for pair in pairs)
    assert (results / "report/validation/index.html").is_file()


def test_a_plan_without_a_network_is_a_plan(cut, fetched, environment):
    """Nothing is left to be done, and planning it asks nobody."""
    command = [*CUT, sys.executable, "-m", "snakemake", "-n", "--configfile", "mine.yaml"]
    done = subprocess.run(command, cwd=fetched.folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr


def test_a_checkpoint_that_was_not_fetched_is_one_sentence_there(cut, fetched, environment):
    """The fetching rule says what is missing; it does not hang."""
    folder, target = fetched.folder, "results/models/judges/green.json"
    record, moved = folder / target, folder / "green.away"
    record.rename(moved)
    try:
        command = [*CUT, sys.executable, "-m", "snakemake", "--cores", "1", target, "--configfile", "mine.yaml"]
        empty = environment | {"HF_HOME": str(folder / "empty"), "HF_ENDPOINT": "http://127.0.0.1:9"}
        done = subprocess.run(command, cwd=folder, env=empty, capture_output=True, text=True, timeout=300)
    finally:
        moved.rename(record)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert f"error: {JUDGES['green']} could not be downloaded" in said
