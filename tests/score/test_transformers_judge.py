"""A judge that is loaded here, with a tiny random model: batches change no reply, and kept pairs ask no model."""

import json

import pytest

from tests.score.conftest import prediction, row
from workflow_scripts.core.config.judges import TransformersJudge
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import JUDGEMENTS, read_table
from workflow_scripts.judges import upstream
from workflow_scripts.judges.judgements import Pair, Store, judge_pairs
from workflow_scripts.score.judge import judge_system

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
    given = {"metric": "green", "checkpoint": str(checkpoint), "gpus": 0, "batch": 3, "max_new_tokens": 8, "retries": 0}
    return TransformersJudge(**given | changes)


PAIRS = [Pair("Cardiomegaly. " * n, "No effusion.") for n in range(1, 6)]


def test_batches_change_no_reply_and_keep_the_order(checkpoint):
    from workflow_scripts.judges.backends.local import TransformersModel

    together = TransformersModel(section(checkpoint)).loaded.replies(PAIRS, 0)
    alone = TransformersModel(section(checkpoint, batch=1)).loaded.replies(PAIRS, 0)
    assert together == alone


def test_the_same_pairs_ask_no_model_again(checkpoint, tmp_path):
    from workflow_scripts.judges.backends.local import TransformersModel

    first = TransformersModel(section(checkpoint))
    judge_pairs(PAIRS, Store(tmp_path, first.identity), first, 0)
    assert first.loaded.generator.calls == 2
    second = TransformersModel(section(checkpoint))
    judged = judge_pairs(PAIRS, Store(tmp_path, second.identity), second, 0)
    assert "loaded" not in vars(second)
    assert {judgement.status for judgement in judged.values()} == {"invalid"}
    assert all(judgement.reply for judgement in judged.values())


def test_a_random_judge_gives_invalid_rows_and_its_raw_replies(checkpoint, tmp_path, tables):
    split, answers = tables([row(0, "report", "Cardiomegaly.")], [prediction("u0000", "Normal.")])
    judge_system(split, answers, "random", section(checkpoint, invalid_share=1.0), tmp_path / "s", tmp_path / "j")
    (entry,) = read_table(tmp_path / "j", JUDGEMENTS).to_pylist()
    assert (entry["status"], entry["metric"]) == ("invalid", "green")
    assert entry["reason"]


def test_a_judge_that_cannot_be_loaded_is_one_sentence(tmp_path):
    from workflow_scripts.judges.backends.local import TransformersModel

    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing known"}))
    with pytest.raises(BadFile, match="cannot be loaded"):
        _ = TransformersModel(section(tmp_path)).loaded
