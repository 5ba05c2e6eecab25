"""On two GPUs: a judge scattered over them replies as on one, each pair in its place."""

import importlib.util

import pytest
import torch

from workflow_scripts.core.config.judges import TransformersJudge
from workflow_scripts.judges.judgements import Pair

pytestmark = [
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs"),
    pytest.mark.skipif(
        importlib.util.find_spec("CRIMSON") is None, reason="needs `pip install --no-deps crimson-score`"
    ),
]


def test_two_gpus_reply_as_one(tmp_path):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from workflow_scripts.judges.backends.local import TransformersModel
    from workflow_scripts.models.record import write_record

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: place for place, token in enumerate(["<pad>", "</s>", *letters])}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>")
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=16384, pad_token_id=0, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    record = tmp_path / "judge.json"
    write_record(record, "judge", "judge", tmp_path, None)
    pairs = [Pair("Cardiomegaly. " * n, f"No effusion {n}.") for n in range(1, 12)]

    def replies(gpus: int) -> list[str]:
        section = TransformersJudge(
            metric="crimson", checkpoint=str(tmp_path), gpus=gpus, batch=1, max_new_tokens=24, retries=0
        )
        by_pair = dict(TransformersModel(section, record).ask(pairs, 0))
        return [by_pair[pair].reply for pair in pairs]

    assert replies(2) == replies(1)
