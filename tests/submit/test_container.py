"""A packed container is whole, verified and within its size; its recipes name what lies there."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from tests.submit.conftest import EXPERTS, PROMPT
from workflow_scripts import ROOT
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.engines import Container
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration
from workflow_scripts.core.files import BadFile, sha256_of_file
from workflow_scripts.core.tasks import tasks
from workflow_scripts.models.record import read_record, write_record
from workflow_scripts.submit.container import Member, write_container


def test_the_record_lists_every_file_with_its_hash(folder):
    record = json.loads((folder / "container.json").read_text())
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert set(record["files"]) == set(files) - {"container.json"}
    for name, entry in record["files"].items():
        assert entry == {"bytes": files[name].stat().st_size, "sha256": sha256_of_file(files[name])}
    assert record["bytes"] == sum(entry["bytes"] for entry in record["files"].values())
    assert record["limits"] == {"gigabytes": 30.0, "seconds": 3600.0}


def test_the_record_says_what_answers_and_how(folder, toy):
    record = json.loads((folder / "container.json").read_text())
    assert record["system"] == {
        "system": "tuned", "adapter": "adapter", "constrained": False,
        "prompt": Prompt(system=PROMPT).model_dump(),
    }  # fmt: skip
    assert record["model"]["revision"] == read_record(toy)[0].revision
    assert (record["batch"], record["gpus"]) == (1024, 1)


def test_the_model_is_the_recorded_one_wherever_the_folder_lies(folder, toy, tmp_path):
    shutil.copytree(folder, tmp_path / "elsewhere")
    packed, place = read_record(tmp_path / "elsewhere/model.json")
    assert packed.content == read_record(toy)[0].content
    assert place == tmp_path / "elsewhere/model"
    assert {path.name for path in place.iterdir()} == set(packed.files)


def test_weights_take_no_second_place_on_the_disk(folder, toy):
    weights = read_record(toy)[1] / "model.safetensors"
    assert (folder / "model/model.safetensors").stat().st_ino == weights.stat().st_ino
    assert {path.name for path in (folder / "adapter").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors"
    }  # fmt: skip


def test_the_code_is_that_of_the_checkout_and_no_more(folder):
    packed = {path.relative_to(folder).as_posix() for path in (folder / "workflow_scripts").rglob("*.py")}
    assert packed == {path.relative_to(ROOT).as_posix() for path in (ROOT / "workflow_scripts").rglob("*.py")}
    assert not list(folder.rglob("__pycache__"))


def test_policies_on_answers_drop_no_row(folder):
    policies = json.loads((folder / "container.json").read_text())["policies"]
    assert policies["missing_image"] == "repair"  # as the dataset's
    assert policies["no_answer"] == policies["duplicate"] == policies["contradiction"] == "keep"


def test_what_the_recipes_copy_is_there(folder):
    docker = (folder / "Dockerfile").read_text()
    sources = [word for line in re.findall(r"^COPY (.+)$", docker, re.M) for word in line.split()[:-1]]
    apptainer = (folder / "container.def").read_text().split("%files")[1].split("%post")[0]
    pairs = [line.split() for line in apptainer.strip().splitlines()]
    assert {source.rstrip("/") for source in sources} == {source for source, _ in pairs}
    for source, target in pairs:
        assert (folder / source).exists(), source
        assert target == f"/workspace/{source}"
    copied = {source.rstrip("/") for source in sources}
    assert {path.name for path in folder.iterdir()} - copied == {"Dockerfile", "container.def"}


def test_the_recipes_name_a_tagged_image_and_install_the_pins(folder):
    docker, apptainer = (folder / "Dockerfile").read_text(), (folder / "container.def").read_text()
    image = f"python:{sys.version_info[0]}.{sys.version_info[1]}-slim-bookworm"
    assert re.findall(r"^FROM (.+)$", docker, re.M) == re.findall(r"^From: (.+)$", apptainer, re.M) == [image]
    for text in (docker, apptainer):
        [names] = re.findall(r"pip install --no-cache-dir -r (\S+) -c (\S+)", text)
        for name in names:
            assert (folder / name.removeprefix("/workspace/")).is_file()
        assert "requirements-gpu.txt" in names[0]
    for line in (folder / "envs/requirements-gpu.txt").read_text().splitlines():
        if line.startswith("-r "):
            assert (folder / "envs" / line.removeprefix("-r ")).is_file()


INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}


def test_every_line_of_the_dockerfile_is_an_instruction_with_arguments(folder):
    joined = (folder / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    assert lines[0].split()[0] == "FROM"
    assert all(line.split()[0] in INSTRUCTIONS and len(line.split()) > 1 for line in lines)
    [command] = [line.removeprefix("CMD ") for line in lines if line.startswith("CMD ")]
    assert json.loads(command) == ["sh", "predict.sh"]


def adapter_in(settings, tmp_path, place):
    """The files of the adapter that is packed for a system with this one."""
    given = settings | {"members": [Member(system="tuned", adapter=str(place))], "out": tmp_path / "out/container.json"}
    write_container(**given)
    assert json.loads(given["out"].read_text())["system"]["adapter"] == "adapter"
    return {path.name: path.read_bytes() for path in (tmp_path / "out/adapter").iterdir()}


def test_a_published_adapter_is_packed_from_its_record(settings, tmp_path):
    snapshot = shutil.copytree(settings["members"][0].adapter, tmp_path / "snapshot")
    record = tmp_path / "records/theirs.json"
    write_record(record, "theirs", "adapter", snapshot, "0" * 40, checkpoint="lab/theirs")
    names = ("adapter_config.json", "adapter_model.safetensors")
    assert adapter_in(settings, tmp_path, record) == {name: (snapshot / name).read_bytes() for name in names}
    (snapshot / "adapter_config.json").write_text('{"r": 4}')
    with pytest.raises(BadFile, match=r"adapter_config\.json was changed since .*theirs\.json was written"):
        adapter_in(settings, tmp_path, record)


def test_weights_trained_in_full_are_packed_with_their_record(settings, tmp_path):
    folder = tmp_path / "full"
    folder.mkdir()
    save_file({"q_proj": np.ones((2, 2), np.float32)}, folder / "weights.safetensors")
    (folder / "weights.json").write_text('{"weights": "attention"}')
    assert adapter_in(settings, tmp_path, folder) == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_base_model_without_cached_features_needs_neither_adapter_nor_index(settings, tmp_path):
    base = settings | {
        "system": "base",
        "members": [Member(system="base")],
        "features": False,
        "gpus": 0,
        "seconds": None,
        "threads": 1,
    }
    write_container(**base | {"out": tmp_path / "base/container.json"})
    folder = tmp_path / "base"
    script, docker = (folder / "predict.sh").read_text(), (folder / "Dockerfile").read_text()
    assert not (folder / "adapter").exists() and "adapter/" not in docker and "requirements.txt" in docker
    assert "features.extract" not in script and "--features" not in script
    assert "${LIMIT_SECONDS:-}" in script and "shm" not in script


def test_a_routed_system_is_packed_with_its_router_and_the_adapters_of_its_experts(routed):
    described = json.loads((routed / "container.json").read_text())
    assert described["system"]["route"]["experts"] == EXPERTS
    assert [expert["adapter"] for expert in described["system"]["experts"]] == ["adapters/few", "adapters/words", None]
    assert {path.name for path in (routed / "adapters").iterdir()} == {"few", "words"}
    assert (routed / "router/router.json").is_file()
    test_what_the_recipes_copy_is_there(routed)


@pytest.mark.parametrize(
    ("route", "systems", "sentence"),
    [
        ({"by": "oracle", "experts": ["base", "tuned"]}, {}, "'oracle' reads scores, which no challenge gives: pack"),
        (
            {"by": "rule", "experts": {"report": "tuned"}, "default": "majority"}, {},
            "'by_task' routes to 'majority', which loads no model in its job; leave that expert out",
        ),
        (
            {"by": "rule", "experts": {"report": "tuned"}, "default": "other"}, {"other": {"model": "second"}},
            "'by_task' routes to systems of second, tiny, and a container holds one model",
        ),
        (
            {"by": "rule", "experts": {"report": "tuned"}}, {},
            "'by_task' has no default, and a challenge may ask what no expert is named for; name a default",
        ),
        (
            {"by": "rule", "on": "modality", "experts": dict.fromkeys(tasks(), "tuned")}, {},
            "'by_task' has no default, and a challenge may ask what no expert is named for; name a default",
        ),
    ],
)  # fmt: skip
def test_a_router_that_cannot_answer_in_a_container_is_refused_with_a_sentence(route, systems, sentence):
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    name = "oracle" if route["by"] == "oracle" else "by_task"
    raw["models"]["second"] = raw["models"]["tiny"]
    raw["systems"] |= systems | {name: {"route": route}}
    with pytest.raises(ConfigurationError, match=re.escape(f"container.systems: {sentence}")):
        load_configuration(raw | {"container": {"systems": [name]}}, "my.yaml")


def test_a_router_with_an_expert_for_every_task_needs_no_default():
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    raw["systems"] |= {"by_task": {"route": {"by": "rule", "experts": dict.fromkeys(tasks(), "tuned")}}}
    assert load_configuration(raw | {"container": {"systems": ["by_task"]}}, "my.yaml").container.systems == (
        "by_task",
    )


def test_an_image_that_would_be_too_large_is_refused_before_it_is_there(settings, tmp_path):
    with pytest.raises(Refused, match=r"an image of about 10\.\d GB.*limit is 10 GB.*raise container\.gigabytes"):
        write_container(**settings | {"gigabytes": 10.0, "out": tmp_path / "large/container.json"})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_something_else_is_not_replaced(settings, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("years")
    with pytest.raises(Refused, match=r"holds thesis\.tex, which is no part of a container"):
        write_container(**settings | {"out": tmp_path / "mine/container.json"})
    assert (tmp_path / "mine/thesis.tex").read_text() == "years"


def test_a_container_is_replaced_whole(settings, tmp_path):
    given = settings | {"out": tmp_path / "again/container.json"}
    write_container(**given)
    (tmp_path / "again/model/stale.txt").write_text("of another model")
    write_container(**given)
    assert not (tmp_path / "again/model/stale.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


@pytest.mark.parametrize("change", ["changed", "removed"])
def test_a_model_that_is_not_the_recorded_one_is_refused(settings, toy, tmp_path, change):
    shutil.copytree(toy.with_suffix(""), tmp_path / "toy")
    shutil.copyfile(toy, tmp_path / "toy.json")
    file = tmp_path / "toy/config.json"
    file.write_text(file.read_text() + " ") if change == "changed" else file.unlink()
    with pytest.raises(BadFile, match=r"config\.json is (not what|missing).*delete .*toy\.json and run again"):
        write_container(**settings | {"model": tmp_path / "toy.json", "out": tmp_path / "out/container.json"})
    assert not (tmp_path / "out").exists()


def test_a_task_of_another_package_is_refused(settings, tmp_path, monkeypatch):
    """The container would not know it: a package that registers a task is really there, while this test runs."""
    site = tmp_path / "site"
    about = site / "foreign-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Name: foreign\nVersion: 1\n")
    (about / "entry_points.txt").write_text("[flarebench.tasks]\nyes_no = foreign:TASK\n")
    (site / "foreign.py").write_text(
        "from workflow_scripts.core.tasks import Task\nTASK = Task('yes_no', ('yes no',), 8, 'foreign')\n"
    )
    monkeypatch.syspath_prepend(site)
    tasks.cache_clear()
    try:
        with pytest.raises(Refused, match="task 'yes_no' is defined in foreign, which the container does not hold"):
            write_container(**settings)
    finally:
        monkeypatch.undo()
        tasks.cache_clear()
    assert "yes_no" not in tasks()


@pytest.mark.parametrize("name", ["majority", "tund"])
def test_a_system_without_a_model_here_is_refused_in_the_configuration(name):
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    with pytest.raises(ConfigurationError, match=rf"container\.systems: '{name}' is no system whose .*: base, tuned$"):
        load_configuration(raw | {"container": {"systems": [name]}}, "my.yaml")


def test_the_tuned_systems_are_packed_where_none_is_named():
    assert Container().to_pack(["tuned"], ["base", "tuned"]) == ["tuned"]
    assert Container(systems=("base",)).to_pack(["tuned"], ["base", "tuned"]) == ["base"]
    with pytest.raises(ValueError, match=r"no system is tuned; name one in container\.systems: base"):
        Container().to_pack([], ["base"])
