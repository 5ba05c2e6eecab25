"""Merged weights give the adapter's answers, under the names of published checkpoints, and nothing else is merged."""

import json
import shutil

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL import Image as Pillow
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from workflow_scripts.core.command import Refused
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import read_record, write_record
from workflow_scripts.synthetic.model import SHIPPED, write_model
from workflow_scripts.train.card import name_base
from workflow_scripts.train.merge import INDEX, core_name, merge


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The record of the toy model that ships, whose weights are bfloat16 and named as published ones."""
    record = tmp_path_factory.mktemp("models") / "tiny.json"
    write_model(record=record)
    return record


def adapter_on(record, folder, targets):
    """An adapter of random weights that changes answers; it names its base as training does."""
    torch.manual_seed(0)
    loaded = load(record)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=loaded.family.lora_targets[targets], task_type="CAUSAL_LM")
    model = get_peft_model(loaded.base, config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.5)
    model.save_pretrained(folder)
    name_base(folder, read_record(record)[0])
    return folder


@pytest.fixture(scope="module", params=["language", "all-linear"])
def adapter(request, toy, tmp_path_factory):
    return adapter_on(toy, tmp_path_factory.mktemp("adapter"), request.param)


@pytest.fixture(scope="module")
def plain(toy, tmp_path_factory):
    """An adapter of the language model alone."""
    return adapter_on(toy, tmp_path_factory.mktemp("adapter"), "language")


@torch.inference_mode()
def answers_of(record, root, adapter=None):
    """Logits of two prompts with an image, and the greedy continuation of each."""
    loaded = load(record, adapter=adapter)
    answers = []
    for number, question in enumerate(("How many cells?", "Which shape is shown? Options: A) disc B) ring")):
        ids = torch.tensor([loaded.family.prompt_ids(loaded.processor, chat(question, 1), ())])
        with Pillow.open(root / f"{number}.png") as image:
            pixels = loaded.family.pixels(loaded.processor, image.convert("RGB"))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}
        inputs["token_type_ids"] = loaded.family.text_inputs(loaded.processor, ids, ids, ())["token_type_ids"]
        logits = loaded.model(**inputs).logits
        text = loaded.model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, ids.shape[1] :]
        answers.append((logits, text.tolist()))
    return answers


def names_of(file):
    """The names of a file's tensors, and what it says of itself."""
    with safe_open(file, "pt") as stream:
        return set(stream.keys()), stream.metadata()


def record_of(folder):
    """A record of merged weights, as of any local checkpoint."""
    write_record(folder.with_suffix(".json"), folder.name, "gemma3", folder, None)
    return folder.with_suffix(".json")


def test_merged_weights_answer_as_the_adapter_does_beside_its_base(toy, adapter, root, tmp_path):
    merge(model=toy, adapter=adapter, out=tmp_path / "merged", dtype="float32")
    theirs, ours = answers_of(toy, root, adapter), answers_of(record_of(tmp_path / "merged"), root)
    for (expected, text), (logits, merged_text) in zip(theirs, ours, strict=True):
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
        assert merged_text == text
    assert [text for _, text in theirs] != [text for _, text in answers_of(toy, root)]


def test_merged_tensors_are_those_of_peft_rounded_once_and_the_rest_is_the_bases(toy, adapter, tmp_path):
    """In the base's own bfloat16: PEFT merges in float32, on the base as it is loaded here, and its sum is rounded."""
    merge(model=toy, adapter=adapter, out=tmp_path / "merged")
    merged, base = load_file(tmp_path / "merged/model.safetensors"), load_file(toy.parent / "tiny/model.safetensors")
    oracle = PeftModel.from_pretrained(load(toy).model, adapter).merge_and_unload().state_dict()
    oracle = {core_name(name): tensor for name, tensor in oracle.items()}
    changed = 0
    for name, tensor in merged.items():
        assert tensor.dtype == base[name].dtype == torch.bfloat16
        assert torch.equal(tensor, oracle[core_name(name)].to(torch.bfloat16)), name
        changed += not torch.equal(tensor, base[name])
    assert changed == len(load_file(adapter / "adapter_model.safetensors")) // 2


def test_names_and_files_are_those_of_the_published_base_with_everything_that_a_loader_reads(toy, plain, tmp_path):
    merge(model=toy, adapter=plain, out=tmp_path / "merged")
    names, metadata = names_of(tmp_path / "merged/model.safetensors")
    assert (names, metadata) == names_of(SHIPPED / "model.safetensors") and metadata == {"format": "pt"}
    assert any(name.startswith("vision_tower.vision_model.encoder.layers.0.") for name in names)
    others = {file.name for file in SHIPPED.iterdir()} - {"model.safetensors"}
    assert all((tmp_path / "merged" / name).read_bytes() == (SHIPPED / name).read_bytes() for name in others)
    provenance = json.loads((tmp_path / "merged/provenance.json").read_text())
    assert provenance["base"] == "tiny" and provenance["revision"] == read_record(toy)[0].revision
    assert set(provenance["files"]) == others | {"model.safetensors"}
    assert str(tmp_path) not in (tmp_path / "merged/provenance.json").read_text()


