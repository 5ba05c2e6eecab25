"""Systems behind a server: what is planned, and a run that asks one."""

import os

import pyarrow.parquet as pq
import pytest
import yaml

from tests.chat_server import ChatServer
from tests.workflow.runs import checkout, logged_out, planned, refused, snakemake

pytestmark = pytest.mark.workflow
ANSWERS = "results/smoke/predictions/validation/there.parquet"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("server"))


def written(folder, name, change, like="smoke"):
    """A configuration like another with one change, in the checkout."""
    raw = yaml.safe_load((folder / f"config/{like}.yaml").read_text())
    change(raw)
    (folder / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return ("--configfile", f"config/{name}.yaml")


def served(url="http://127.0.0.1:9/v1", recipe=None, **engine):
    """A change of a configuration: one system, behind a server."""

    def change(raw):
        [model] = raw["models"]
        raw["engines"] = {"lab": {"url": url, **engine}}
        system = {"model": model, "engine": "lab", "served_as": "base"}
        if recipe:
            system |= {"recipe": recipe, "train": "train", "served_as": "tuned"}
        raw["systems"] = {"there": system}

    return change


def test_a_base_model_behind_a_server_is_neither_fetched_nor_loaded(folder):
    plan = planned(folder, *written(folder, "base", served()))
    assert plan["infer_ask"] == 1 and plan["infer_gather"] == 1
    assert not plan.keys() & {"infer_answer", "synthetic_model", "models_fetch", "features_extract", "train_tune"}


def test_a_tuned_system_behind_a_server_is_trained_first(folder):
    configuration = written(folder, "tuned", served(recipe="qlora"))
    assert planned(folder, ANSWERS, *configuration) == {
        "synthetic_dataset": 1,
        "data_convert": 1,
        "data_split": 2,
        "synthetic_model": 1,
        "features_extract": 1,  # of the training split alone
        "train_tune": 1,
        "infer_ask": 1,
        "infer_gather": 1,
    }
    output = snakemake(folder, "-n", ANSWERS, *configuration)
    assert output.index("Tuning there") < output.index("Asking a server for there")


@pytest.mark.parametrize(("recipe", "needed"), [(None, False), ("course", True)])
def test_a_gated_model_needs_a_token_only_where_it_is_loaded(folder, tmp_path, recipe, needed):
    def change(raw):
        served(recipe=recipe)(raw)
        raw["datasets"]["iu_xray"]["mirror"] = str(tmp_path)

    environment = logged_out()
    configuration = written(folder, f"gated-{recipe}", change, like="minicourse")
    sentence = "google/medgemma-1.5-4b-it is gated and HF_TOKEN is not set"
    if needed:
        assert sentence in refused(folder, *configuration, env=environment)
    else:  # the mirror is empty and there is no hub, so that a first job fails: the run did begin
        output = snakemake(folder, *configuration, env=environment, code=1)
        assert sentence not in output and "Error in rule " in output


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda there: there.update(recipe="tower", train="train"),
            "servers leave out the vision tower's part of an adapter, which recipe 'tower' tunes",
        ),
        (lambda there: there.update(constrained=True), "constrained needs the model in the job itself"),
        (lambda there: there.pop("served_as"), "engine and served_as go together"),
        (lambda there: there.update(engine="lob"), "systems.there.engine: 'lob' is not in `engines`; allowed: lab"),
    ],
)
def test_a_wrong_entry_is_one_sentence(folder, change, sentence):
    def both(raw):
        served()(raw)
        raw["recipes"]["tower"] = {"lora": {"targets": "all-linear"}}
        change(raw["systems"]["there"])

    assert sentence in refused(folder, "-n", *written(folder, "wrong", both))


def test_one_name_on_a_server_stands_for_one_set_of_weights(folder):
    def both(raw):
        served()(raw)
        there = raw["systems"]["there"]
        raw["systems"]["brief"] = there | {"prompt": {"system": "Be brief."}}
        raw["systems"]["tuned"] = there | {"recipe": "qlora", "train": "train"}

    sentence = "systems.tuned.served_as: 'base' on 'lab' already stands for other weights"
    assert sentence in refused(folder, "-n", *written(folder, "doubled", both))


def test_a_run_asks_the_server_and_how_it_is_asked_is_no_reason_to_ask_again(folder):
    environment = os.environ | {"LAB_TOKEN": "sk-Zq81hVw0"}
    with ChatServer(token="sk-Zq81hVw0") as server:
        first = written(folder, "run", served(server.url, token_variable="LAB_TOKEN", workers=3))
        output = snakemake(folder, ANSWERS, *first, env=environment)
        requests = len(server.bodies)
    rows = pq.read_table(folder / "results/smoke/splits/validation/rows.parquet").num_rows
    assert pq.read_table(folder / ANSWERS).num_rows == rows == requests
    assert "sk-Zq81hVw0" not in output
    assert not any(b"sk-Zq81hVw0" in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    second = written(folder, "elsewhere", served("http://elsewhere:1/v1", workers=9, timeout=5, retries=1))
    assert planned(folder, ANSWERS, *second) == {}

    def longer(raw):
        served()(raw)
        raw["inference"]["max_new_tokens"]["counting"] = 9

    other = written(folder, "budget", longer)
    assert planned(folder, ANSWERS, *other) == {"infer_ask": 1, "infer_gather": 1}


def test_a_server_that_wants_no_token_is_asked_without_one(folder):
    with ChatServer() as server:

        def change(raw):
            served(server.url)(raw)
            raw["results"] = "results/free"

        snakemake(folder, ANSWERS.replace("smoke", "free"), *written(folder, "free", change))
        assert server.bodies
