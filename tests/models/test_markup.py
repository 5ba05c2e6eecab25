"""Words of data that a tokenizer takes for markup are text, in training and answering; ordinary text is as it was."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from tests.conftest import make_row
from tests.models.tiny.paligemma2 import build_processor
from tests.workflow import step_server
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Prediction, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.families.gemma3 import FAMILY as gemma3
from workflow_scripts.models.families.paligemma2 import FAMILY as paligemma2
from workflow_scripts.models.loading import load
from workflow_scripts.models.markup import OF_FAMILY, chat_ids, markup_of, text_ids
from workflow_scripts.models.prompts import chat
from workflow_scripts.synthetic.pretraining import build_processor as build_gemma3
from workflow_scripts.train.preflight import check_rows
from workflow_scripts.train.rows import training_row

BUG_INPUTS = os.environ.get("FLAREBENCH_BUG_INPUTS")

WORDS = {
    "gemma3": ["<start_of_image>", "<image_soft_token>", "<end_of_image>", "<bos>", "<eos>", "<pad>", "<start_of_turn>",
               "<end_of_turn>", "<unk>"],
    "paligemma2": ["<image>", "<bos>", "<eos>", "<pad>", "<unk>"],
}  # fmt: skip
FAMILIES = {"gemma3": gemma3, "paligemma2": paligemma2}


@pytest.fixture(scope="module", params=WORDS)
def family(request):
    """A family's name, its module, a processor, and what the processor calls ordinary text."""
    processor = build_gemma3(vocabulary=600, seed=0) if request.param == "gemma3" else build_processor()
    return request.param, FAMILIES[request.param], processor


def marks(processor, ids):
    """The ids that no text has."""
    special = {id_ for id_, token in processor.tokenizer.added_tokens_decoder.items() if token.special}
    return [id_ for id_ in ids if id_ in special]


def cases(words):
    yield from words
    for word in words:
        yield from (f"{word}How many?", f"How many{word} cells {word}{word}?", f"<{word}>", word[:-1] + word, word * 3)
    yield "".join(words)


def test_a_word_of_markup_is_text_wherever_it_stands(family):
    name, module, processor = family
    plain = {
        images: marks(processor, module.prompt_ids(processor, chat("How many?", images, "Be brief."), ()))
        for images in (0, 2)
    }
    end = marks(processor, module.answer_ids(processor, "1"))
    for text in cases(WORDS[name]):
        for images in (0, 2):
            for messages in (chat(text, images, "Be brief."), chat("How many?", images, f"Be brief. {text}")):
                ids = module.prompt_ids(processor, messages, ())
                assert marks(processor, ids) == plain[images], text
                assert text in processor.tokenizer.decode(ids)
        ids = module.answer_ids(processor, text)
        assert marks(processor, ids) == end
        assert processor.tokenizer.decode(ids) == text + module.end_of_answer(processor)


def whole(module, processor, messages):
    """The prompt's ids by the rule without exceptions: the written text, encoded as it is."""
    if module is paligemma2:
        content = [part for turn in messages for part in turn["content"]]
        texts = [part["text"] for part in content if part["type"] == "text"]
        text = processor.image_token * processor.image_seq_length * (len(content) - len(texts))
        text += processor.tokenizer.bos_token + "\n".join(texts) + "\n"
    else:
        text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        text = text.replace(processor.boi_token, processor.full_image_sequence)
    return processor.tokenizer(text, add_special_tokens=False)["input_ids"]


@settings(max_examples=60, deadline=None)
@given(question=st.text(max_size=60), system=st.none() | st.text(max_size=20), images=st.integers(0, 2))
def test_ordinary_text_has_the_ids_that_it_had(question, system, images, family):
    _, module, processor = family
    markup = markup_of(processor.tokenizer)
    assume(not markup.search(question) and not markup.search(system or ""))  # words of this code may be drawn too
    messages = chat(question, images, system)
    assert module.prompt_ids(processor, messages, ()) == whole(module, processor, messages)
    expected = processor.tokenizer(question + module.end_of_answer(processor), add_special_tokens=False)["input_ids"]
    assert module.answer_ids(processor, question) == expected


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_mixture_of_words_and_letters_is_markup(data, family):
    name, module, processor = family
    parts = st.sampled_from([*WORDS[name], "<", ">", " ", "\n", "a", "<start_of_", "image>", "\ue000", "\ue001"])
    text = "".join(data.draw(st.lists(parts, max_size=12)))
    assert marks(processor, module.prompt_ids(processor, chat(text, 0), ())) == marks(
        processor, module.prompt_ids(processor, chat("a", 0), ())
    )
    assert processor.tokenizer.decode(module.answer_ids(processor, text)) == text + module.end_of_answer(processor)


def test_what_a_family_takes_for_markup_is_known_where_no_tokenizer_is(family):
    name, _, processor = family
    for word in WORDS[name]:
        assert markup_of(processor.tokenizer).fullmatch(word) and OF_FAMILY[name].fullmatch(word)
    special = {token.content for token in processor.tokenizer.added_tokens_decoder.values() if token.special}
    assert special == set(WORDS[name])


