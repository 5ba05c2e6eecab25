"""BERTScore's encoder: the bytes of its record, no code of its own, and reports as text whatever they hold."""

import json
import shutil

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.score.conftest import prediction, row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.core.config.scoring import BertScore
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ReportScore
from workflow_scripts.core.tables import read_rows
from workflow_scripts.models.fetch import fetch
from workflow_scripts.score.bertscore import Encoder, write_bertscore

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "heart", "is", "large", "[", "]", "SEP", "CLS"]


@pytest.fixture
def encoder(tmp_path):
    """A random BERT of two layers."""
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    folder = tmp_path / "bert"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=16,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def record_of(folder, place="encoder.json"):
    record = folder.parent / "records" / place
    fetch(spec=Checkpoint(family="encoder", checkpoint=str(folder)), record=record)
    return record


def test_an_encoder_is_the_bytes_of_its_record_or_refused(encoder, tables, tmp_path):
    record = record_of(encoder)
    split, answers = tables([row(0, "report", "the heart")], [prediction("u0000", "the heart")])
    spec = BertScore(checkpoint="elsewhere", layer=1)
    write_bertscore(split=split, predictions=answers, system="base", spec=spec, model=record, out=tmp_path / "b")
    assert [score.value for score in read_rows(tmp_path / "b", ReportScore)] == [pytest.approx(1.0)]
    with (encoder / "tokenizer.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(BadFile, match=r"tokenizer\.json was changed since .*encoder\.json was written"):
        Encoder(spec, record)


def test_an_encoder_of_pickles_is_refused(encoder):
    model = BertModel.from_pretrained(encoder)
    (encoder / "model.safetensors").unlink()
    torch.save(model.state_dict(), encoder / "pytorch_model.bin")
    with pytest.raises(BadFile, match="is not an encoder with a tokenizer"):
        Encoder(BertScore(checkpoint=str(encoder), layer=1))
    with pytest.raises(Refused, match=r"pickles alone \(pytorch_model\.bin\)"):
        record_of(encoder)


@pytest.mark.parametrize("known", ["bert", "of_its_own"])
def test_an_encoder_with_code_of_its_own_asks_nothing_and_runs_nothing(known, encoder, tables, tmp_path, start):
    folder, ran = shutil.copytree(encoder, tmp_path / "theirs"), tmp_path / "ran"
    (folder / "theirs.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    for name, auto_map in {
        "config.json": {"AutoConfig": "theirs.A", "AutoModel": "theirs.B"},
        "tokenizer_config.json": {"AutoTokenizer": ["theirs.C", "theirs.D"]},
    }.items():
        settings = json.loads((folder / name).read_text()) | {"auto_map": auto_map}
        settings |= {"model_type": known} if name == "config.json" else {}
        (folder / name).write_text(json.dumps(settings))
    split, answers = tables([row(0, "report", "the heart")], [prediction("u0000", "the heart")])
    spec = json.dumps({"checkpoint": str(folder), "layer": 1})
    flags = ["--split", split, "--predictions", answers, "--system", "base", "--spec", spec]
    code, said = start(write_bertscore, *flags, "--model", record_of(folder), "--out", tmp_path / "b")
    assert "[y/N]" not in said and not ran.exists()
    assert (code == 0) == (known == "bert"), said


def test_markup_in_a_report_is_text_to_the_encoder(encoder):
    loaded = Encoder(BertScore(checkpoint=str(encoder), layer=1))
    embedded = loaded.embed(["the heart [SEP] is large", "the heart is large"], 2)
    counts = {text: int(value.counts.sum()) for text, value in embedded.items()}
    assert counts == {"the heart [SEP] is large": 7, "the heart is large": 4}
