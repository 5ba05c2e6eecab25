"""What can be output before a run: plans without network, and refusals before any job."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml

from tests.workflow.runs import checkout, logged_out, planned, refused, snakemake

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("plan"))


@pytest.mark.parametrize("name", ["medgemma-flare", "minicourse"])
def test_a_gated_configuration_plans_without_token_network_or_gpu(folder, name):
    environment = logged_out()
    output = snakemake(folder, "-n", "--configfile", f"config/{name}.yaml", env=environment)
    assert "Tuning tuned on stored features [2 CPU, 1 GPU, 48000 MB, 720 min]" in output
    assert "models_fetch" in output and "data_download" in output


def test_8_bits_stand_beside_16_in_systems_and_recipes_of_their_own(folder):
    output = snakemake(folder, "-n", "-p", "--configfile", "config/medgemma-fp8.yaml", env=logged_out())
    for system in ("tuned", "tuned8", "trained8"):
        assert f"Tuning {system} on stored features [2 CPU, 1 GPU" in output
    assert "Computing vision features of validation with medgemma15-tower8" in output
    for shared in ("base+tuned", "base8+tuned8+trained8", "tower8"):
        assert output.count(f"Answering validation with {shared}, shard ") == 4


def test_a_published_adapter_is_fetched_and_answered_in_the_job_of_its_base_and_nothing_is_trained(folder):
    output = snakemake(folder, "-n", "--configfile", "config/flare25-medgemma.yaml", env=logged_out())
    assert "Fetching adapters/flare25 at its revision, about 0.13 GB [" in output
    assert "Fetching medgemma at its revision, about 8.6 GB [" in output
    assert output.count("Answering validation with base+flare25, shard ") == 4
    assert "Computing vision features of validation with medgemma" in output
    assert "train_tune" not in output and "vision features of train" not in output


def test_two_families_are_compared_each_in_its_own_form_of_boxes_and_with_prompts_by_task(folder):
    output = snakemake(folder, "-n", "-p", "--configfile", "config/qwen3-vl.yaml", env=logged_out())
    assert "Fetching qwen3vl at its revision" in output and "Fetching medgemma15 at its revision" in output
    for model in ("qwen3vl", "medgemma15"):
        assert f"Answering validation with {model}+{model}-tuned, shard " in output
    assert "Computing vision features of validation with medgemma15" in output
    assert "features of validation with qwen3vl" not in output  # an image has 12 MB of them
    tuning = [line for line in output.splitlines() if "workflow_scripts.train.tune" in line]
    forms = {form for line in tuning for form in re.findall(r'"convention":"(\w+)","padded":(\w+)', line)}
    assert len(tuning) == 2 and forms == {("qwen3_vl", "false"), ("medgemma", "true")}
    assert all("Give boxes that enclose it closely." in line for line in tuning)


def test_a_given_configuration_replaces_the_default(folder):
    output = snakemake(folder, "-n", "--configfile", "config/minicourse.yaml")
    assert "results/minicourse" in output
    assert "synthetic_dataset" not in output and "results/data" not in output


def test_the_default_plans_every_stage_once(folder):
    assert planned(folder) == {
        "data_audit": 1,
        "data_convert": 1,
        "synthetic_dataset": 1,
        "data_sft": 1,
        "data_split": 2,
        "features_extract": 2,
        "infer_answer": 2,
        "infer_gather": 2,
        "infer_baseline": 3,
        "synthetic_model": 1,
        "report_card": 1,
        "report_figures": 1,
        "report_page": 1,
        "report_tables": 1,
        "score_comparisons": 1,
        "score_judge": 1,
        "score_metrics": 1,
        "score_outcomes": 5,
        "score_reports": 5,
        "train_tune": 1,
    }


def test_scatter_is_set_on_the_command_line(folder):
    assert planned(folder, "--set-scatter", "infer=5")["infer_answer"] == 10


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--config", "modls=3"], "modls: unknown key; did you mean 'models'?"),
        (["--configfile", "config/local.yaml"], "add `--config dataset_path=FOLDER`"),
        (["--configfile", "config/local.yaml", "--config", "dataset_path=nowhere"], "nowhere does not exist"),
        (["--configfile", "config/local.yaml", "--config", "dataset_path=config"], "holds no question file"),
        (
            ["--config", "models={tiny: {source: synthetic, gpus: 3}}"],
            "16 rows cannot be shared by the 3 GPUs of 'tiny'",
        ),
        (
            ["--config", "systems={theirs: {predictions: none.json}}"],
            "systems.theirs.predictions: none.json is not a file",
        ),
    ],
)
def test_bad_input_is_one_sentence_before_any_job(folder, arguments, sentence):
    assert sentence in refused(folder, *arguments)


def test_a_gated_run_without_a_token_stops_before_any_job(folder):
    environment = logged_out()
    output = refused(folder, "--configfile", "config/minicourse.yaml", env=environment)
    [sentence] = [line for line in output.splitlines() if "HF_TOKEN is not set" in line]
    assert "google/medgemma-1.5-4b-it is gated and HF_TOKEN is not set: accept its terms at" in sentence
    assert "FLARE-MedFM/FLARE-MLLM-2D is gated" in sentence


@pytest.mark.parametrize(("name", "splits"), [("medgemma-flare", 2), ("minicourse", 1), ("flare25-medgemma", 1)])
def test_crimson_and_green_are_fetched_and_loaded_once_a_split_with_gpu_memory_and_time(folder, name, splits):
    output = snakemake(folder, "-n", "--configfile", f"config/{name}.yaml")
    for judge, size in (("crimson", "7.8"), ("green", "13.5")):
        assert len(re.findall(rf"Fetching judges/{judge} at its revision, about {size} GB \[", output)) == 1
        assert (
            len(re.findall(rf"Judging the reports on \w+ with {judge}, 1-of-1: .* 1 GPU, 48000 MB, 480 min]", output))
            == splits
        )
    assert "Scoring the reports of nearest on validation [1 CPU," in output


def test_a_judges_shards_are_jobs_that_every_report_score_waits_for(folder):
    judges = "judges={crimson: {backend: crimson, shards: 3}}"
    assert planned(folder, "--config", judges) | {"score_judge": 4, "models_fetch": 1} == planned(
        folder, "--config", judges
    )


def test_a_token_that_a_login_stored_is_as_good_as_one_in_the_environment(folder, tmp_path):
    (tmp_path / "token").write_text("hf_stored")
    raw = yaml.safe_load((folder / "config/minicourse.yaml").read_text())
    raw["datasets"]["iu_xray"]["mirror"] = str(tmp_path)
    (folder / "config/stored.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    environment = logged_out() | {"HF_TOKEN_PATH": str(tmp_path / "token")}
    # The mirror is empty, so that the first job fails: the run did begin.
    begin = ("--configfile", "config/stored.yaml", "--until", "data_download")
    output = snakemake(folder, *begin, env=environment, code=1)
    assert "HF_TOKEN is not set" not in output and "Error in rule data_download" in output


def test_what_the_configuration_needs_is_looked_at_before_the_first_job(folder):
    tracker = next((name for name in ("tensorboard", "trackio", "wandb") if find_spec(name) is None), None)
    if tracker is None:
        pytest.skip("every tracker is installed")
    environment = logged_out() | {"NO_SUCH_TOKEN": ""}
    judge = "{backend: openai, metric: crimson, url: 'http://127.0.0.1:9/v1', model: m, revision: '1', "
    judge += "token_variable: NO_SUCH_TOKEN}"
    needs = ("--config", f"tracking={tracker}", f"judges={{crimson: {judge}}}")
    output = refused(folder, *needs, env=environment)
    [sentence] = [line for line in output.splitlines() if "tracking needs" in line]
    assert f"tracking needs {tracker}, which is not installed; " in sentence
    assert "judges.crimson needs the token in NO_SUCH_TOKEN, which is not set; remedies: `pip install" in sentence
    # A plan, and a run of jobs that need none of it, go on.
    assert "tracking needs" not in snakemake(folder, "-n", *needs, env=environment)
    wanted = "results/data/toy/manifest.json"
    snakemake(folder, wanted, *needs, "datasets={toy: {source: synthetic, scale: 0.01}}", env=environment)


def test_the_default_configuration_is_found_from_anywhere(folder, tmp_path):
    plan = planned(tmp_path, "-s", str(folder / "Snakefile"))
    assert plan == planned(folder)
    shutil.copytree(folder / "config", tmp_path / "config")
    raw = yaml.safe_load((folder / "config/config.yaml").read_text()) | {"evaluate": ["validation"]}
    del raw["systems"]["nearest"]
    (tmp_path / "config/config.yaml").write_text(yaml.safe_dump(raw))
    assert (
        planned(tmp_path, "-s", str(folder / "Snakefile"))["infer_baseline"] == 2
    )  # one of the user's own comes first


@pytest.mark.parametrize("results", ["./x/", "x//y/"])
def test_results_are_planned_without_a_warning_however_their_folder_is_written(folder, results):
    output = snakemake(folder, "-n", "--config", f"results={results}")
    assert "warning" not in output.lower() and "contains double" not in output and "Relative file path" not in output
    assert "x/report/validation/index.html" in output or "x/y/report/validation/index.html" in output


def test_a_recipe_that_tunes_the_tower_uses_no_stored_features_of_its_system(folder):
    recipes = "recipes={qlora: {lora: {targets: all-linear}}}"
    plan = planned(folder, "--config", recipes)
    assert plan["features_extract"] == 1  # of the base system's answers
    assert plan["train_tune"] == 1


def test_a_local_checkpoint_and_a_mirror_need_no_token(folder, tmp_path):
    raw = yaml.safe_load((folder / "config/minicourse.yaml").read_text())
    raw["models"]["medgemma15"] |= {"checkpoint": str(tmp_path), "revision": None}
    raw["datasets"]["iu_xray"]["mirror"] = str(tmp_path)
    (folder / "config/offline.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    environment = logged_out()
    # Both folders are empty, so that the first job fails: the run did begin.
    output = snakemake(folder, "--configfile", "config/offline.yaml", env=environment, code=1)
    assert "Error in rule data_download" in output or "Error in rule models_fetch" in output
    assert "HF_TOKEN is not set" not in output


def test_a_plan_is_priced_by_limits_and_by_what_earlier_jobs_took(folder):
    output = snakemake(folder, "-np", "--configfile", "config/minicourse.yaml")
    earlier = folder / "results/minicourse/benchmarks/train_tune/tuned.tsv"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("s\th:m:s\n1800.0\t0:30:00\n")
    command = [sys.executable, "-m", "workflow_scripts.cli.cost"]
    priced = subprocess.run(command, cwd=folder, input=output, capture_output=True, text=True, check=True).stdout
    shutil.rmtree(folder / "results")
    lines = {line.split()[0]: line.split(maxsplit=4)[1:] for line in priced.splitlines()}
    assert lines["train_tune"] == ["1", "1.00", "0.50", "mean of 1 earlier"]
    assert lines["features_extract"][0] == "2" and lines["features_extract"][3] == "at most, by the time limit"
    assert int(lines["total"][0]) == sum(int(line[0]) for rule, line in lines.items() if rule not in ("rule", "total"))
    assert lines["total"][3] == "at most"


def test_predictions_of_another_project_are_imported_and_every_answer_can_be_exported(folder):
    (folder / "theirs.jsonl").write_text("")
    theirs = ("--config", "systems={theirs: {predictions: theirs.jsonl}}")
    plan = planned(folder, *theirs)
    assert (plan["infer_imported"], plan["infer_answer"], plan["score_outcomes"]) == (1, 2, 6)
    assert "infer_export" not in plan
    assert planned(folder, "challenge", *theirs)["infer_export"] == 3


def test_a_split_to_submit_is_answered_and_neither_scored_nor_reported(folder):
    hidden = (
        "--config",
        "splits={hidden: {dataset: toy, folder: validation-public, only: [cells]}}",
        "datasets={toy: {policies: {no_answer: keep}}}",
        "submit=[hidden]",
    )
    plan = planned(folder, "challenge", *hidden)
    assert (plan["infer_answer"], plan["infer_export"]) == (2, 2)
    assert plan["data_split"] == 2  # the training split and the submitted one
    assert not any(rule.startswith(("score_", "report_")) for rule in plan)
    output = snakemake(folder, "-n", "-p", "challenge", *hidden)
    assert "predictions/hidden/tuned.json" in output and "predictions/validation/" not in output
    assert output.count("--unanswered keep") == output.count("--unanswered leave-out") == 1
    assert planned(folder, *hidden) == planned(folder)


def test_bertscore_is_planned_where_an_encoder_is_given(folder):
    (folder / "encoder").mkdir()
    plan = planned(folder, "--config", "scoring={bertscore: {checkpoint: encoder, layer: 1}}")
    assert plan["score_bertscore"] == plan["score_reports"] == 5
