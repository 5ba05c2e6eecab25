"""METEOR and BERTScore are what their papers define; what they need is named where it is missing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from tests.score.conftest import prediction, row
from workflow_scripts.core.config.scoring import BertScore
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ReportScore
from workflow_scripts.core.tables import read_rows
from workflow_scripts.score.bertscore import Encoder, bertscore, write_bertscore
from workflow_scripts.tasks.report.meteor import Meteor

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "lungs", "are", "clear", "small", "left", "pleural", "effusion"]
WORDS += ["no", "acute", "disease", "heart"]
REPORTS = ["the lungs are clear", "small left pleural effusion", "no pleural effusion no acute disease", "heart", ""]


def test_meteor_is_the_papers_formula():
    """P = 1, R = 2/3 with one exact and one stem match in one chunk; α .9, β 3, γ .5 (Lavie and Agarwal 2007)."""
    mean = (2 / 3) / (0.9 + 0.1 * 2 / 3)
    assert Meteor(None).score("small left effusions", "left effusion") == pytest.approx(mean * (1 - 0.5 * 0.5**3))
    assert Meteor(None).score("Heart.", "heart") == pytest.approx(0.5)
    assert Meteor(None).score("heart", "") == Meteor(None).score("heart", "lungs") == 0.0


def nltk_data(place: Path) -> Path:
    """A data folder with a WordNet of one noun synset with two words, in the files' own format."""
    folder = place / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    for name in ("adj", "adv", "noun", "verb"):
        for file in (f"index.{name}", f"data.{name}", f"{name}.exc"):
            (folder / file).write_text("")
    for file in ("cntlist.rev", "index.sense"):
        (folder / file).write_text("")
    (folder / "lexnames").write_text("00\tnoun.body\t1\n")
    (folder / "data.noun").write_text("00000000 00 n 02 heart 0 ticker 0 000 | the pump\n")
    (folder / "index.noun").write_text("heart n 1 0 1 0 00000000\nticker n 1 0 1 0 00000000\n")
    return place


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.filterwarnings("ignore:The multilingual functions")
def test_with_wordnet_synonyms_match_and_the_metric_has_its_full_name(tmp_path, zipped):
    place = nltk_data(tmp_path / "data")
    if zipped:
        shutil.make_archive(str(place / "corpora/wordnet"), "zip", place / "corpora", "wordnet")
        shutil.rmtree(place / "corpora/wordnet")
    with_synonyms = Meteor(place)
    assert (with_synonyms.name, Meteor(None).name) == ("meteor", "meteor_stem")
    assert with_synonyms.score("the heart", "the ticker") > Meteor(None).score("the heart", "the ticker") > 0
    (tmp_path / "none").mkdir()
    with pytest.raises(BadFile, match="none holds no WordNet; `python"):
        Meteor(tmp_path / "none")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    """A random BERT of three layers."""
    folder = tmp_path_factory.mktemp("bert")
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, "[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("[CLS] $A [SEP]", None, [("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=8,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


def by_definition(folder: Path, layer: int, reference: str, hypothesis: str) -> float:
    """Token by token, each text alone, as the paper defines it."""
    tokenizer, model = PreTrainedTokenizerFast.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    vectors = []
    for text in (reference, hypothesis):
        inputs = tokenizer(text, return_tensors="pt", truncation=True)
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states[layer][0].double().numpy()
        vectors.append([state / np.linalg.norm(state) for state in states])
    ours, theirs = vectors
    if len(ours) == 2 or len(theirs) == 2:
        return 0.0
    precision = np.mean([max(float(token @ other) for other in ours) for token in theirs[1:-1]])
    recall = np.mean([max(float(token @ other) for other in theirs) for token in ours[1:-1]])
    return 2 * precision * recall / (precision + recall)


