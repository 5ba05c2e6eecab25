"""Few-shot prompts: which rows are shown never depends on the scored case, and every engine is shown the same."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.chat_server import ChatServer
from tests.conftest import make_row
from tests.infer.asking import run
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Prompt, Shots
from workflow_scripts.core.rows import ExpectedFormat, Image, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer, check_requests
from workflow_scripts.infer.questions.answer_cache import key_of
from workflow_scripts.infer.questions.requests import requests_of
from workflow_scripts.infer.questions.shot_sets import ShotSets, ShownShots, draw, set_of, sets_of
from workflow_scripts.infer.shots import write_shots
from workflow_scripts.models.loading import load

TASKS = ("classification", "counting")


def row_of(name, case, task="counting", subset="marks", images=(), label="a", question="How many?", answer="1"):
    """A row with what a draw looks at."""
    return Row(
        uid=name,
        subset=subset,
        modality="Text",
        folder="training",
        task=task,
        task_raw=task,
        case_id=case,
        question=question,
        expected=ExpectedFormat(),
        images=tuple(Image(f"{image}.png", str(image), 8, 8) for image in images),
        image_name="[]",
        answer=answer,
        answer_raw="null",
        source_file="questions.json",
        source_row=0,
        labels=(label,) if task == "classification" and answer else None,
    )


def rows_of(prefix, least, most):
    """Strategy: so many rows, which share cases, images, subsets and wordings as it comes; by a seed, which is fast."""

    def rows(seed):
        rng = Random(f"{prefix} {seed}")
        return [
            row_of(
                f"{prefix}/{number}",
                f"case-{rng.randrange(12)}",
                rng.choice(TASKS),
                rng.choice(["marks", "marks", "cells"]),
                rng.sample(range(20), rng.randrange(3)),
                rng.choice("abc"),
                rng.choice(["How many?", "how  MANY?", "Is there 1?", "Is there 12?"]),
                rng.choice(["1", "1", "1", ""]),
            )
            for number in range(rng.randint(least, most))
        ]

    return st.integers(0, 10**6).map(rows)


TRAINING, SCORED = rows_of("training", 30, 60), rows_of("scored", 1, 4)
SHOTS = st.builds(
    Shots,
    count=st.integers(1, 4),
    train=st.just("train"),
    seed=st.integers(0, 3),
    by=st.sampled_from(["task", "subset", "question"]),
    balance=st.booleans(),
)


def candidates_of(row, training, scored, shots):
    """By hand: the training rows that may stand before a row."""
    cases, images = {one.case_id for one in scored}, {image.sha256 for one in scored for image in one.images}
    return [
        one
        for one in training
        if set_of(one, shots) == set_of(row, shots)
        and one.answer
        and one.case_id not in cases
        and not {image.sha256 for image in one.images} & images
    ]


@settings(max_examples=300, deadline=None)
@given(TRAINING, SCORED, SHOTS, st.integers(0, 99))
def test_shots_are_k_of_other_cases_whatever_stands_beside_them(training, scored, shots, seed):
    """Where so many may be shown; otherwise the draw is refused."""
    scarce = [row for row in scored if len(candidates_of(row, training, scored, shots)) < shots.count]
    if scarce:
        with pytest.raises(Refused, match="shots are wanted"):
            draw(training, scored, shots)
        return
    drawn = draw(training, scored, shots)
    sets = sets_of(drawn, shots)
    for row in scored:
        shown = sets[set_of(row, shots)]
        assert len(shown) == len({one.uid for one in shown}) == shots.count
        assert all(one.task == row.task and one.answer for one in shown)
        assert all(one.case_id != other.case_id for one in shown for other in scored)
        images = {image.sha256 for other in scored for image in other.images}
        assert all(image.sha256 not in images for one in shown for image in one.images)
        if shots.by != "task":
            assert all(one.subset == row.subset for one in shown)
    assert len(drawn) == shots.count * len({set_of(row, shots) for row in scored})
    shuffled = [Random(seed).sample(rows, len(rows)) for rows in (training, scored)]
    assert sets_of(draw(*shuffled, shots), shots) == sets


@settings(max_examples=200, deadline=None)
@given(TRAINING, SCORED, SHOTS)
def test_a_new_training_row_moves_no_other(training, scored, shots):
    """It takes a place, and of the others one leaves, or nothing changes."""
    try:
        before = sets_of(draw(training, scored, shots), shots)
    except Refused:
        return
    new = row_of("training/new", "case-new")
    for key, shown in sets_of(draw([*training, new], scored, shots), shots).items():
        old = [one.uid for one in before[key]]
        others = [one.uid for one in shown if one.uid != "training/new"]
        assert [uid for uid in old if uid in others] == others and len(others) >= shots.count - 1


def test_balanced_shots_take_the_classes_in_turn():
    training = [row_of(f"t/{n}", f"c{n}", "classification", label="abc"[0 if n < 40 else n % 3]) for n in range(60)]
    scored = [row_of("s", "other", "classification")]
    for seed in range(20):
        shots = Shots(count=7, train="train", balance=True, seed=seed)
        counts = Counter(row.labels for row in draw(training, scored, shots))
        assert sorted(counts.values()) == [2, 2, 3]
    plain = [draw(training, scored, Shots(count=7, train="train", seed=seed)) for seed in range(20)]
    assert len({tuple(row.uid for row in rows) for rows in plain}) == 20


def test_few_candidates_are_one_sentence_with_a_remedy():
    training = [row_of("t/0", "c0"), row_of("t/1", "c1", subset="cells"), row_of("t/2", "c2", answer="")]
    shots = Shots(count=2, train="lab")
    with pytest.raises(Refused) as refusal:
        draw(training, [row_of("s", "c9")], shots)
    assert str(refusal.value) == (
        "counting · marks: 1 answered rows of 'lab' share no case or image with the scored split, and 2 shots are "
        "wanted: set a smaller `shots.count`, or by: task"
    )
    assert len(draw(training, [row_of("s", "c9")], Shots(count=2, train="lab", by="task"))) == 2


# Prompts


@pytest.fixture(scope="module")
def lab(root, tmp_path_factory):
    """A training split of another dataset, whose images lie in a folder of their own; its rows and this folder."""
    folder = tmp_path_factory.mktemp("lab")
    for number in range(8):
        shutil.copyfile(root / f"{number}.png", folder / f"shot{number}.png")
    rows = [make_row(root, number) for number in range(4, 8)]
    return [
        replace(
            row,
            uid=f"lab/{number}",
            case_id=f"lab-{number}",
            images=tuple(image._replace(path=f"shot{image.path}") for image in row.images),
        )
        for number, row in enumerate(rows)
    ], folder


SPEC = Shots(count=2, train="lab")


@pytest.fixture(scope="module")
def scored(root):
    """Rows that share no image with the shots."""
    return [make_row(root, number) for number in (0, 1, 2)]


@pytest.fixture(scope="module")
def shown(lab, scored, tmp_path_factory, tiny):
    """The shots as a step is told of them, with the index of their features."""
    rows, folder = lab
    place = tmp_path_factory.mktemp("shots")
    for name, table in (("train", rows), ("split", scored)):
        write_rows(place / f"{name}.parquet", table, Row)
    write_shots(split=place / "split.parquet", train=place / "train.parquet", shots=SPEC, out=place / "shots.parquet")
    store = {"store": place / "store", "batch": 3, "threads": 1}
    extract(split=place / "shots.parquet", root=folder, model=tiny, index=place / "features.parquet", **store)
    return ShownShots(rows=place / "shots.parquet", root=folder, features=place / "features.parquet", shots=SPEC)


def turns(words, answer=None, images=1):
    user = {"role": "user", "content": [{"type": "image"}] * images + [{"type": "text", "text": words}]}
    return [user] if answer is None else [user, {"role": "assistant", "content": [{"type": "text", "text": answer}]}]


def test_shots_are_turns_between_the_system_prompt_and_the_question(shown, scored, root, lab):
    sets = ShotSets(shown, root)
    first, second = sets.of(scored[1])
    (request,) = requests_of([scored[1]], Prompt(system="Be brief."), {"counting": 6}, None, sets)
    assert request.chat == [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        *turns(first.question, first.answer, len(first.images)),
        *turns(second.question, second.answer, len(second.images)),
        *turns(scored[1].question),
    ]
    shown_images = [*first.images, *second.images, *scored[1].images]
    assert [image.sha256 for image in request.images] == [image.sha256 for image in shown_images]
    files = [(root / image.path).resolve() for image in request.images]
    assert all(file.is_file() for file in files) and files[0].parent == lab[1].resolve()


def test_the_prompt_of_gemma_3_is_worded_as_it_was(tiny, shown, scored, root):
    loaded = load(tiny)
    texts = ShotSets(shown.model_copy(update={"shots": SPEC.model_copy(update={"images": False})}), root)
    (request,) = requests_of([replace(scored[1], images=())], Prompt(), {"counting": 6}, None, texts)
    assert loaded.processor.tokenizer.decode(loaded.family.prompt_ids(loaded.processor, request.chat, ())) == (
        "<bos><start_of_turn>user\nWhat is the number of cells in this image?<end_of_turn>\n"
        "<start_of_turn>model\n7<end_of_turn>\n"
        "<start_of_turn>user\nHow many?<end_of_turn>\n"
        "<start_of_turn>model\n6<end_of_turn>\n"
        "<start_of_turn>user\nWhat is the number of cells in this image?<end_of_turn>\n"
        "<start_of_turn>model\n"
    )


def answers(rows, tiny, root, folder, shots, features=True, batch=8):
    folder.mkdir()
    write_rows(folder / "rows.parquet", rows, Row)
    store = {"store": folder / "store", "batch": 3, "threads": 1}
    extract(split=folder / "rows.parquet", root=root, model=tiny, index=folder / "features.parquet", **store)
    answer(
        split=folder / "rows.parquet",
        model=tiny,
        root=root,
        features=folder / "features.parquet" if features else None,
        members=[GroupMember(system="few", shots=shots)],
        max_new_tokens={"counting": 6},
        batch=batch,
        threads=1,
        store=folder / "answers",
        out=folder / "answers.parquet",
    )
    return read_rows(folder / "answers.parquet", Prediction)


def test_features_of_shots_come_from_their_own_index_or_from_the_tower(tiny, root, scored, shown, tmp_path):
    stored = answers(scored, tiny, root, tmp_path / "stored", shown)
    assert answers(scored, tiny, root, tmp_path / "single", shown, batch=1) == stored
    assert answers(scored, tiny, root, tmp_path / "computed", shown, features=False) == stored
    zero = answers(scored, tiny, root, tmp_path / "zero", None)
    assert all(few.prompt_tokens > none.prompt_tokens for few, none in zip(stored, zero, strict=True))
    assert {few.prompt_hash for few in stored}.isdisjoint(none.prompt_hash for none in zero)


def test_what_is_cached_names_the_shots(shown, scored, root):
    def keys(sets):
        return {key_of(request) for request in requests_of(scored, Prompt(), {"counting": 6}, None, sets)}

    few = keys(ShotSets(shown, root))
    texts = keys(ShotSets(shown.model_copy(update={"shots": SPEC.model_copy(update={"images": False})}), root))
    assert few.isdisjoint(keys(None)) and few.isdisjoint(texts) and len(few) == len(scored)


def test_a_prompt_that_does_not_fit_the_context_is_refused_with_its_row(tiny, shown, scored, root):
    loaded = load(tiny)
    requests = requests_of(scored, Prompt(), {"counting": 6}, None, ShotSets(shown, root))
    check_requests(requests, loaded, 2)
    limit = loaded.base.config.get_text_config().max_position_embeddings
    long = [replace(request, max_new_tokens=limit) for request in requests]
    with pytest.raises(Refused, match=r"row row/0: it takes .* tokens with 2 shots and .* images.*`shots.count`"):
        check_requests(long, loaded, 2)


def test_rows_whose_set_was_not_drawn_are_refused(shown, scored, root):
    with pytest.raises(Refused, match="row row/0 has 0 shots, expected 2; draw them again"):
        ShotSets(shown, root).of(replace(scored[0], subset="other"))


def test_a_server_is_sent_the_same_turns_and_images(shown, scored, root, tmp_path):
    write_rows(tmp_path / "rows.parquet", scored, Row)
    with ChatServer() as server:
        run(tmp_path / "rows.parquet", root, server, tmp_path / "few.parquet", shots=shown)
        bodies = server.bodies
    requests = requests_of(scored, Prompt(), {"counting": 6}, None, ShotSets(shown, root))
    plain = json.dumps([request.chat for request in requests])
    sent = [
        [turn | {"content": [{"type": "image"} if "image_url" in part else part for part in turn["content"]]}
         for turn in body["messages"]]
        for body in bodies
    ]  # fmt: skip
    assert sorted(map(json.dumps, sent)) == sorted(map(json.dumps, json.loads(plain)))


def test_a_server_is_not_sent_markup_in_a_shot(shown, scored, root, lab, tmp_path):
    rows = [replace(row, answer="7<end_of_turn>") for row in read_rows(shown.rows, Row)]
    write_rows(tmp_path / "shots.parquet", rows, Row)
    write_rows(tmp_path / "rows.parquet", scored, Row)
    marked = shown.model_copy(update={"rows": tmp_path / "shots.parquet"})
    with ChatServer() as server, pytest.raises(Refused, match=r"the shot lab/. holds <end_of_turn>"):
        run(tmp_path / "rows.parquet", root, server, tmp_path / "x", shots=marked, model='{"family": "gemma3"}')
    assert server.bodies == [] and not (tmp_path / "x").exists()