def test_a_base_that_transformers_saved_gets_the_names_that_servers_look_for(tiny, root, tmp_path):
    adapter = adapter_on(tiny, tmp_path / "adapter", "all-linear")
    assert not any("vision_model" in name for name in names_of(tiny.with_suffix("") / "model.safetensors")[0])
    merge(model=tiny, adapter=adapter, out=tmp_path / "merged")
    tower = [name for name in names_of(tmp_path / "merged/model.safetensors")[0] if "vision_tower" in name]
    assert tower and all("vision_tower.vision_model." in name for name in tower)
    theirs, ours = answers_of(tiny, root, adapter), answers_of(record_of(tmp_path / "merged"), root)
    for (expected, text), (logits, merged_text) in zip(theirs, ours, strict=True):
        torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)
        assert merged_text == text


def test_large_weights_are_written_in_parts_with_an_index_and_load(toy, plain, tmp_path):
    merge(model=toy, adapter=plain, out=tmp_path / "whole")
    merge(model=toy, adapter=plain, out=tmp_path / "parts", shard_gigabytes=5e-4)
    places = json.loads((tmp_path / "parts" / INDEX).read_text())
    files = sorted(file.name for file in (tmp_path / "parts").glob("*.safetensors"))
    assert len(files) > 2 and files == sorted(set(places["weight_map"].values()))
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    parts = {name: tensor for file in files for name, tensor in load_file(tmp_path / "parts" / file).items()}
    whole = load_file(tmp_path / "whole/model.safetensors")
    assert set(parts) == set(whole) and all(torch.equal(parts[name], whole[name]) for name in whole)
    assert places["metadata"]["total_size"] == sum(tensor.nbytes for tensor in whole.values())
    loaded = {
        core_name(name): tensor for name, tensor in load(record_of(tmp_path / "parts")).model.state_dict().items()
    }
    assert all(torch.equal(loaded[core_name(name)], tensor.float()) for name, tensor in whole.items())
    sharded = write_record(tmp_path / "tiny.json", "tiny", "gemma3", tmp_path / "parts", read_record(toy)[0].revision)
    assert INDEX in sharded.files
    merge(model=tmp_path / "tiny.json", adapter=plain, out=tmp_path / "twice")  # a base in parts is one too


def edited(adapter, folder, **settings):
    """A copy of an adapter with other settings."""
    shutil.copytree(adapter, folder)
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base_model_name_or_path": "another"}, "was trained on another at None, and the model is tiny at"),
        ({"revision": "f" * 40}, f"was trained on tiny at {'f' * 40}, and the model is tiny at"),
        ({"use_dora": True}, "use_dora are not those of a plain LoRA"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save are not those of a plain LoRA"),
        ({"peft_type": "IA3"}, "is not a LoRA adapter"),
    ],
)
def test_an_adapter_of_another_base_or_kind_is_refused(toy, plain, tmp_path, settings, message):
    with pytest.raises(Refused, match=message):
        merge(model=toy, adapter=edited(plain, tmp_path / "adapter", **settings), out=tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def changed_weights(adapter, folder, change):
    """A copy of an adapter whose weights `change` edits, by name."""
    shutil.copytree(adapter, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    change(weights, min(name for name in weights if name.endswith("lora_B.weight")))
    save_file(weights, folder / "adapter_model.safetensors")
    return folder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w, key: w.update({key: w[key] * torch.nan}), "is not finite once merged"),
        (lambda w, key: w.pop(key), "lacks one of the two matrices"),
        (lambda w, key: w.update({key: torch.zeros(3, 4)}), "adapts .* as 3 × "),
        (lambda w, key: w.update({key.replace("layers.0", "layers.9"): w.pop(key)}), "lacks one of the two"),
        (lambda w, key: w.update({"base_model.model.x.lora_magnitude_vector": torch.zeros(1)}), "no part of a plain"),
        (
            lambda w, key: w.update({f"base_model.model.lm_head.lora_{s}.weight": torch.zeros(4, 4) for s in "AB"}),
            "adapts lm_head.weight, which the base has no weight for",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_leave_the_old_folder(toy, plain, tmp_path, change, message):
    merge(model=toy, adapter=plain, out=tmp_path / "merged")
    before = (tmp_path / "merged/model.safetensors").read_bytes()
    with pytest.raises(Refused, match=message):
        merge(model=toy, adapter=changed_weights(plain, tmp_path / "adapter", change), out=tmp_path / "merged")
    assert (tmp_path / "merged/model.safetensors").read_bytes() == before


def test_a_base_that_changed_since_its_record_is_not_merged_into(toy, plain, tmp_path):
    folder = shutil.copytree(toy.parent / "tiny", tmp_path / "tiny")
    record = folder.with_suffix(".json")
    write_record(record, "tiny", "gemma3", folder, None)
    (folder / "config.json").write_text("{}")
    with pytest.raises(BadFile, match=r"config\.json was changed since"):
        merge(model=record, adapter=plain, out=tmp_path / "merged")
