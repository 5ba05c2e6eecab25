"""What a prompt says of a row's images: nothing where the row says nothing, else which is which; then the question."""

from dataclasses import replace

import pytest

from tests.chat_server import ChatServer
from tests.conftest import make_row
from tests.infer.asking import run
from tests.models import tiny
from tests.models.test_families import FAMILIES, IN_CI
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.data.sft import conversation
from workflow_scripts.engines.server.engine import _messages, data_url
from workflow_scripts.infer.answer import check_requests
from workflow_scripts.infer.questions.requests import requests_of
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat, chat_of, closing_fault, length_fault
from workflow_scripts.train.preflight import check_rows
from workflow_scripts.train.rows import training_row

IMAGE = {"type": "image"}


def text(words):
    return {"type": "text", "text": words}


def with_roles(root, *roles, **changes):
    """A row whose images, one for each role, are of two files in turn."""
    row = make_row(root, 2)
    images = tuple(row.images[number % 2]._replace(role=role) for number, role in enumerate(roles))
    return replace(row, images=images, **changes)


@pytest.fixture(scope="module")
def loaded(tiny):
    return load(tiny)


def test_images_without_roles_come_first_and_the_question_as_it_stands():
    assert chat(" How many?\n", 2) == [{"role": "user", "content": [IMAGE, IMAGE, text(" How many?\n")]}]
    assert chat("How many?", 0, "Be brief.") == [
        {"role": "system", "content": [text("Be brief.")]},
        {"role": "user", "content": [text("How many?")]},
    ]


def test_slices_are_named_as_in_medgemmas_notebook(root):
    row = with_roles(root, "slice 1", "slice 2", question="Is there a lesion?")
    content = [IMAGE, text("SLICE 1"), IMAGE, text("SLICE 2"), text("\n\nIs there a lesion?")]
    assert chat_of(row, None) == [{"role": "user", "content": content}]


def test_other_roles_stand_before_their_image(root):
    row = with_roles(root, "prior", "current", "", question="What changed?")
    content = [text("PRIOR IMAGE"), IMAGE, text("CURRENT IMAGE"), IMAGE, IMAGE, text("What changed?")]
    assert chat_of(row, None)[-1]["content"] == content


def test_slices_of_two_series_say_which_they_are_of(root):
    row = with_roles(root, "prior slice 1", "current slice 1", question="What changed?")
    content = [IMAGE, text("PRIOR SLICE 1"), IMAGE, text("CURRENT SLICE 1"), text("\n\nWhat changed?")]
    assert chat_of(row, None)[-1]["content"] == content


def test_gemma_reads_the_notebooks_words(loaded, root):
    row = with_roles(root, "slice 1", "slice 2", question="Is there a lesion?")
    written = loaded.processor.apply_chat_template(chat_of(row, None), add_generation_prompt=True, tokenize=False)
    assert written == (
        "<bos><start_of_turn>user\n<start_of_image>SLICE 1<start_of_image>SLICE 2Is there a lesion?"
        "<end_of_turn>\n<start_of_turn>model\n"
    )


def test_training_inference_server_and_sft_say_the_same(loaded, root):
    prompt = Prompt(system="Be brief.")
    for row in (with_roles(root, "slice 1", "slice 2"), with_roles(root, "prior", "current"), make_row(root, 3)):
        (request,) = requests_of([row], prompt, {row.task: 8})
        example = training_row(row, prompt, loaded)
        inference = loaded.family.prompt_ids(loaded.processor, request.chat, example["image_sizes"])
        assert example["input_ids"][: len(inference)] == inference
        check_rows([row], [example], prompt, loaded)
        sent = _messages(request, lambda image: {"image": image.sha256})
        shown = [part for part in sent[-1]["content"] if "image" in part]
        assert [part["image"] for part in shown] == [image.sha256 for image in row.images]
        assert [part for part in sent[-1]["content"] if "text" in part] == [
            part for part in request.chat[-1]["content"] if part["type"] == "text"
        ]
        assert conversation(row, "Be brief.", "prompt-completion")["prompt"] == request.chat


def test_a_server_is_sent_images_names_and_the_question_in_the_chats_order(root, tmp_path):
    row = with_roles(root, "slice 1", "slice 2", question="Is there a lesion?")
    write_rows(tmp_path / "rows.parquet", [row], Row)
    with ChatServer() as server:
        run(tmp_path / "rows.parquet", root, server, tmp_path / "answers.parquet")
        ((message,),) = [body["messages"] for body in server.bodies]
    sent = [part["text"] if part["type"] == "text" else part["image_url"]["url"] for part in message["content"]]
    first, second = (data_url(root, image.path) for image in row.images)
    assert sent == [first, "SLICE 1", second, "SLICE 2", "\n\nIs there a lesion?"] and first != second


