"""In a container each expert answers its own questions alone, and the answers are those that the workflow routes."""

from dataclasses import replace

import pytest

from tests.conftest import make_row
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.config.systems.routed import Route
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.infer.gather import gather
from workflow_scripts.infer.route import write_route
from workflow_scripts.submit.experts import write_experts
from workflow_scripts.train.router import train_router

PROMPTS = {"brief": "Be brief.", "careful": "Look closely.", "base": None, "nobody": "No question is mine."}
EXPERTS = {"Xray": "brief", "CT": "careful", "MRI": "nobody"}
BY_MODALITY = {"on": "modality", "experts": EXPERTS, "default": "base"}
ROUTES = {
    "rule": Route(by="rule", **BY_MODALITY),
    "classifier": Route(by="classifier", train="train", threshold=0.2, **BY_MODALITY),
}
MODALITIES = ("Xray", "CT", "Microscopy")


@pytest.fixture(scope="module")
def questions(root, tmp_path_factory):
    """Twelve rows of three modalities, each of which its question names."""
    path = tmp_path_factory.mktemp("questions") / "rows.parquet"
    rows = [
        replace(make_row(root, n), modality=MODALITIES[n % 3], question=f"How many in this {MODALITIES[n % 3]}?")
        for n in range(12)
    ]
    write_rows(path, rows, Row)
    return path


@pytest.mark.parametrize("by", ROUTES)
def test_the_answers_are_those_that_the_workflow_routes_and_none_is_generated_twice(
    by, questions, root, tiny, tmp_path
):
    route, folders = ROUTES[by], {}
    if by == "classifier":
        train_router(on="modality", split=questions, batch=4, out=tmp_path / "router")
        folders = {"router": tmp_path / "router"}
    given = {
        "split": questions,
        "model": tiny,
        "root": root,
        "max_new_tokens": {"counting": 6},
        "batch": 4,
        "threads": 1,
    }

    def routed(place, rows_of):
        members = [
            GroupMember(system=name, prompt=Prompt(system=PROMPTS[name]), rows=rows_of(name)) for name in route.systems
        ]
        answer(**given, members=members, store=place / "store", out=place / "answers.parquet")
        for name in route.systems:
            split = rows_of(name) or questions
            gather(split=split, shards=[place / "answers.parquet"], system=name, out=place / f"{name}.parquet")
        tables = {"out": place / "routed.parquet", "routes": place / "routes.parquet"}
        predictions = [place / f"{name}.parquet" for name in route.systems]
        write_route(split=questions, system="it", route=route, predictions=predictions, **folders, **tables)
        return read_rows(place / "routed.parquet", Prediction), read_rows(place / "answers.parquet", Prediction)

    write_experts(split=questions, system="it", route=route, **folders, out=tmp_path / "experts")
    wanted, every = routed(tmp_path / "workflow", lambda name: None)
    answers, own = routed(tmp_path / "container", lambda name: tmp_path / f"experts/{name}.parquet")
    assert answers == wanted and len(own) == 12 and len(every) == 12 * len(route.systems)
    systems = {row.uid: row.system for row in own}
    assert set(systems.values()) == ({"brief", "careful", "base"})
    assert read_rows(tmp_path / "experts/nobody.parquet", Row) == []
