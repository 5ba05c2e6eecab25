"""A judge that is loaded here, a tiny random model: batches change no reply, and stored judgements load no model."""

import json
import shutil

import pytest

from tests.score.conftest import prediction, row
from workflow_scripts.core.config.judges import JudgeSection, TransformersJudge
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import JudgedPair
from workflow_scripts.core.tables import read_rows
from workflow_scripts.judges import upstream
from workflow_scripts.judges.judgements import Pair, Store, judge_pairs
from workflow_scripts.score.judge import judge

pytestmark = pytest.mark.skipif(
    upstream.importlib.util.find_spec("radeval") is None, reason="needs `pip install --no-deps RadEval`"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A random Llama of a few thousand weights with a byte tokenizer."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<pad>", "</s>", *letters])}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=4096, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("judge")
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def section(checkpoint, **changes) -> TransformersJudge:
    fields = {
        "metric": "green",
        "checkpoint": str(checkpoint),
        "gpus": 0,
        "batch": 3,
        "max_new_tokens": 8,
        "retries": 0,
    }
    return TransformersJudge(**fields | changes)


PAIRS = [Pair("Cardiomegaly. " * n, "No effusion.") for n in range(1, 6)]


def test_batches_change_no_reply_and_keep_the_order(checkpoint):
    from workflow_scripts.judges.backends.local import TransformersModel

    together = TransformersModel(section(checkpoint)).loaded.replies(PAIRS, 0)
    alone = TransformersModel(section(checkpoint, batch=1)).loaded.replies(PAIRS, 0)
    assert together == alone


def test_the_same_pairs_load_no_model_again(checkpoint, tmp_path):
    from workflow_scripts.judges.backends.local import TransformersModel

    first = TransformersModel(section(checkpoint))
    judge_pairs(PAIRS, Store(tmp_path, first.identity), first, 0)
    assert first.loaded.generator.calls == 2
    second = TransformersModel(section(checkpoint))
    judgements = judge_pairs(PAIRS, Store(tmp_path, second.identity), second, 0)
    assert "loaded" not in vars(second)
    assert {judgement.status for judgement in judgements.values()} == {"invalid"}
    assert all(judgement.reply for judgement in judgements.values())


def test_a_random_judge_gives_invalid_rows_and_its_raw_replies(checkpoint, tmp_path, tables):
    split, answers = tables([row(0, "report", "Cardiomegaly.")], [prediction("u0000", "Normal.")])
    spec = JudgeSection(section(checkpoint, invalid_share=1.0))
    judge(split=split, predictions=answers, name="random", spec=spec, store=tmp_path / "s", out=tmp_path / "j")
    (pair,) = read_rows(tmp_path / "j", JudgedPair)
    assert (pair.status, pair.metrics) == ("invalid", ("green",))
    assert pair.reason


def test_a_judge_that_cannot_be_loaded_is_one_sentence(tmp_path):
    from workflow_scripts.judges.backends.local import TransformersModel

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing known"}))
    with pytest.raises(BadFile, match="cannot be loaded"):
        _ = TransformersModel(section(tmp_path)).loaded


def test_a_judge_is_known_by_its_files_and_its_prompt_wherever_it_lies(checkpoint, tmp_path, monkeypatch):
    from workflow_scripts.judges.backends.local import TransformersModel

    shutil.copytree(checkpoint, tmp_path / "copy")
    identity = TransformersModel(section(checkpoint)).identity
    assert TransformersModel(section(tmp_path / "copy")).identity == identity
    assert TransformersModel(section(checkpoint, batch=1)).identity == identity
    assert TransformersModel(section(checkpoint, max_new_tokens=9)).identity != identity
    with (tmp_path / "copy/tokenizer.json").open("a") as stream:
        stream.write(" ")
    assert TransformersModel(section(tmp_path / "copy")).identity != identity
    monkeypatch.setattr(upstream, "green_prompt", lambda reference, hypothesis: "another prompt")
    assert TransformersModel(section(checkpoint)).identity != identity
