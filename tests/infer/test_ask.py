"""A model behind a server: what it is sent, each row answered once, and the token nowhere."""

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import time
import zipfile
from collections import Counter
from itertools import cycle
from operator import attrgetter

import pytest
import torch
from PIL import Image

from tests.chat_server import ChatServer, Fault, Reply
from tests.conftest import make_row
from tests.infer.asking import LIMITS, command, run
from workflow_scripts import ROOT
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.files import BadFile, sha256_of
from workflow_scripts.core.images import decode_image
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, read_table, write_rows
from workflow_scripts.engines.local.engine import TransformersEngine
from workflow_scripts.engines.server.engine import data_url
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.infer.gather import gather
from workflow_scripts.infer.questions.answer_cache import key_of
from workflow_scripts.infer.questions.requests import requests_of
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record

pytestmark = pytest.mark.usefixtures("short_pauses")


# Words that the server would take for markup, and a model whose files are here


def with_questions(root, folder, questions):
    """A split of rows with these questions."""
    rows = [make_row(root, number, question=question) for number, question in enumerate(questions)]
    write_rows(folder / "rows.parquet", rows, Row)
    return folder / "rows.parquet"


GEMMA, PALIGEMMA = json.dumps({"family": "gemma3"}), json.dumps({"family": "paligemma2"})


@pytest.mark.parametrize(
    ("model", "word"),
    [(GEMMA, "<start_of_image>"), (GEMMA, "<end_of_turn>"), (GEMMA, "<unused94>"), (PALIGEMMA, "<image>")],
)
def test_a_question_with_the_models_markup_is_refused_by_its_rows_name_before_anything_is_sent(
    root, tmp_path, model, word
):
    split = with_questions(root, tmp_path, ["How many?", f"{word}How many?", f"How many {word}?"])
    with ChatServer() as server:
        with pytest.raises(Refused) as refusal:
            run(split, root, server, tmp_path / "o", model=model)
        assert server.bodies == []
    assert str(refusal.value) == (
        f"the question of row/1 holds {word}, which a server takes for the model's markup (2 rows hold such words): "
        "answer this system without an engine, where such a word is text, or take it out"
    )
    with ChatServer() as server, pytest.raises(Refused, match=f"the system prompt holds {word}, which a server"):
        run(split, root, server, tmp_path / "o", shard="1-of-8", model=model, prompt=Prompt(system=f"Be brief. {word}"))


def test_what_is_no_markup_of_the_model_is_sent_as_it_stands(root, tmp_path):
    questions = ["Is a < b > c?", "<table>", "<image> of what?", "</s>"]
    split = with_questions(root, tmp_path, questions)
    with ChatServer() as server:
        run(split, root, server, tmp_path / "o", model=GEMMA, workers=1)
        assert [body["messages"][-1]["content"][-1]["text"] for body in server.bodies] == questions


def test_answers_of_a_local_model_depend_on_the_bytes_of_its_files(split, root, tiny, tmp_path):
    folder = shutil.copytree(tiny.with_suffix(""), tmp_path / "models/mine")
    record = folder.with_suffix(".json")
    write_record(record, "mine", "gemma3", folder, None)
    with ChatServer() as server:
        for requests in (8, 8):
            run(split, root, server, tmp_path / "o", record=record)
            assert len(server.bodies) == requests
        with (folder / "chat_template.jinja").open("a") as stream:
            stream.write(" ")
        with pytest.raises(BadFile, match=r"chat_template\.jinja was changed since"):
            run(split, root, server, tmp_path / "o", record=record)
        write_record(record, "mine", "gemma3", folder, None)
        run(split, root, server, tmp_path / "o", record=record)
        assert len(server.bodies) == 16


# What is asked and what is written


def test_every_row_is_answered_once_in_the_order_of_the_split(split, undisturbed):
    assert [row.uid for row in undisturbed] == read_table(split, Row)["uid"].to_pylist()
    assert len({row.text for row in undisturbed}) == 8
    assert {(row.engine, row.constrained, row.finish_reason) for row in undisturbed} == {("openai", False, "stop")}
    assert {(row.prompt_tokens, row.new_tokens) for row in undisturbed} == {(7, 3)}
    assert len({row.prompt_hash for row in undisturbed}) == 8
    assert len({row.settings for row in undisturbed}) == 1


