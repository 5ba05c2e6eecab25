"""CheXagent-2 from transformers' parts: its size, its arithmetic, its published files, its prompt."""

import math
import shutil
from pathlib import Path

import bitsandbytes
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch.nn import functional
from transformers import PhiForCausalLM, SiglipVisionModel

from tests.models.tiny import chexagent as tiny
from workflow_scripts.core.command import Refused
from workflow_scripts.models.chexagent.configuration import CheXagentConfig
from workflow_scripts.models.chexagent.network import CheXagentForConditionalGeneration, grid_positions
from workflow_scripts.models.families.chexagent import FAMILY
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record

PROMPT = Path(__file__).parent / "chexagent_prompt.txt"

PUBLISHED = {
    **{"model_type": "chexagent", "architectures": ["CheXagentForCausalLM"], "torch_dtype": "float32"},
    **{"hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 32, "num_attention_heads": 32},
    **{"vocab_size": 51200, "max_position_embeddings": 2048, "partial_rotary_factor": 0.4, "rope_theta": 10000.0},
    **{"rope_scaling": None, "hidden_act": "gelu_new", "tie_word_embeddings": False, "qk_layernorm": False},
    "visual": {"image_size": 512, "n_queries": 1024, "output_dim": 2560},
}
"""`config.json` of CheXagent-2-3b, as far as it concerns the network."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "chexagent"
    tiny.build(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    write_record(folder.with_suffix(".json"), "chexagent", "chexagent", folder, None)
    return load(folder.with_suffix(".json"))


def images(count, seed=1):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)) for _ in range(count)]


def pixels_of(loaded, some):
    return torch.cat([FAMILY.pixels(loaded.processor, image) for image in some])


def ids_of(loaded, question, count):
    return FAMILY.prompt_ids(loaded.processor, chat(question, count), [(120, 90)] * count)


def padded(rows, pad):
    """Ids and mask of rows of several lengths, padded on the left."""
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


# the network


def test_the_published_configuration_has_the_published_number_of_parameters():
    with torch.device("meta"):
        network = CheXagentForConditionalGeneration(CheXagentConfig.from_dict(dict(PUBLISHED)))
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_140_746_752
    assert network.config.image_tokens == 1024 and network.config.most_images == 2
    assert network.config.text_config.rope_parameters["partial_rotary_factor"] == 0.4


@pytest.mark.parametrize("place", [(0, 0), (1, 0), (0, 1), (5, 3)])
def test_positions_are_sines_of_the_column_then_of_the_row(place):
    row, column = place
    width, side = 32, 6
    expected = []
    for coordinate in (column, row):
        angles = [coordinate / 10000 ** (4 * i / width) for i in range(width // 4)]
        expected += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
    torch.testing.assert_close(grid_positions(side, width)[row * side + column], torch.tensor(expected))


@torch.inference_mode()
def test_the_forward_equals_the_formula_of_projector_and_splice(loaded):
    """logits = Phi(E), E the tokens' embeddings with LN(W₂ gelu(W₁ (x + p) + b₁) + b₂) M in the images' places."""
    state = loaded.base.state_dict()
    config = loaded.base.config
    tower = SiglipVisionModel(config.vision_config).eval()
    tower.load_state_dict({k.removeprefix("model.vision_tower."): v for k, v in state.items() if "vision_tower" in k})
    phi = PhiForCausalLM(config.text_config).eval()
    of_phi = {k.replace("language_model.", ""): v for k, v in state.items() if "language_model" in k or "lm_head" in k}
    phi.load_state_dict(of_phi)

    pixels = pixels_of(loaded, images(2))
    last = tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state
    part = {k.removeprefix("model.multi_modal_projector."): v for k, v in state.items() if "projector" in k}
    hidden = (last + part["positions"]) @ part["linear_1.weight"].T + part["linear_1.bias"]
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    hidden = hidden @ part["linear_2.weight"].T + part["linear_2.bias"]
    centred = hidden - hidden.mean(-1, keepdim=True)
    normed = centred / (hidden.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    projected = (normed * part["norm.weight"] + part["norm.bias"]) @ part["projection"]

    ids = ids_of(loaded, "How many cells?", 2)
    begin, end = (read_tokenizer_id(loaded, mark) for mark in ("<|img|>", "<|/img|>"))
    embeddings = state["model.language_model.embed_tokens.weight"][torch.tensor(ids)].clone()
    for number, (first, last_place) in enumerate(
        zip(*([n for n, token in enumerate(ids) if token == mark] for mark in (begin, end)), strict=True)
    ):
        assert last_place - first - 1 == tiny.TOKENS
        embeddings[first + 1 : last_place] = projected[number]
    expected = phi(inputs_embeds=embeddings[None]).logits
    logits = loaded.base(input_ids=torch.tensor([ids]), pixel_values=pixels).logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


def read_tokenizer_id(loaded, mark):
    return loaded.processor.tokenizer.convert_tokens_to_ids(mark)


@torch.inference_mode()
def test_stored_features_give_the_logits_of_pixels_bit_by_bit(loaded):
    rows = [ids_of(loaded, "How many?", 2), ids_of(loaded, "What is the number of cells in this image?", 1)]
    inputs = padded(rows, loaded.processor.tokenizer.pad_token_id)
    pixels, sizes = pixels_of(loaded, images(3)), [(120, 90)] * 3
    features = FAMILY.features(loaded.base, loaded.processor, pixels, sizes)
    assert features.shape == (3 * tiny.TOKENS, FAMILY.feature_width(loaded.base.config))
    outputs = FAMILY.encoder_outputs(loaded.base, loaded.processor, features, sizes)
    assert torch.equal(loaded.base(**inputs, **outputs).logits, loaded.base(**inputs, pixel_values=pixels).logits)


@torch.inference_mode()
def test_images_are_visible_to_the_model(loaded):
    ids = torch.tensor([ids_of(loaded, "How many?", 1)])
    one, other = (
        loaded.base(input_ids=ids, pixel_values=pixels_of(loaded, [image])).logits[0, -1] for image in images(2)
    )
    assert (one - other).abs().max() > 1e-3


@torch.inference_mode()
def test_more_or_fewer_images_than_places_are_refused(loaded):
    ids = torch.tensor([ids_of(loaded, "How many?", 1)])
    with pytest.raises(ValueError, match="16 image tokens for 32 patches"):
        loaded.base(input_ids=ids, pixel_values=pixels_of(loaded, images(2)))


@torch.inference_mode()
def test_generate_follows_the_logits_and_a_padded_row_is_answered_as_a_single_one(loaded):
    rows = [ids_of(loaded, "How many?", 1), ids_of(loaded, "What is the number of cells in this image?", 1)]
    pixels = pixels_of(loaded, images(2))
    pad = loaded.processor.tokenizer.pad_token_id

    def generated(rows, pixels):
        out = loaded.base.generate(
            **padded(rows, pad), pixel_values=pixels, max_new_tokens=6, min_new_tokens=6, do_sample=False
        )
        return out[:, -6:].tolist()

    together = generated(rows, pixels)
    for number, row in enumerate(rows):
        own = pixels[number : number + 1]
        assert generated([row], own) == [together[number]]
        ids = list(row)
        for token in together[number]:
            logits = loaded.base(input_ids=torch.tensor([ids]), pixel_values=own).logits[0, -1]
            logits[loaded.processor.tokenizer.eos_token_id] = -math.inf
            assert token == int(logits.argmax())
            ids.append(token)


# prompts


def test_the_prompt_is_the_one_of_the_training_byte_by_byte(loaded):
    text = loaded.processor.prompt(chat("Is there a fracture?", 2))
    assert text.replace("<|imgpad|>" * tiny.TOKENS, "…") == PROMPT.read_text(encoding="utf-8")


def test_a_system_turn_takes_the_place_of_the_usual_one_and_there_is_no_bos(loaded):
    ids = FAMILY.prompt_ids(loaded.processor, chat("How many?", 0, "Be brief."), [])
    expected = "<|system|>\nBe brief.<|endoftext|>\n<|user|>\nHow many?<|endoftext|>\n<|assistant|>\n"
    assert loaded.processor.tokenizer.decode(ids) == expected
    assert FAMILY.bos_place(loaded.processor, []) is None


def test_marks_in_a_question_are_text(loaded):
    image, end = loaded.processor.image_token_id, loaded.processor.tokenizer.eos_token_id
    plain, marked = (ids_of(loaded, text, 1) for text in ("How many?", "How <|imgpad|><|endoftext|> many?"))
    assert [marked.count(token) for token in (image, end)] == [plain.count(token) for token in (image, end)]
    assert FAMILY.answer_ids(loaded.processor, "12")[-1] == end


def test_a_third_image_is_refused_with_a_sentence(loaded):
    size = (120, 90)
    assert FAMILY.check_images(loaded.processor, [size] * 2) is None
    assert FAMILY.check_images(loaded.processor, [size] * 3) == (
        "3 images of 16 tokens; expected at most 2, which fill CheXagent's context"
    )
    with pytest.raises(Refused, match=r"the row that asks 'How many\?' has 3 images of 16 tokens; expected at most 2"):
        ids_of(loaded, "How many?", 3)


def test_an_image_is_squashed_to_the_towers_square(loaded):
    image = images(1)[0]
    side = tiny.SIDE
    squashed = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    expected = torch.from_numpy(squashed).permute(2, 0, 1)[None] * 2 - 1
    torch.testing.assert_close(FAMILY.pixels(loaded.processor, image), expected, atol=1e-6, rtol=1e-6)


# training


@pytest.mark.parametrize(
    ("targets", "names"),
    [
        ("language", {"q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2"}),
        ("attention", {"q_proj", "k_proj", "v_proj", "dense"}),
    ],
)
def test_adapters_touch_the_language_model_alone(folder, targets, names):
    model = get_peft_model(FAMILY.load_model(folder), LoraConfig(r=2, target_modules=FAMILY.lora_targets[targets]))
    touched = [name.removeprefix("base_model.model.") for name, _ in model.named_modules() if name.endswith(".lora_A")]
    assert all(name.startswith("model.language_model.layers.") for name in touched)
    assert {name.split(".")[-2] for name in touched} == names
    assert len(touched) == 2 * len(names)


def test_nf4_covers_the_language_model_and_nothing_else(folder):
    shutil.copytree(folder, copy := folder.with_name("quantised"), dirs_exist_ok=True)
    write_record(copy.with_suffix(".json"), "quantised", "chexagent", copy, None)
    model = load(copy.with_suffix(".json"), quantisation="nf4").base
    quantised = {name for name, module in model.named_modules() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    assert len(quantised) == 2 * 6
    assert all("language_model.layers" in name for name in quantised)


def test_thirty_steps_lower_the_loss(folder):
    torch.manual_seed(0)
    processor = FAMILY.load_processor(folder)
    base = FAMILY.load_model(folder)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=FAMILY.lora_targets["language"])).train()
    prompt = FAMILY.prompt_ids(processor, chat("How many cells?", 1), [(120, 90)])
    ids = torch.tensor([prompt + FAMILY.answer_ids(processor, "12 cells")])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    pixels = torch.cat([FAMILY.pixels(processor, image) for image in images(1)])
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    losses = []
    for _ in range(30):
        out = model(input_ids=ids, pixel_values=pixels, labels=labels)
        out.loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(out.loss.item())
    shifted = functional.cross_entropy(out.logits[0, len(prompt) - 1 : -1], ids[0, len(prompt) :]).item()
    assert losses[-1] == pytest.approx(shifted, rel=1e-5)
    assert losses[-1] < 0.7 * losses[0]
