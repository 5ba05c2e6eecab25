"""Tiny random encoders of several architectures that know some words, and rows of every task that encoders answer."""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    DebertaV2Config,
    DebertaV2Model,
    MegatronBertConfig,
    MegatronBertModel,
    PreTrainedTokenizerFast,
)

from workflow_scripts.core.answers import Conventions
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tasks import load_part
from workflow_scripts.data.brat.standoff import read_standoff
from workflow_scripts.models.record import write_record
from workflow_scripts.synthetic.notes import TRAINING, note
from workflow_scripts.tasks.entities.documents import AnnotatedText, question_about
from workflow_scripts.tasks.standoff import ANNOTATED

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
ARCHITECTURES = {
    "bert": (BertConfig, BertModel),
    "megatron-bert": (MegatronBertConfig, MegatronBertModel),  # GatorTron's
    "deberta-v2": (DebertaV2Config, DebertaV2Model),
}
TASKS = ("entities", "relations", "entailment", "similarity", "span_qa")


def write_encoder(folder: Path, texts: Sequence[str], architecture: str = "megatron-bert", longest: int = 96) -> Path:
    """Write an encoder with a tokenizer of the texts' words; the path of its record."""
    words = sorted({word for text in texts for word in _words(text)})
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d+|[^\W\d]+|[^\w\s]"), "removed", invert=True)
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=longest, model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config, model = ARCHITECTURES[architecture]
    more = {"type_vocab_size": 2} if architecture == "deberta-v2" else {}
    model(config(vocab_size=len(known), max_position_embeddings=longest, **SIZES, **more)).save_pretrained(folder)
    record = folder.with_suffix(".json")
    write_record(record, folder.name, "encoder", folder, None)
    return record


def _words(text: str) -> list[str]:
    return re.findall(r"\d+|[^\W\d]+|[^\w\s]", text.lower())


def row_of(task: str, number: int, question: str, answer: object) -> Row:
    """A row as the conversion makes it."""
    part = load_part(task, "answers")
    expected = part.expected_format(question, Conventions())
    parsed = part.parse(answer, expected)
    return Row(
        uid=f"{task}/{number}", subset="notes", modality="Text", folder="training", task=task, task_raw=task,
        case_id=f"c{number}", question=question, expected=expected, images=(), image_name="[]", answer=parsed.text,
        answer_raw=json.dumps(answer), source_file="questions.json", source_row=number, labels=parsed.labels,
        number=parsed.number,
    )  # fmt: skip


def rows_of(notes: int, seed: int = 0) -> list[Row]:
    """Rows of all tasks about toy notes."""
    rng = random.Random(seed)
    rows = []
    for number in range(notes):
        text, lines = note(rng, TRAINING)
        read = read_standoff(text, lines.splitlines())
        annotated = AnnotatedText(read.text, read.entities, tuple(read.relations.values()))
        types = {"entities": ("Dose", "Drug", "Problem", "Test"), "relations": ("Dose-Drug",)}
        for task, part in ANNOTATED.items():
            pair = part.question_of(annotated, types[task], part.INSTRUCTION)
            rows += [row_of(task, number, *pair)] if pair else []
        drug = rng.choice(["aspirin", "heparin"])
        denies = rng.random() < 0.5
        premise = f"He takes {drug} daily."
        hypothesis = f"He takes no {drug}." if denies else f"He takes {drug}."
        choices = "Does it follow? Choose from: entailment; contradiction"
        label = "contradiction" if denies else "entailment"
        rows.append(row_of("entailment", number, f"{choices}\nPremise: {premise}\nHypothesis: {hypothesis}", label))
        alike = f"How alike, 0 to 5?\nSentence 1: {premise}\nSentence 2: {hypothesis}"
        rows.append(row_of("similarity", number, alike, 1.0 if denies else 4.5))
        about = question_about(f"The patient slept well. He was given {drug} for fever.", "What was he given?")
        rows.append(row_of("span_qa", number, about, drug))
    return rows
