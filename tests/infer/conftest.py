"""Answers of a server that nothing disturbs, and a client that hardly pauses."""

import pytest

from tests.chat_server import ChatServer
from tests.infer.asking import run
from workflow_scripts.engines.server import client as openai_server


@pytest.fixture
def short_pauses(monkeypatch):
    monkeypatch.setattr(openai_server, "PAUSE", 0.01)


@pytest.fixture(scope="module")
def undisturbed(split, root, tmp_path_factory):
    with ChatServer() as server:
        return run(split, root, server, tmp_path_factory.mktemp("undisturbed") / "all.parquet")