def by_the_authors(folder: Path, layer: int, references: list[str], hypotheses: list[str]) -> list[float]:
    """The algorithm of the authors' package (bert-score 0.3.13, without idf) on padded batches, written anew.

    The encoder is cut after `layer`; sentences are padded and masked; each token weighs 1 and the marks of start and
    end weigh 0; similarities to padding are 0; a text of two tokens is empty.
    """
    tokenizer, model = PreTrainedTokenizerFast.from_pretrained(folder), BertModel.from_pretrained(folder).eval()
    model.encoder.layer = torch.nn.ModuleList(model.encoder.layer[:layer])

    def encoded(texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        ids = [tokenizer.encode(text, truncation=True, max_length=tokenizer.model_max_length) for text in texts]
        longest = max(map(len, ids))
        padded = torch.tensor([line + [tokenizer.pad_token_id] * (longest - len(line)) for line in ids])
        mask = torch.tensor([[1] * len(line) + [0] * (longest - len(line)) for line in ids])
        marks = torch.isin(padded, torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id]))
        with torch.no_grad():
            states = model(padded, attention_mask=mask).last_hidden_state
        return states / states.norm(dim=-1, keepdim=True), mask, (mask.bool() & ~marks).float()

    (ours, our_mask, our_weights), (theirs, their_mask, their_weights) = encoded(references), encoded(hypotheses)
    similarity = torch.bmm(theirs, ours.transpose(1, 2)) * (their_mask[:, :, None] * our_mask[:, None, :])
    precision = (similarity.amax(2) * their_weights).sum(1) / their_weights.sum(1)
    recall = (similarity.amax(1) * our_weights).sum(1) / our_weights.sum(1)
    f1 = 2 * precision * recall / (precision + recall)
    empty = (our_mask.sum(1) == 2) | (their_mask.sum(1) == 2)
    return f1.masked_fill(empty | f1.isnan(), 0.0).tolist()


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_bertscore_is_that_of_the_authors_package(encoder, layer):
    embedded = Encoder(BertScore(checkpoint=str(encoder), layer=layer)).embed(REPORTS, 2)
    pairs = [(reference, hypothesis) for reference in REPORTS for hypothesis in REPORTS]
    values = [bertscore(embedded[reference], embedded[hypothesis]) for reference, hypothesis in pairs]
    assert values == pytest.approx(by_the_authors(encoder, layer, *map(list, zip(*pairs, strict=True))), abs=1e-5)
    assert len({round(value, 4) for value in values}) == 8  # six pairs, a text with itself, an empty one


@pytest.mark.parametrize("layer", [1, 3])
def test_bertscore_is_its_definition_and_batches_change_nothing(encoder, layer):
    loaded = Encoder(BertScore(checkpoint=str(encoder), layer=layer))
    for batch in (1, 5):
        embedded = loaded.embed(REPORTS, batch)
        for reference in REPORTS:
            for hypothesis in REPORTS:
                value = bertscore(embedded[reference], embedded[hypothesis])
                assert value == pytest.approx(by_definition(encoder, layer, reference, hypothesis), abs=1e-5)
    assert bertscore(embedded[REPORTS[0]], embedded[REPORTS[0]]) == pytest.approx(1.0, abs=1e-6)


def test_the_step_scores_every_report_and_names_what_is_wrong(encoder, tables, tmp_path, start):
    rows = [row(n, "report", text) for n, text in enumerate(REPORTS[:3])]
    split, answers = tables(rows, [prediction("u0000", REPORTS[0]), prediction("u0001", "no acute disease")])
    flags = ["--split", split, "--predictions", answers, "--system", "base", "--out", tmp_path / "b", "--spec"]
    code, said = start(write_bertscore, *flags, json.dumps({"checkpoint": str(encoder), "layer": 2}))
    assert code == 0, said
    rows = read_rows(tmp_path / "b", ReportScore)
    assert {(r.system, r.metric, r.judge, r.stratum, r.status) for r in rows} == {
        ("base", "bertscore", None, None, "valid")
    }
    scores = {r.uid: r.value for r in rows}
    assert scores["u0000"] == pytest.approx(1.0) and 0 < scores["u0001"] < 1 and scores["u0002"] == 0.0
    for spec, words in (({"checkpoint": str(encoder), "layer": 9}, "has 3 layers"),
                        ({"checkpoint": str(tmp_path), "layer": 1}, "is not an encoder with a tokenizer"),
                        ({"layer": 1}, "not the JSON of BertScore: checkpoint")):  # fmt: skip
        code, said = start(write_bertscore, *flags, json.dumps(spec))
        assert code != 0 and words in said
