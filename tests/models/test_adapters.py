"""An adapter takes part whole, whatever version of transformers named its tensors, or the job stops and names some."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.models.adapter_hub import COMMIT, AdapterHub
from tests.models.adapters import PREFIX, SETTINGS, WEIGHTS, renamed, with_settings, write_adapter
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.adapters.loading import needs_own_features
from workflow_scripts.models.families.family import arguments
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.loading import Loaded, exchanged, load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import adapter_content, checkpoint_identity, read_record

OLD_NAMES = {
    "transformers 4.50": {
        r"^model\.language_model\.": "language_model.model.",
        r"^model\.vision_tower\.": "vision_tower.vision_model.",
        r"^lm_head": "language_model.lm_head",
    },
    "transformers 4.53": {r"^model\.vision_tower\.": "model.vision_tower.vision_model."},
}


@pytest.fixture(scope="module")
def everywhere(tiny, tmp_path_factory):
    """An adapter of all linear layers, those of the vision tower among them."""
    return write_adapter(tiny, tmp_path_factory.mktemp("adapter") / "everywhere")


@pytest.fixture(scope="module")
def language(tiny, tmp_path_factory):
    """An adapter of the language model's attention, with a pattern that names no module of another version."""
    targets = r".*language_model.*\.(q_proj|v_proj)"
    return write_adapter(tiny, tmp_path_factory.mktemp("adapter") / "language", target_modules=targets)


@torch.inference_mode()
def logits_of(loaded, root):
    """Logits of a prompt with an image."""
    family, processor = loaded.family, loaded.processor
    ids = torch.tensor([family.prompt_ids(processor, chat("How many cells?", 1), [(112, 96)])])
    mask = torch.ones_like(ids)
    with Image.open(root / "0.png") as image:
        pixels = family.pixels(processor, image.convert("RGB"))
    inputs = family.text_inputs(processor, ids, mask, [[(112, 96)]])
    inputs |= family.pixel_inputs(processor, pixels, [(112, 96)])
    return loaded.model(input_ids=ids, attention_mask=mask, **arguments(inputs)).logits


@pytest.fixture(scope="module")
def base_logits(tiny, root):
    return logits_of(load(tiny), root)


def by_peft(tiny, adapter, root):
    """The same from PEFT's own loading, of names of today."""
    loaded = load(tiny)
    model = PeftModel.from_pretrained(loaded.model, adapter).eval()
    return logits_of(Loaded(model, loaded.processor, loaded.family, loaded.revision), root)


@pytest.mark.parametrize("version", OLD_NAMES)
def test_an_adapter_of_an_older_transformers_gives_the_same_answers_to_the_last_bit(
    version, tiny, everywhere, base_logits, root, tmp_path
):
    old = renamed(everywhere, tmp_path / "old", OLD_NAMES[version])
    expected = by_peft(tiny, everywhere, root)
    assert torch.equal(logits_of(load(tiny, adapter=everywhere), root), expected)
    assert torch.equal(logits_of(load(tiny, adapter=old), root), expected)
    assert not torch.allclose(expected, base_logits, atol=1e-2)


def test_settings_that_name_modules_of_an_older_transformers_decide_nothing(tiny, language, root, tmp_path):
    full = [key.removeprefix(PREFIX).partition(".lora_")[0] for key in load_file(language / WEIGHTS)]
    old = [name.replace("model.language_model.", "language_model.model.") for name in full]
    adapter = renamed(language, tmp_path / "old", OLD_NAMES["transformers 4.50"])
    adapter = with_settings(adapter, tmp_path / "listed", target_modules=sorted(set(old)))
    assert torch.equal(logits_of(load(tiny, adapter=adapter), root), by_peft(tiny, language, root))


def test_ranks_and_scales_that_differ_by_module_are_those_of_the_file(tiny, root, tmp_path):
    patterns = {"rank_pattern": {r"layers\.0\.self_attn\.q_proj": 2}, "alpha_pattern": {"v_proj": 32}}
    targets = r".*language_model.*\.(q_proj|v_proj)"
    adapter = write_adapter(tiny, tmp_path / "new", target_modules=targets, use_rslora=True, **patterns)
    expected = by_peft(tiny, adapter, root)
    old = renamed(adapter, tmp_path / "old", OLD_NAMES["transformers 4.50"])
    assert torch.equal(logits_of(load(tiny, adapter=old), root), expected)
    flat = with_settings(adapter, tmp_path / "flat", alpha_pattern={})
    assert not torch.allclose(logits_of(load(tiny, adapter=flat), root), expected, atol=1e-2)