@pytest.mark.parametrize(
    "family",
    ["gemma3", *(name if name in IN_CI else pytest.param(name, marks=pytest.mark.extended) for name in FAMILIES)],
)
def test_every_familys_prompt_closes_with_the_question(family, request, root, tmp_path_factory):
    loaded = load(request.getfixturevalue("tiny")) if family == "gemma3" else of_family(family, tmp_path_factory)
    row = with_roles(root, "slice 1", "slice 2", question="Is there a lesion?")
    requests = requests_of([row], Prompt(system="Be brief."), {row.task: 8})
    check_requests(requests, loaded)
    ids = loaded.family.prompt_ids(loaded.processor, requests[0].chat, [(112, 96)] * 2)
    image_token = loaded.family.image_token_id(loaded.processor)
    written = loaded.processor.tokenizer.decode([token for token in ids if token != image_token])
    assert written.index("Is there a lesion?") > written.find("SLICE 2") >= written.find("SLICE 1")
    assert ("SLICE" in written) == loaded.family.reads_images


def of_family(family, tmp_path_factory):
    """A tiny checkpoint of a family."""
    from workflow_scripts.models.record import write_record

    folder = tmp_path_factory.mktemp(family) / "model"
    tiny.build(family, folder)
    write_record(folder.with_suffix(".json"), "model", family, folder, None)
    return load(folder.with_suffix(".json"))


def test_slices_without_a_question_after_them_are_refused(root):
    turns = chat_of(with_roles(root, "slice 1", question=""), None)
    assert "a question must follow the images" in closing_fault(lambda chat: [], turns, 5)
    assert "ends with an image" in closing_fault(lambda chat: [], [{"role": "user", "content": [IMAGE]}], 5)


@pytest.fixture
def texts_first(tiny):
    """The tiny model with a chat template that puts the texts of a turn before its images."""
    loaded = load(tiny)
    template = loaded.processor.chat_template
    ordered = template.replace("in turn.content -", "in turn.content | sort(attribute='type', reverse=true) -")
    assert ordered != template
    loaded.processor.chat_template = ordered
    return loaded


def test_a_template_that_puts_images_last_is_refused_for_rows_with_roles(texts_first, root):
    row = with_roles(root, "slice 1", "slice 2")
    said = "row/2: its question does not follow its images: the checkpoint's chat template puts texts first"
    with pytest.raises(Refused, match=f"training row {said}"):
        check_rows([row], [training_row(row, Prompt(), texts_first)], Prompt(), texts_first)
    with pytest.raises(Refused, match=f"row {said}"):
        check_requests(requests_of([row], Prompt(), {row.task: 8}), texts_first)
    plain = make_row(root, 2)
    for prompt in (Prompt(), Prompt(system="Be brief.")):
        check_rows([plain], [training_row(plain, prompt, texts_first)], prompt, texts_first)
        check_requests(requests_of([plain], prompt, {plain.task: 8}), texts_first)


def test_85_slices_are_compared_with_what_the_model_reads(loaded, root):
    """The tiny model reads 4,096 tokens: 85 slices of 16 tokens fit, 270 do not."""
    fits, too_long = (with_roles(root, *(f"slice {n}" for n in range(1, count + 1))) for count in (85, 270))
    check_rows([fits], [training_row(fits, Prompt(), loaded)], Prompt(), loaded)
    check_requests(requests_of([fits], Prompt(), {fits.task: 8}), loaded)
    said = r"270 images \(4,320 tokens\), and the model reads 4,096 at most: show fewer slices"
    with pytest.raises(Refused, match=f"training row row/2: it takes .* tokens with {said}"):
        check_rows([too_long], [training_row(too_long, Prompt(), loaded)], Prompt(), loaded)
    with pytest.raises(Refused, match=f"row row/2: it takes .* tokens with {said}"):
        check_requests(requests_of([too_long], Prompt(), {too_long.task: 8}), loaded)


def test_the_limit_of_new_tokens_counts(loaded, root):
    row = make_row(root, 3)
    tokens = len(training_row(row, Prompt(), loaded)["input_ids"])
    check_requests(requests_of([row], Prompt(), {row.task: 4000 - tokens}), loaded)
    with pytest.raises(Refused, match="the model reads 4,096 at most"):
        check_requests(requests_of([row], Prompt(), {row.task: 4096}), loaded)


def test_85_images_of_256_tokens_do_not_fit_into_8192():
    assert "21,900 tokens with 85 images (21,760 tokens), and the model reads 8,192" in length_fault(
        21_900, [256] * 85, 8192
    )
    assert length_fault(21_900, [256] * 85, 131_072) is None
    assert length_fault(21_900, [256] * 85, None) is None
