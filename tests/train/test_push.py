"""An upload is one commit of weights and card, only where it is asked for, never to a repository of another kind."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from huggingface_hub import ModelCard, constants
from safetensors.torch import save

from tests.train.model_hub import ModelHub, Repository
from tests.workflow.runs import checkout, logged_out, planned, snakemake
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.workflow import ConfigurationError, Publication, load_configuration
from workflow_scripts.core.files import BadFile, sha256_of
from workflow_scripts.train.push import push

TOKEN = "hf_secretsecretsecret"
REPO = "lab/flare-adapter"
CARD = """---
library_name: peft
base_model: google/medgemma-1.5-4b-it
base_model_relation: adapter
---
# Adapter tuned by flarebench
"""


@pytest.fixture
def hub():
    with ModelHub(TOKEN) as hub:
        yield hub


@pytest.fixture
def folder(tmp_path):
    """An adapter's folder with files that are not to be uploaded beside those that are."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(save({"a": torch.ones(3)}))
    for name in ("adapter_config.json", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text(f'{{"{name}": 1}}')
    for name in ("README.md", "training_args.bin", ".hidden.json", "notes.log"):
        (folder / name).write_text("not to be uploaded")
    (tmp_path / "card.md").write_text(CARD)
    return folder


def pushed(folder, hub, *, token=TOKEN, code=0, **publication):
    """Run the step as its rule does; what it says."""
    spec = Publication(repo=REPO, **publication)
    environment = logged_out() | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": token}
    flags = ["--publication", spec.spec(), "--system", "tuned", "--folder", str(folder)]
    flags += ["--card", str(folder.parent / "card.md"), "--out", str(folder.parent / "published.json")]
    command = [sys.executable, "-m", "workflow_scripts.train.push", *flags]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert TOKEN not in said and "Traceback" not in said
    return said


@pytest.fixture
def push_here(hub, folder, monkeypatch):
    """The step in this process, with the hub on localhost as its only one."""
    for name, value in (("ENDPOINT", hub.endpoint), ("HF_HUB_DISABLE_XET", True), ("HF_HUB_OFFLINE", False)):
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder.parent / "no-token"))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    places = {"folder": folder, "card": folder.parent / "card.md", "out": folder.parent / "published.json"}
    return lambda **publication: push(publication=Publication(repo=REPO, **publication), system="tuned", **places)


