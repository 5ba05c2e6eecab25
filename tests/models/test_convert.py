"""LLaVA-Med 1.5 in its authors' layout becomes a checkpoint that transformers loads, with every tensor in its place."""

import json
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.models.tiny.llava import build_tokenizer
from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.conversion.llava_med import new_name, padded_size, with_new_tokens
from workflow_scripts.models.conversion.sentencepiece import read_tokenizer
from workflow_scripts.models.convert import convert
from workflow_scripts.models.families.llava import FAMILY
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import read_record, write_record

WIDTH, INNER, TOWER, SIDE, PATCH, LAYERS, TOWER_LAYERS = 64, 96, 128, 56, 14, 2, 3
SHARDS = 3

TOWER_BLOCK = {
    **{f"self_attn.{part}_proj.weight": (TOWER, TOWER) for part in ("q", "k", "v", "out")},
    **{f"self_attn.{part}_proj.bias": (TOWER,) for part in ("q", "k", "v", "out")},
    **{f"layer_norm{number}.{part}": (TOWER,) for number in (1, 2) for part in ("weight", "bias")},
    **{
        "mlp.fc1.weight": (256, TOWER),
        "mlp.fc1.bias": (256,),
        "mlp.fc2.weight": (TOWER, 256),
        "mlp.fc2.bias": (TOWER,),
    },
}
TOWER_SHAPES = {
    "embeddings.class_embedding": (TOWER,),
    "embeddings.patch_embedding.weight": (TOWER, 3, PATCH, PATCH),
    "embeddings.position_embedding.weight": ((SIDE // PATCH) ** 2 + 1, TOWER),
    **{f"{norm}.{part}": (TOWER,) for norm in ("pre_layrnorm", "post_layernorm") for part in ("weight", "bias")},
    **{f"encoder.layers.{n}.{name}": shape for n in range(TOWER_LAYERS) for name, shape in TOWER_BLOCK.items()},
}
BLOCK = {
    **{"self_attn.q_proj.weight": (WIDTH, WIDTH), "self_attn.o_proj.weight": (WIDTH, WIDTH)},
    **{"self_attn.k_proj.weight": (WIDTH // 2, WIDTH), "self_attn.v_proj.weight": (WIDTH // 2, WIDTH)},
    **{
        "mlp.gate_proj.weight": (INNER, WIDTH),
        "mlp.up_proj.weight": (INNER, WIDTH),
        "mlp.down_proj.weight": (WIDTH, INNER),
    },
    **{"input_layernorm.weight": (WIDTH,), "post_attention_layernorm.weight": (WIDTH,)},
}


def shapes(tokens):
    """Every tensor of the authors' checkpoint, by their names."""
    return {
        "model.embed_tokens.weight": (tokens, WIDTH),
        "lm_head.weight": (tokens, WIDTH),
        "model.norm.weight": (WIDTH,),
        **{f"model.layers.{n}.{name}": shape for n in range(LAYERS) for name, shape in BLOCK.items()},
        **{f"model.vision_tower.vision_tower.vision_model.{name}": shape for name, shape in TOWER_SHAPES.items()},
        **{"model.mm_projector.0.weight": (WIDTH, TOWER), "model.mm_projector.0.bias": (WIDTH,)},
        **{"model.mm_projector.2.weight": (WIDTH, WIDTH), "model.mm_projector.2.bias": (WIDTH,)},
    }


def config(tokens):
    return {
        **{"model_type": "llava_mistral", "architectures": ["LlavaMistralForCausalLM"], "torch_dtype": "bfloat16"},
        **{"hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "vocab_size": tokens, "sliding_window": None, "rope_theta": 1000000.0},
        **{
            "bos_token_id": 1,
            "eos_token_id": 2,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-05,
            "tie_word_embeddings": False,
        },
        **{
            "mm_vision_tower": "openai/clip-vit-large-patch14-336",
            "mm_hidden_size": TOWER,
            "mm_projector_type": "mlp2x_gelu",
        },
        **{"mm_vision_select_layer": -2, "mm_vision_select_feature": "patch", "mm_use_im_start_end": False},
        **{"image_aspect_ratio": "pad", "tokenizer_padding_side": "right", "use_mm_proj": True},
        "auto_map": {"AutoModelForCausalLM": "theirs.Theirs"},
    }


def random_state(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    state = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in shapes.items()}
    return {name: 1 + tensor if name.endswith(("norm.weight", "norm1.weight", "norm2.weight")) else tensor
            for name, tensor in state.items()}  # fmt: skip


@pytest.fixture
def published(tmp_path):
    """A fabricated checkpoint of three shards."""
    folder = tmp_path / "published"
    folder.mkdir()
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(folder)
    tokens = len(tokenizer)
    (folder / "config.json").write_text(json.dumps(config(tokens)))
    write_shards(folder, random_state(shapes(tokens), seed=0))
    return folder


def write_shards(folder, state):
    for file in folder.glob("*.safetensors"):
        file.unlink()
    names = list(state)
    places = {}
    for number in range(SHARDS):
        own = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors"
        part = {name: state[name] for name in names[number::SHARDS]}
        save_file(part, folder / own, metadata={"format": "pt"})
        places |= dict.fromkeys(part, own)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.fixture
def clip(tmp_path):
    """Stock CLIP with its text half."""
    folder = tmp_path / "clip"
    folder.mkdir()
    vision = {
        "hidden_size": TOWER,
        "intermediate_size": 256,
        "num_hidden_layers": TOWER_LAYERS,
        "num_attention_heads": 2,
    }
    vision |= {"patch_size": PATCH, "image_size": SIDE, "model_type": "clip_vision_model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": vision}))
    state = random_state({f"vision_model.{name}": shape for name, shape in TOWER_SHAPES.items()}, seed=1)
    state |= {"text_model.final_layer_norm.bias": torch.zeros(2), "logit_scale": torch.zeros(1)}
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    save_file(state, folder / "model.safetensors")
    return folder


def recorded(folder):
    record = folder.with_suffix(".json")
    write_record(record, folder.name, "published", folder, None, checkpoint="authors/llava-med")
    return record


def converted(published, tower, clip=None):
    record = published.parent / "models" / f"{tower}.json"
    said = convert(
        published=recorded(published), record=record, vision_tower=tower, clip=None if clip is None else recorded(clip)
    )
    return record, said


def weights_of(folder):
    index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    state = {}
    for file in sorted(folder.glob("*.safetensors")):
        part = load_file(file)
        assert {index[name] for name in part} == {file.name}
        state |= part
    assert state.keys() == index.keys()
    return state


def renamed(name):
    """A tensor's new name, as it stands in published checkpoints of transformers' LLaVA."""
    for theirs, ours in (
        ("model.vision_tower.vision_tower.vision_model.", "vision_tower.vision_model."),
        ("model.mm_projector.0.", "multi_modal_projector.linear_1."),
        ("model.mm_projector.2.", "multi_modal_projector.linear_2."),
        ("lm_head.", "language_model.lm_head."),
        ("model.", "language_model.model."),
    ):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    raise AssertionError(name)


@pytest.mark.parametrize("tower", ["adapted", "clip"])
def test_every_tensor_has_its_new_name_and_its_values(published, clip, tower):
    record, said = converted(published, tower, clip if tower == "clip" else None)
    _, folder = read_record(record)
    state, before = weights_of(folder), weights_of(published)
    tokens = len(before["lm_head.weight"])
    expected = {renamed(name): tensor for name, tensor in before.items()}
    if tower == "clip":
        stock = load_file(clip / "model.safetensors")
        expected |= {
            f"vision_tower.{name}": tensor for name, tensor in stock.items() if name.startswith("vision_model.")
        }
        del expected["vision_tower.vision_model.embeddings.position_ids"]
        omitted = (
            f"1 *.position_ids, 1 logit_scale*, {len(TOWER_SHAPES)} model.vision_tower.vision_tower.*, 1 text_model*"
        )
        assert said.endswith(f"clip vision tower, {padded_size(tokens)} tokens; left out: {omitted}")
    else:
        assert said.endswith(f"adapted vision tower, {padded_size(tokens)} tokens; left out: nothing")
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name][: len(tensor)], tensor), name
        assert len(state[name]) == (padded_size(tokens) if len(tensor) == tokens else len(tensor))


@torch.inference_mode()
@pytest.mark.parametrize("tower", ["adapted", "clip"])
def test_the_converted_checkpoint_loads_and_answers(published, clip, tower, caplog):
    record, _ = converted(published, tower, clip if tower == "clip" else None)
    described, folder = read_record(record)
    source = read_record(published.with_suffix(".json"))[0]
    assert (described.family, described.checkpoint) == ("llava", "authors/llava-med")
    assert described.revision == source.revision and described.files != source.files
    model, report = FAMILY.model_class.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, output_loading_info=True
    )
    assert not any(report.values()), report
    loaded = load(record)
    tokens = len(build_tokenizer())
    image, pad = loaded.processor.tokenizer.convert_tokens_to_ids(["<image>", "<pad>"])
    assert (image, pad, loaded.base.config.image_token_id) == (tokens, tokens + 1, tokens)
    assert loaded.base.config.text_config.vocab_size % 64 == 0
    assert (
        loaded.base.config.text_config.model_type == "mistral" and loaded.base.config.text_config.sliding_window is None
    )
    ids = FAMILY.prompt_ids(loaded.processor, chat("How many cells?", 1), [(120, 90)])
    assert ids.count(image) == (SIDE // PATCH) ** 2
    pixels = FAMILY.pixels(loaded.processor, Image.fromarray(np.full((90, 120, 3), 90, dtype=np.uint8)))
    answer = loaded.base.generate(
        input_ids=torch.tensor([ids]), pixel_values=pixels, max_new_tokens=8, do_sample=False
    )[0, len(ids) :]
    assert len(answer) and (answer < tokens).all()
    tower_weight = model.model.vision_tower.encoder.layers[0].mlp.fc1.weight
    own = weights_of(published)["model.vision_tower.vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"]
    assert torch.equal(tower_weight, own) == (tower == "adapted")


def test_the_arithmetic_is_that_of_the_authors_parts(published):
    """logits of a text are those of a Mistral with the published tensors."""
    from transformers import MistralConfig, MistralForCausalLM

    record, _ = converted(published, "adapted")
    before = weights_of(published)
    tokens = len(before["lm_head.weight"])
    settings = {k: v for k, v in config(tokens).items() if not k.startswith(("mm_", "model_type", "auto_map", "torch"))}
    mistral = MistralForCausalLM(MistralConfig(**settings)).eval()
    mistral.load_state_dict({k: v for k, v in before.items() if "vision_tower" not in k and "mm_projector" not in k})
    ids = torch.tensor([[1, 5, 9, 40, 80]])
    with torch.inference_mode():
        ours = load(record).base(input_ids=ids).logits[..., :tokens]
        torch.testing.assert_close(ours, mistral(input_ids=ids).logits, atol=1e-5, rtol=1e-5)


def test_a_new_token_is_never_the_likeliest():
    weight = torch.randn(300, 16)
    extended = with_new_tokens(weight)
    assert len(extended) == 320
    logits = torch.randn(200, 16) @ extended.T
    assert (logits.argmax(-1) < 300).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state: state.pop("model.layers.1.mlp.up_proj.weight"), "no language_model.model.layers.1.mlp.up_proj"),
        (lambda state: state.pop("model.mm_projector.2.bias"), "no multi_modal_projector.linear_2.bias"),
        (lambda state: state.update({"model.image_newline": torch.ones(WIDTH)}), "model.image_newline is no tensor of"),
        (
            lambda state: state.update({"model.layers.2.input_layernorm.weight": torch.ones(WIDTH)}),
            "layers.2.* no place",
        ),
        (
            lambda state: state.update({"model.norm.weight": torch.ones(WIDTH + 1)}),
            "model.norm.weight is 65; expected 64",
        ),
    ],
)
def test_a_tensor_without_a_place_and_a_place_without_a_tensor_are_refused(published, change, expected):
    state = weights_of(published)
    change(state)
    write_shards(published, state)
    with pytest.raises(Refused, match=expected):
        converted(published, "adapted")
    assert not (published.parent / "models" / "adapted.json").exists()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("model_type", "llava_mpt", "expected llava_mistral"),
        ("mm_projector_type", "linear", "mm_projector_type is 'linear'"),
        ("mm_use_im_start_end", True, "mm_use_im_start_end is True"),
        ("mm_hidden_size", 7, "mm_hidden_size is 7"),
        ("vocab_size", 7, "vocab_size is 7; expected 292"),
    ],
)
def test_another_kind_of_checkpoint_is_refused(published, key, value, expected):
    settings = json.loads((published / "config.json").read_text()) | {key: value}
    (published / "config.json").write_text(json.dumps(settings))
    with pytest.raises(Refused, match=expected):
        converted(published, "adapted")