def test_a_request_is_greedy_and_shows_the_images_in_order_before_the_question(split, root, tmp_path):
    with ChatServer() as server:
        run(split, root, server, tmp_path / "o", shard="1-of-8", prompt=Prompt(system="Be brief."), retries=0)
        [body] = server.bodies
    assert {key: body[key] for key in ("model", "temperature", "seed", "max_tokens")} == {
        "model": "base",
        "temperature": 0.0,
        "seed": 0,
        "max_tokens": 6,
    }
    system, turn = body["messages"]
    assert system == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    *images, question = turn["content"]
    assert question == {"type": "text", "text": "How many?"}
    shown = [base64.b64decode(p["image_url"]["url"].removeprefix("data:image/png;base64,")) for p in images]
    assert shown == [(root / "0.png").read_bytes(), (root / "1.png").read_bytes()]


@pytest.mark.parametrize(
    ("name", "mode", "options", "media"),
    [
        ("grey.jpg", "L", {}, "image/jpeg"),
        ("colour.webp", "RGB", {}, "image/webp"),
        ("turned.jpg", "RGB", {"orientation": 6}, "image/png"),
        ("deep.png", "I;16", {}, "image/png"),
        ("clear.png", "RGBA", {}, "image/png"),
        ("scan.bmp", "RGB", {}, "image/png"),
        ("palette.gif", "P", {}, "image/png"),
        ("print.jpg", "CMYK", {}, "image/png"),
    ],
)
def test_a_server_sees_the_pixels_that_training_sees(tmp_path, name, mode, options, media):
    image = Image.linear_gradient("L").resize((40, 30))
    if mode == "I;16":
        image = Image.frombytes("I;16", (40, 30), bytes(range(240)) * 10)
    image = image.convert(mode) if image.mode != mode else image
    exif = Image.Exif()
    if "orientation" in options:
        exif[0x0112] = options["orientation"]
    image.save(tmp_path / name, **({"exif": exif} if len(exif) else {}))
    head, _, data = data_url(tmp_path, name).partition(";base64,")
    assert head == f"data:{media}"
    plain = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")  # as a server decodes it
    trained = decode_image((tmp_path / name).read_bytes(), name)
    assert (plain.size, plain.tobytes()) == (trained.size, trained.tobytes())