def test_modules_trained_whole_take_part_and_step_aside_with_the_adapter(tiny, base_logits, root, tmp_path):
    """As Google's own notebook tunes MedGemma: embeddings and head beside the low-rank matrices."""
    adapter = write_adapter(tiny, tmp_path / "new", modules_to_save=["lm_head", "embed_tokens"])
    expected = by_peft(tiny, adapter, root)
    old = renamed(adapter, tmp_path / "old", OLD_NAMES["transformers 4.50"])
    loaded = load(tiny, adapter=old)
    assert torch.equal(logits_of(loaded, root), expected)
    with loaded.model.disable_adapter():
        assert torch.equal(logits_of(loaded, root), base_logits)
    assert torch.equal(logits_of(exchanged(loaded, None), root), base_logits)


def test_a_tensor_without_a_place_stops_the_job_and_is_named(tiny, language, tmp_path):
    strange = renamed(language, tmp_path / "strange", {r"layers\.1\.self_attn\.v_proj": "layers.7.self_attn.v_proj"})
    with pytest.raises(BadFile, match=r"model\.language_model\.layers\.7\.self_attn\.v_proj: the model has no such"):
        load(tiny, adapter=strange)
    other = renamed(language, tmp_path / "other", {r"^model\.language_model\.": "transformer."})
    with pytest.raises(BadFile, match=r"transformer\.layers\.0\..*, .* and 1 more: the model has no such modules"):
        load(tiny, adapter=other)


def changed(adapter, folder, change):
    """A copy of an adapter with other tensors."""
    shutil.copytree(adapter, folder)
    tensors = load_file(adapter / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    return folder


def narrower(tensors):
    key = next(key for key in sorted(tensors) if ".lora_A." in key)
    tensors[key] = tensors[key][:, :-1].contiguous()


def half(tensors):
    del tensors[next(key for key in sorted(tensors) if ".lora_B." in key)]


def further(tensors):
    tensors[PREFIX + "model.language_model.layers.0.self_attn.q_proj.lora_magnitude_vector"] = torch.ones(4)


def uneven(tensors):
    key = next(key for key in sorted(tensors) if ".lora_A." in key)
    tensors[key] = tensors[key][:-1].contiguous()


def wordy(tensors):
    embedded = PREFIX + "model.language_model.embed_tokens"
    tensors |= {f"{embedded}.lora_A.weight": torch.ones(4, 8), f"{embedded}.lora_B.weight": torch.ones(8, 4)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (narrower, r"q_proj is \d+ × \d+ in the adapter and \d+ × \d+ in the model: the adapter belongs to another"),
        (half, r"one of the two matrices of model\.language_model\.layers\.0\.self_attn\.q_proj is missing"),
        (further, r"lora_magnitude_vector: no part of a LoRA of linear layers"),
        (uneven, r"the two matrices of .*q_proj have different ranks"),
        (wordy, r"embed_tokens is no linear layer"),
        (dict.clear, r"its weights hold no low-rank matrices"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_with_what_does_not(change, sentence, tiny, language, tmp_path):
    with pytest.raises(BadFile, match=sentence):
        load(tiny, adapter=changed(language, tmp_path / "changed", change))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"use_dora": True}, "use_dora: True is not plain LoRA"),
        ({"bias": "all"}, "bias: all is not plain LoRA"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights: pissa is not plain LoRA"),
        ({"layer_replication": [[0, 1]]}, "layer_replication is not plain LoRA"),
        ({"peft_type": "LOHA"}, "is an adapter of the kind LOHA; only LoRA is computed here"),
        ({"alpha_pattern": {"(": 2}}, "is no regular expression"),
    ],
)
def test_other_kinds_of_adapters_are_refused_by_the_name_of_their_setting(settings, sentence, tiny, language, tmp_path):
    with pytest.raises(BadFile, match=re.escape(sentence)):
        load(tiny, adapter=with_settings(language, tmp_path / "other", **settings))


def test_an_adapter_beyond_the_language_model_takes_no_stored_features(everywhere, language, tmp_path):
    old = OLD_NAMES["transformers 4.50"]
    for adapter, own in ((everywhere, True), (language, False)):
        assert needs_own_features(adapter) is own
        assert needs_own_features(renamed(adapter, tmp_path / adapter.name, old)) is own


@pytest.fixture
def theirs(language, tmp_path):
    """The folder of somebody's adapter, with more in it than an adapter needs."""
    folder = with_settings(language, tmp_path / "theirs", base_model_name_or_path="google/medgemma-4b-it")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def take(folder, record, base=None):
    """What a plan and its job do with a published adapter in a folder; its record."""
    spec = Checkpoint(family="adapter", checkpoint=str(folder), base=base)
    fetch(spec=spec, record=record, content=checkpoint_identity(str(folder), record, "adapter"))
    return record