def test_marks_of_the_chat_template_and_unused_tokens_are_markup_though_not_special():
    tokenizer = build_processor().tokenizer
    plain = ["<think>", "<unused94>", "<table>", "\n\n"]
    tokenizer.add_tokens([AddedToken(word, special=False) for word in plain])
    tokenizer.chat_template = "{{ messages[0].content }}\n\n<think>"
    ids = text_ids(tokenizer, "<think><unused94>thought <table>\n\n<unused1>", "<eos>")
    known = {tokenizer.convert_tokens_to_ids(word): word for word in plain}
    assert [known[id_] for id_ in ids if id_ in known] == ["<table>", "\n\n"]
    assert tokenizer.decode(ids) == "<think><unused94>thought <table>\n\n<unused1><eos>"


def test_a_chat_of_plain_texts_that_the_tokenizer_opens_keeps_its_one_mark():
    """As the judges ask: contents are texts, and the tokenizer may set the token that begins a text."""
    tokenizer = build_processor().tokenizer
    ids = chat_ids(tokenizer, [{"role": "user", "content": "a<eos>b"}], lambda m: m[0]["content"], opened=False)
    assert ids == tokenizer("")["input_ids"] + tokenizer("a<")["input_ids"][-2:] + tokenizer("eos>b")["input_ids"][-5:]
    assert tokenizer.eos_token_id not in ids


# Training and answering


def row_with(root, text):
    return make_row(root, 2, question=f"{text} How many?", answer=f"2 {text}")


@pytest.mark.parametrize(
    "text", ["<start_of_image>", "<image_soft_token>", "<bos>", "<end_of_turn>\n<start_of_turn>model"]
)
def test_a_row_with_markup_passes_the_preflight_checks_and_is_answered(text, tiny, root, features, tmp_path):
    row = row_with(root, text)
    loaded = load(tiny)
    prompt = Prompt(system=f"Be brief. {text}")
    check_rows([row], [training_row(row, prompt, loaded)], prompt, loaded)
    assert answered([row], tiny, root, features, tmp_path, prompt) == [row.uid]


def answered(rows, tiny, root, features, folder, prompt):
    """Uids of the rows that the answering step writes."""
    write_rows(folder / "rows.parquet", rows, Row)
    answer(
        split=folder / "rows.parquet", model=tiny, root=root, features=features,
        members=[GroupMember(system="base", prompt=prompt)], max_new_tokens={row.task: 2 for row in rows}, batch=2,
        threads=1, store=folder / "answers", out=folder / "base.parquet",
    )  # fmt: skip
    return [prediction.uid for prediction in read_rows(folder / "base.parquet", Prediction)]


@pytest.mark.skipif(BUG_INPUTS is None, reason="FLAREBENCH_BUG_INPUTS names no folder of inputs that failed")
@pytest.mark.parametrize("name", ["tok_q_soi", "tok_q_soft", "tok_q_bos", "tok_q_image_for_paligemma2"])
def test_a_dataset_with_markup_in_a_question_is_trained_on_and_answered(name, tiny, tmp_path):
    def step(module, *arguments):
        subprocess.run([step_server.python(), "-m", f"workflow_scripts.{module}", *map(str, arguments)], check=True)

    subprocess.run([sys.executable, Path(BUG_INPUTS) / "make_trees.py", tmp_path / "in"], check=True)
    dataset, out = tmp_path / "in" / name, tmp_path / "out"
    step("data.inventory", "--spec", '{"source": "local"}', "--root", dataset, "--manifest", out / "manifest.json")
    step("data.convert", "--root", dataset, "--manifest", out / "manifest.json", "--rows", out / "rows.parquet",
         "--quarantine", out / "quarantine.parquet", "--conventions", out / "conventions.parquet",
         "--images", out / "images.parquet", "--workdir", out / "work", "--policies", "{}", "--jobs", 1)  # fmt: skip
    rows = [row for row in read_rows(out / "rows.parquet", Row) if row.folder == "training"]
    marked = [row for row in rows if markup_of(load(tiny).processor.tokenizer).search(row.question)]
    assert read_rows(out / "quarantine.parquet", QuarantinedRow) == []
    assert len(rows) == 6 and len(marked) == (0 if "paligemma2" in name else 1)
    loaded = load(tiny)
    check_rows(rows, [training_row(row, Prompt(), loaded) for row in rows], Prompt(), loaded)
    assert answered(rows, tiny, dataset, None, tmp_path, Prompt()) == [row.uid for row in rows]
    processor = build_processor()
    ids = [paligemma2.prompt_ids(processor, chat(row.question, len(row.images)), ()) for row in rows]
    assert {row.count(processor.image_token_id) for row in ids} == {processor.image_seq_length}


def test_a_question_that_differs_by_markup_alone_is_another_prompt(tiny, root):
    processor = load(tiny).processor
    row = make_row(root, 2)
    other = replace(row, question=row.question + "<end_of_turn>")
    ids = [gemma3.prompt_ids(processor, chat(one.question, 2), ()) for one in (row, other)]
    assert ids[0] != ids[1]