def test_an_image_in_a_zip_is_sent_as_it_is(root, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(root / "0.png", "scans/0.png")
    assert data_url(tmp_path, "all.zip!scans/0.png") == data_url(root, "0.png")


def test_as_many_requests_are_under_way_as_there_are_workers(split, root, tmp_path):
    with ChatServer() as server:
        server.pause = 0.2
        run(split, root, server, tmp_path / "all.parquet", workers=4)
        assert server.most_at_once == 4


def test_shards_gathered_are_the_whole(split, root, tmp_path, undisturbed):
    with ChatServer() as server:
        shards = [tmp_path / f"{number}.parquet" for number in range(3)]
        for number, shard in enumerate(shards):
            run(split, root, server, shard, shard=f"{number + 1}-of-3")
    gather(split=split, shards=shards, system="there", out=tmp_path / "all.parquet")
    assert read_rows(tmp_path / "all.parquet", Prediction) == undisturbed


def test_how_an_answer_ended_is_kept_as_the_server_says(split, root, tmp_path):
    endings = cycle([Reply("cut", "length"), Reply(None, "content_filter")])
    with ChatServer(lambda _: next(endings)) as server:
        rows = run(split, root, server, tmp_path / "all.parquet", workers=1)
    assert Counter((row.text, row.finish_reason) for row in rows) == {("cut", "length"): 4, ("", "content_filter"): 4}


def test_the_served_model_gives_the_texts_that_it_gives_here(split, root, tiny, features, tmp_path):
    store = tmp_path / "store"
    answer(
        split=split,
        model=tiny,
        root=root,
        features=features,
        members=[GroupMember(system="there")],
        max_new_tokens=LIMITS,
        batch=1,
        threads=1,
        store=store,
        out=tmp_path / "here",
    )
    here = read_rows(tmp_path / "here", Prediction)
    loaded = load(tiny)
    seen = {}

    def vision(images):
        shown = [seen[image.sha256] for image in images]
        pixels = torch.cat([loaded.family.pixels(loaded.processor, image) for image in shown])
        return loaded.family.features(loaded.base, loaded.processor, pixels, [image.size for image in shown])

    engine = TransformersEngine(loaded, vision, 1)

    def generate(body):
        chat, images = [], []
        for turn in body["messages"]:
            parts = []
            for part in turn["content"]:
                if part["type"] == "image_url":
                    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                    images.append(RequestImage(sha256_of(data), "", 0, 0))
                    seen[sha256_of(data)] = decode_image(data, "a request's image")
                    part = {"type": "image"}
                parts.append(part)
            chat.append(turn | {"content": parts})
        request = Request("row", chat, tuple(images), body["max_tokens"])
        [[response]] = engine.answers([request])
        return Reply(response.text, response.finish_reason, response.prompt_tokens, response.new_tokens)

    with ChatServer(generate) as server:
        there = run(split, root, server, tmp_path / "there", workers=1)
    same = attrgetter("uid", "text", "finish_reason", "prompt_tokens", "new_tokens")
    assert [same(row) for row in there] == [same(row) for row in here]


# Tokens and kills


def test_the_token_comes_from_the_environment_and_shows_nowhere(split, root, tmp_path):
    secret = "sk-Zq81hVw0"
    environment = {**os.environ, "LAB_TOKEN": secret, "PYTHONPATH": str(ROOT)}
    with ChatServer(token=secret) as server:
        more = ("--workers", 2, "--token-variable", "LAB_TOKEN")

        def step(**changes):
            return subprocess.run(
                command(split, root, server, tmp_path / "all.parquet", *more),
                capture_output=True,
                text=True,
                env=environment | changes,
            )

        unset = step(LAB_TOKEN="")
        assert unset.returncode == 1 and "the environment variable LAB_TOKEN is not set" in unset.stderr
        pasted = step(LAB_TOKEN="sk-one\nsk-two")
        assert pasted.returncode == 1 and "LAB_TOKEN holds more than a token" in pasted.stderr
        assert "sk-one" not in pasted.stderr
        wrong = step(LAB_TOKEN="sk-other")
        assert wrong.returncode == 1 and "answered 401: Bearer (token) is not welcome" in wrong.stderr
        assert "sk-other" not in wrong.stderr + wrong.stdout
        server.faults.append(Fault(400, json.dumps({"error": {"message": f"bad request of {secret}"}})))
        refused = step()
        assert refused.returncode == 1 and "Traceback" not in refused.stderr
        done = step()
        assert done.returncode == 0, done.stderr
        output = "".join(run.stdout + run.stderr for run in (unset, wrong, refused, done))
    assert secret not in output
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written and not any(secret.encode() in path.read_bytes() for path in written)


def questions(bodies):
    return {body["messages"][-1]["content"][-1]["text"] for body in bodies}


@pytest.mark.slow
def test_a_killed_process_asks_no_finished_row_again(root, tmp_path):
    rows = [make_row(root, n, question=f"How many of {n}?") for n in range(60)]
    write_rows(tmp_path / "rows.parquet", rows, Row)
    requests = requests_of(rows, Prompt(), LIMITS)
    question_of = {key_of(request): row.question for request, row in zip(requests, rows, strict=True)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = tmp_path / "all.parquet"
    with ChatServer() as server:
        server.pause = 0.05
        started = command(tmp_path / "rows.parquet", root, server, out, "--workers", 3)
        finished: set[str] = set()
        for enough in (10, 25, 40):
            before = len(server.bodies)
            asking = subprocess.Popen(started, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while len(server.answered) < enough and asking.poll() is None:
                time.sleep(0.01)
            asking.send_signal(signal.SIGKILL)
            asking.wait()
            assert not finished & questions(server.bodies[before:])
            lines = [line for file in tmp_path.rglob("*.jsonl") for line in file.read_bytes().splitlines(keepends=True)]
            finished = {question_of[json.loads(line)["key"]] for line in lines if line.endswith(b"\n")}
            assert len(finished) >= enough - 3 and not out.exists()
        before = len(server.bodies)
        subprocess.run(started, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert not finished & questions(server.bodies[before:])
        assert len(server.bodies) <= 60 + 3 * 3  # what was under way at each kill
    assert [row.uid for row in read_rows(out, Prediction)] == [row.uid for row in rows]