def test_a_published_adapter_is_recorded_by_its_two_files_and_loaded_from_these_bytes_alone(
    tiny, theirs, language, root, tmp_path
):
    record = take(theirs, tmp_path / "adapters/theirs.json")
    about, folder = read_record(record)
    assert set(about.files) == {WEIGHTS, SETTINGS} and len(about.revision) == 40 and about.family == "adapter"
    assert adapter_content(folder) == adapter_content(language)
    (theirs / "tokenizer.json").write_text("[]")
    (theirs / "trainer_state.json").write_text("{}")
    expected = logits_of(load(tiny, adapter=language), root)
    assert torch.equal(logits_of(load(tiny, adapter=record), root), expected)
    before = checkpoint_identity(str(theirs), record, "adapter")
    data = bytearray((theirs / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (theirs / WEIGHTS).write_bytes(data)
    assert checkpoint_identity(str(theirs), record, "adapter") != before
    with pytest.raises(BadFile, match=r"adapter_model\.safetensors was changed since .*theirs\.json was"):
        load(tiny, adapter=record)


def test_pickles_alone_are_refused_with_the_way_to_convert_them(theirs, tmp_path):
    (theirs / WEIGHTS).rename(theirs / "adapter_model.bin")
    with pytest.raises(Refused, match=r"has no adapter_model\.safetensors; pickles .* are never read.*save_pretrained"):
        take(theirs, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_full_weights_in_the_place_of_an_adapter_are_told_where_they_belong(tiny, tmp_path):
    with pytest.raises(Refused, match=r"has no adapter_config\.json: it is no LoRA adapter; full weights are an entry"):
        take(tiny.with_suffix(""), tmp_path / "a.json")


@pytest.mark.parametrize(
    ("base", "fits"),
    [
        ("google/medgemma-4b-it", True),
        ("unsloth/medgemma-4b-it-bnb-4bit", True),
        ("google/medgemma-1.5-4b-it", False),
        (None, True),
    ],
)
def test_an_adapter_of_another_base_of_the_same_shape_is_refused_before_any_job(base, fits, theirs, tmp_path):
    if fits:
        take(theirs, tmp_path / "a.json", base)
        return
    with pytest.raises(Refused, match=r"was trained on google/medgemma-4b-it, and the system's model is google/medg"):
        take(theirs, tmp_path / "a.json", base)


def fetched(hub, folder, spec, code=0, **environment):
    """Run the step that fetches, as a job does: with the hub's address in its environment; what it printed."""
    command = ["-m", "workflow_scripts.models.fetch", "--spec", spec.spec(), "--record", str(folder / "theirs.json")]
    without = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    places = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "hub"), "HF_TOKEN_PATH": str(folder / "none")}
    done = subprocess.run(
        [sys.executable, *command],
        env=without | places | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def test_an_adapter_of_the_hub_is_its_two_files_and_main_is_resolved_recorded_and_printed(theirs, tmp_path):
    files = {file.name: file.read_bytes() for file in theirs.iterdir()}
    spec = Checkpoint(family="adapter", checkpoint="some/lora", revision="main", base="google/medgemma-4b-it")
    with AdapterHub({"some/lora": files}) as hub:
        assert f"`adapter: some/lora@{COMMIT}`" in fetched(hub, tmp_path, spec)
        assert sorted(hub.served) == [SETTINGS, WEIGHTS] and "tokenizer.json" in files
    record, folder = read_record(tmp_path / "theirs.json")
    assert (record.revision, record.checkpoint, set(record.files)) == (COMMIT, "some/lora", {SETTINGS, WEIGHTS})
    assert (folder / WEIGHTS).read_bytes() == files[WEIGHTS]


def test_a_gated_adapter_says_so_without_a_token_and_with_one_that_gives_no_access(theirs, tmp_path):
    files = {file.name: file.read_bytes() for file in theirs.iterdir()}
    spec = Checkpoint(family="adapter", checkpoint="some/lora", revision=COMMIT)
    with AdapterHub({"some/lora": files}, gated=True) as hub:
        said = fetched(hub, tmp_path, spec, code=1)
        assert "some/lora is gated and HF_TOKEN is not set: accept its terms at" in said
        said = fetched(hub, tmp_path, spec, code=1, HF_TOKEN="hf_other")
        assert "the token gives no access to some/lora: accept its terms" in said