def test_stock_clip_must_be_named(published):
    with pytest.raises(Refused, match="no checkpoint of CLIP is given"):
        converted(published, "clip")


def test_a_tensor_of_an_unknown_kind_is_no_ones():
    with pytest.raises(Refused, match=r"vision_tower\.other is no tensor of LLaVA-Med"):
        new_name("vision_tower.other")
    assert new_name("model.layers.0.self_attn.rotary_emb.inv_freq") is None


# the tokenizer's file


def number(value):
    """An unsigned number in groups of seven bits."""
    data = b""
    while value > 127:
        data, value = data + bytes([value & 127 | 128]), value >> 7
    return data + bytes([value])


def field(place, value):
    """A field of a protocol-buffer message."""
    if isinstance(value, bytes):
        return number(place << 3 | 2) + number(len(value)) + value
    if isinstance(value, float):
        return number(place << 3 | 5) + struct.pack("<f", value)
    return number(place << 3) + number(value)


def sentencepiece(model_type=2, normalisation=b"", words=("▁c", "ce", "ll", "▁ce", "▁cell", "▁cells")):
    """A `tokenizer.model` with bytes, letters, and words of falling scores."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    pieces += [(word, -float(rank), 1) for rank, word in enumerate(words)]
    pieces += [(letter, -1000.0 - rank, 1) for rank, letter in enumerate("▁cels1")]
    data = b"".join(
        field(1, field(1, text.encode()) + field(2, score) + field(3, kind)) for text, score, kind in pieces
    )
    return data + field(2, field(3, model_type)) + field(3, field(1, b"identity") + field(4, 0) + normalisation)


def test_a_sentencepiece_model_is_read_as_its_tokenizer(tmp_path):
    file = tmp_path / "tokenizer.model"
    file.write_bytes(sentencepiece())
    tokenizer = read_tokenizer(file)
    assert tokenizer.encode("cells 1é").tokens == ["<s>", "▁cells", "▁", "1", "<0xC3>", "<0xA9>"]
    assert tokenizer.encode("lle", add_special_tokens=False).tokens == ["▁", "ll", "e"]
    assert tokenizer.decode(tokenizer.encode("cells\n 1é").ids) == "cells\n 1é"
    assert tokenizer.token_to_id("</s>") == 2


def test_a_checkpoint_with_a_sentencepiece_model_alone_is_converted(published):
    (published / "tokenizer.json").unlink()
    (published / "tokenizer.model").write_bytes(sentencepiece())
    tokens = len(read_tokenizer(published / "tokenizer.model").get_vocab())
    (published / "config.json").write_text(json.dumps(config(tokens)))
    write_shards(published, random_state(shapes(tokens), seed=0))
    record, _ = converted(published, "adapted")
    processor = FAMILY.load_processor(read_record(record)[1])
    ids = FAMILY.prompt_ids(processor, chat("cells", 1), [(120, 90)])
    # The authors encode what stands before and after an image one by one.
    before, after = (
        read_tokenizer(published / "tokenizer.model").encode(text, add_special_tokens=False).ids
        for text in ("[INST] ", "\ncells [/INST]")
    )
    assert ids == [1, *before, *[tokens] * 16, *after]
    assert FAMILY.answer_ids(processor, "cells") == [*processor.tokenizer.convert_tokens_to_ids(["▁cells"]), 2]


def test_each_stretch_of_text_begins_with_a_space(tmp_path):
    file = tmp_path / "tokenizer.model"
    file.write_bytes(sentencepiece())
    tokens = read_tokenizer(file).encode("cell</s>cell", add_special_tokens=False).tokens
    assert tokens == ["▁cell", "</s>", "▁cell"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (sentencepiece(model_type=1), "not a byte-pair encoding"),
        (sentencepiece(normalisation=field(2, b"rules")), "changes text before it splits it"),
        (sentencepiece()[:-3], "not a SentencePiece model"),
        (b"\xff\xff", "not a SentencePiece model"),
    ],
)
def test_another_file_is_refused(tmp_path, data, expected):
    file = tmp_path / "tokenizer.model"
    file.write_bytes(data)
    with pytest.raises(BadFile, match=expected):
        read_tokenizer(file)