UPLOADED = {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"}


def test_an_adapter_and_its_card_become_one_commit_of_a_new_private_repository(hub, folder):
    said = pushed(folder, hub)
    repository = hub.repositories[REPO]
    assert repository.private and repository.commits == ["adapter of tuned, by flarebench"]
    assert set(repository.files) == UPLOADED | {"README.md", ".gitattributes"}
    assert all(repository.files[name] == (folder / name).read_bytes() for name in UPLOADED)
    assert repository.files["README.md"].decode() == CARD
    record = json.loads((folder.parent / "published.json").read_text())
    assert (record["repo"], record["what"], record["private"]) == (REPO, "adapter", True)
    assert record["files"] == {name: sha256_of((folder / name).read_bytes()) for name in UPLOADED}
    assert f"commit {record['commit']}" in said and TOKEN not in json.dumps(record)


def test_merged_weights_replace_an_adapter_and_leave_other_files(hub, folder, push_here):
    present = {"LICENSE": b"x", "adapter_config.json": b"{}", "adapter_model.safetensors": b"", "README.md": b"old"}
    hub.repositories[REPO] = Repository(False, dict(present))
    (folder / "adapter_model.safetensors").rename(folder / "model.safetensors")
    (folder / "adapter_config.json").rename(folder / "config.json")
    push_here(what="merged", private=False)
    files = hub.repositories[REPO].files
    assert set(files) == {"LICENSE", "README.md", "model.safetensors", "config.json", "tokenizer.json",
                          "chat_template.jinja"}  # fmt: skip
    card = ModelCard(files["README.md"].decode())
    assert (card.data.library_name, card.data["base_model_relation"]) == ("transformers", "finetune")
    assert "# Model tuned by flarebench, adapter merged" in card.text


@pytest.mark.parametrize("private", [True, False])
def test_a_repository_of_the_other_kind_is_refused_before_anything_is_uploaded(hub, folder, push_here, private):
    hub.repositories[REPO] = Repository(not private)
    kind, wanted = ("public", "private") if private else ("private", "public")
    with pytest.raises(Refused, match=rf"{REPO} is {kind}, and publish\.…private asks for a {wanted} one"):
        push_here(private=private)
    assert hub.repositories[REPO].files == {} and not any("upload" in path for _, path in hub.seen)
    assert not (folder.parent / "published.json").exists()


def test_without_a_token_nothing_is_asked_of_the_hub(hub, push_here, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(Refused, match="needs a token that may write: export HF_TOKEN"):
        push_here()
    assert hub.seen == []


def test_a_wrong_token_is_refused_and_never_shown_though_the_hub_quotes_it(hub, folder):
    hub.quotes, hub.token = True, "hf_another"
    said = pushed(folder, hub, code=1)
    assert f"error: {REPO} could not be uploaded to:" in said and hub.repositories == {}


def test_a_card_that_the_hub_refuses_stops_the_upload_with_its_reason(hub, push_here):
    hub.invalid_card = True
    with pytest.raises(Refused, match='"license" must be known'):
        push_here()
    assert hub.objects == {} and hub.repositories[REPO].commits == []


def test_a_folder_without_weights_is_refused_before_the_hub_is_asked(hub, folder, push_here):
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(BadFile, match="holds no weights"):
        push_here()
    assert hub.seen == []


SMALL = {
    "datasets": {"toy": {"source": "synthetic"}},
    "splits": {
        "train": {"dataset": "toy", "folder": "training"},
        "validation": {"dataset": "toy", "folder": "validation-public"},
    },
    "models": {"tiny": {"source": "synthetic"}},
    "recipes": {"qlora": {}},
    "systems": {"base": {"model": "tiny"}, "tuned": {"model": "tiny", "recipe": "qlora", "train": "train"}},
    "evaluate": ["validation"],
}


@pytest.mark.parametrize(
    ("publish", "message"),
    [
        ({"base": {"repo": REPO}}, "publish: 'base' is not a tuned system; allowed: tuned"),
        ({"tuned": {}}, "publish.tuned.repo: required key is missing"),
        ({"tuned": {"repo": "no-owner"}}, "publish.tuned.repo: String should match pattern"),
        ({"tuned": {"repo": REPO, "what": "all"}}, "publish.tuned.what: Input should be 'adapter' or 'merged'"),
        ({"tuned": {"repo": REPO, "public": True}}, "publish.tuned.public: unknown key"),
    ],
)
def test_a_wrong_publication_is_refused_with_its_place(publish, message):
    with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
        load_configuration(SMALL | {"publish": publish}, "a.yaml")


def test_nothing_is_published_by_default_and_private_is_the_default():
    assert load_configuration(SMALL, "a.yaml").publish == {}
    publication = load_configuration(SMALL | {"publish": {"tuned": {"repo": REPO}}}, "a.yaml").publish["tuned"]
    assert publication.private and publication.what == "adapter"


@pytest.fixture(scope="module")
def workflow(tmp_path_factory):
    """A checkout with a configuration that publishes a merged system."""
    folder = checkout(tmp_path_factory.mktemp("push"))
    published = SMALL | {"publish": {"tuned": {"repo": REPO, "what": "merged"}}}
    (folder / "published.yaml").write_text(yaml.safe_dump(published))
    (folder / "plain.yaml").write_text(yaml.safe_dump(SMALL))
    return folder


@pytest.mark.workflow
def test_only_the_target_push_uploads_and_only_what_the_configuration_names(workflow):
    assert {"train_push", "train_merge"} & set(planned(workflow, "--configfile", "published.yaml")) == set()
    plan = planned(workflow, "push", "--configfile", "published.yaml")
    assert plan["train_push"] == plan["train_merge"] == plan["report_card"] == plan["score_metrics"] == 1
    message = "`publish` is empty, so that nothing is uploaded; to upload a tuned system (tuned), name it"
    assert message in snakemake(workflow, "-n", "push", "--configfile", "plain.yaml", code=1)
