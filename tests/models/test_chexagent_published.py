"""CheXagent-2's published files: the same network by other names, and what is refused of them."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig

from tests.models.test_chexagent import PUBLISHED, ids_of, images, pixels_of
from tests.models.tiny import chexagent as tiny
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.chexagent.configuration import CheXagentConfig
from workflow_scripts.models.chexagent.processor import read_tokenizer
from workflow_scripts.models.families.chexagent import FAMILY
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record


def published_name(name):
    """A tensor's name in the authors' checkpoint."""
    for ours, theirs in (
        ("model.vision_tower.", "model.visual.model."),
        ("model.multi_modal_projector.positions", "model.visual.pos_embed"),
        ("model.multi_modal_projector.linear_1.", "model.visual.attn_pool.0."),
        ("model.multi_modal_projector.linear_2.", "model.visual.attn_pool.2."),
        ("model.multi_modal_projector.norm.", "model.visual.ln_post."),
        ("model.multi_modal_projector.projection", "model.visual.proj"),
        ("model.language_model.", "model."),
    ):
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "chexagent"
    tiny.build(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    write_record(folder.with_suffix(".json"), "chexagent", "chexagent", folder, None)
    return load(folder.with_suffix(".json"))


@pytest.fixture
def published(loaded, folder, tmp_path, monkeypatch):
    """The tiny model as the authors publish theirs: flat configuration, their names, two shards, code of their own."""
    monkeypatch.setattr("workflow_scripts.models.chexagent.configuration.VIT_L_16", tower_settings(loaded))
    path = tmp_path / "published"
    path.mkdir()
    text = loaded.base.config.text_config
    config = PUBLISHED | {
        key: getattr(text, key)
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    }
    config |= {
        "max_position_embeddings": text.max_position_embeddings,
        "partial_rotary_factor": 0.5,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "auto_map": dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), "modeling_chexagent.Theirs"),
        "visual": {"image_size": tiny.SIDE, "output_dim": tiny.WIDTH},
    }
    (path / "config.json").write_text(json.dumps(config))
    (path / "modeling_chexagent.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Theirs: pass\n")
    state = {published_name(name): tensor for name, tensor in loaded.base.state_dict().items()}
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in shards.items():
        save_file({name: state[name].clone() for name in part}, path / file, metadata={"format": "pt"})
    places = {name: file for file, part in shards.items() for name in part}
    (path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    write_vocabulary(folder, path)
    return path


def tower_settings(loaded):
    vision = loaded.base.config.vision_config
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size", "image_size")
    return {name: getattr(vision, name) for name in names}


def write_vocabulary(folder, path):
    """`vocab.json`, `merges.txt` and the settings of a tokenizer whose class is the authors' own."""
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    marks = [token for token in read_tokenizer(folder).added_tokens_decoder.values() if token.content in model["vocab"]]
    (path / "vocab.json").write_text(json.dumps(model["vocab"]))
    (path / "merges.txt").write_text("#version: 0.2\n" + "".join(" ".join(pair) + "\n" for pair in model["merges"]))
    added = {model["vocab"][token.content]: {"content": token.content, "special": True} for token in marks}
    added[len(model["vocab"])] = {"content": "<|img|>", "special": True}
    settings = {
        "tokenizer_class": "CheXagentTokenizer",
        "auto_map": {"AutoTokenizer": ["modeling_chexagent.Theirs", None]},
        "added_tokens_decoder": added,
    }
    (path / "tokenizer_config.json").write_text(json.dumps(settings))


def load_published(path):
    record = path.with_suffix(".json")
    write_record(record, "published", "chexagent", path, None)
    return load(record)


@torch.inference_mode()
def test_the_published_layout_is_the_same_network_and_no_code_of_it_runs(loaded, published):
    theirs = load_published(published)
    ids = ids_of(loaded, "How many cells?", 1)
    assert FAMILY.prompt_ids(theirs.processor, chat("How many cells?", 1), [(120, 90)]) == ids
    pixels = pixels_of(loaded, images(1))
    assert torch.equal(pixels_of(theirs, images(1)), pixels)
    one, other = (m.base(input_ids=torch.tensor([ids]), pixel_values=pixels).logits for m in (loaded, theirs))
    assert torch.equal(one, other)
    assert theirs.base.generation_config.eos_token_id == theirs.processor.tokenizer.eos_token_id
    assert AutoConfig.from_pretrained(published, trust_remote_code=False).get_text_config().model_type == "phi"
    assert not (published.parent / "ran").exists()


def test_a_model_that_was_loaded_is_saved_and_loaded_as_the_same(loaded, published, tmp_path):
    theirs = load_published(published)
    theirs.model.save_pretrained(tmp_path / "again")
    theirs.processor.save_pretrained(tmp_path / "again")
    again = load_published(tmp_path / "again").base.state_dict()
    assert again.keys() == loaded.base.state_dict().keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in loaded.base.state_dict().items())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda state: state.pop("model.visual.proj"), "missing keys: model.multi_modal_projector.projection"),
        (lambda state: state.update({"model.extra": torch.ones(1)}), "unexpected keys: model.extra"),
    ],
)
def test_a_checkpoint_with_other_tensors_is_refused(published, change, expected):
    state = {}
    for file in published.glob("*.safetensors"):
        state |= load_file(file)
        file.unlink()
    (published / "model.safetensors.index.json").unlink()
    change(state)
    save_file(state, published / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadFile, match=expected):
        load_published(published)


def test_a_token_of_another_id_is_refused(published):
    file = published / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings["added_tokens_decoder"]["400"] = {"content": "<|late|>", "special": True}
    file.write_text(json.dumps(settings))
    with pytest.raises(BadFile, match=r'"<\|late\|>" has the id 400, but'):
        load_published(published)


def test_the_first_version_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="CheXagent's first version"):
        CheXagentConfig.from_dict({"model_type": "chexagent", "qformer_config": {}})
