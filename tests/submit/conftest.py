"""The toy model packed as containers, once for all tests of a module."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from workflow_scripts.core.config.engines import Inference
from workflow_scripts.core.config.sources.entry import Policies
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.config.systems.routed import Route
from workflow_scripts.core.rows import Convention
from workflow_scripts.core.tables import write_rows
from workflow_scripts.submit.container import Member, write_container
from workflow_scripts.synthetic.model import write_model

PROMPT = 'It\'s "brief",\n$HOME `pwd` \\ é.'


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The record of the toy model that ships."""
    record = tmp_path_factory.mktemp("models") / "toy.json"
    write_model(record=record)
    return record


@pytest.fixture(scope="module")
def settings(toy, tmp_path_factory):
    """Flags of the step for the toy model with an adapter, as if it needed a GPU."""
    place = tmp_path_factory.mktemp("packed")
    write_rows(place / "conventions.parquet", [], Convention)
    (place / "adapter").mkdir()
    save_file({"lora_A": np.ones((2, 2), np.float32)}, place / "adapter/adapter_model.safetensors")
    (place / "adapter/adapter_config.json").write_text('{"r": 2}')
    (place / "adapter/README.md").write_text("not needed")
    return {
        "system": "tuned",
        "members": [Member(system="tuned", adapter=str(place / "adapter"), prompt=Prompt(system=PROMPT))],
        "model": toy,
        "conventions": place / "conventions.parquet",
        "policies": Policies(missing_image="repair"),
        "max_new_tokens": Inference().max_new_tokens,
        "features": True,
        "batch": 1024,
        "gpus": 1,
        "threads": 12,
        "gigabytes": 30.0,
        "seconds": 3600.0,
        "out": place / "tuned/container.json",
    }


@pytest.fixture(scope="module")
def folder(settings):
    write_container(**settings)
    return settings["out"].parent


EXPERTS = {"counting": "few", "report": "words"}


@pytest.fixture(scope="module")
def routed(settings, tmp_path_factory):
    """The folder of a system that a classifier routes over two adapters and the base."""
    place = tmp_path_factory.mktemp("routed")
    (place / "router").mkdir()
    (place / "router/router.json").write_text("{}")
    adapter = settings["members"][0].adapter
    members = [Member(system=name, adapter=adapter) for name in EXPERTS.values()] + [Member(system="base")]
    route = Route(by="classifier", experts=EXPERTS, default="base", train="train")
    given = {"system": "both", "members": members, "route": route, "router": place / "router"}
    write_container(**settings | given | {"out": place / "both/container.json"})
    return place / "both"
