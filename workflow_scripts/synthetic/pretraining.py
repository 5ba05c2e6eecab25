"""Command that makes the toy model anew: a tiny Gemma-3-shaped network and its processor, pre-trained from nothing.

`python -m workflow_scripts.synthetic.pretraining` writes it to `toy_model` beside this file, from where the workflow
takes it (`synthetic.model`): minutes on an idle machine, and other bits on another processor.

It has the parts, the chat template and the special tokens of Gemma 3 at 1.5 million parameters, so that every
step of the workflow treats it as it treats MedGemma.
"""

import math
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from tqdm import tqdm
from transformers import (
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessorPil,
    Gemma3Processor,
    GenerationConfig,
    PreTrainedTokenizerFast,
)

from workflow_scripts.core.command import run_step
from workflow_scripts.models.threads import TORCH_THREADS, use_threads
from workflow_scripts.synthetic.lessons import SIDE, Lesson, lesson
from workflow_scripts.synthetic.model import SHIPPED, write_origin
from workflow_scripts.synthetic.sight import IMAGE_TOKENS, SightHeads

SPECIAL = {
    "pad_token": "<pad>",
    "eos_token": "<eos>",
    "bos_token": "<bos>",
    "unk_token": "<unk>",
    "boi_token": "<start_of_image>",
    "eoi_token": "<end_of_image>",
    "image_token": "<image_soft_token>",
}
TURN = ("<start_of_turn>", "<end_of_turn>")
NEWLINES = tuple("\n" * count for count in range(1, 5))
"""One to four line ends are one token each, as in Gemma's vocabulary: vLLM looks them up by name."""
VISION_LEVEL = re.compile(r"^vision_tower\.(?!vision_model\.)")
LESSONS = 16
"""Lessons of one step; each packs about six questions."""


def build_tokenizer(corpus: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE that cuts digits one by one, as Gemma's does, and can spell any text."""
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocabulary - len(NEWLINES),
        special_tokens=[*SPECIAL.values(), *TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((part for text in corpus for part in text.split("\n")), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in NEWLINES])
    named = {key: SPECIAL[key] for key in ("pad_token", "eos_token", "bos_token", "unk_token")}
    extra = {key: SPECIAL[key] for key in ("boi_token", "eoi_token", "image_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        padding_side="left",
        additional_special_tokens=list(TURN),
        extra_special_tokens=extra,
        **named,
    )


def build_processor(vocabulary: int, seed: int) -> Gemma3Processor:
    """The processor of the toy model: 112 × 112 pixels, 16 image tokens, Gemma's chat template."""
    rng = np.random.default_rng(seed)
    corpus = [f"{q}\n{a}" for item in (lesson(rng, 5) for _ in range(600)) for q, a in item.turns]
    tokenizer = build_tokenizer(corpus + ["user\n", "model\n"] * 50, vocabulary)
    images = Gemma3ImageProcessorPil(size={"height": SIDE, "width": SIDE}, do_pan_and_scan=False)
    template = Path(__file__).with_name("toy_chat_template.jinja").read_text(encoding="utf-8")
    return Gemma3Processor(images, tokenizer, chat_template=template, image_seq_length=IMAGE_TOKENS)


def build_model(processor: Gemma3Processor, width: int, layers: int, seed: int) -> Gemma3ForConditionalGeneration:
    """A randomly initialised Gemma 3 of `width` hidden units and `layers` layers in each tower."""
    tokenizer = processor.tokenizer
    torch.manual_seed(seed)
    config = Gemma3Config(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": width // 4,
            "query_pre_attn_scalar": width // 4,
            "max_position_embeddings": 4096,
            "sliding_window": 1024,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "image_size": SIDE,
            "patch_size": 14,
            "vision_use_head": False,
        },
        mm_tokens_per_image=IMAGE_TOKENS,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    model = Gemma3ForConditionalGeneration(config)
    # Gemma 3 initialises the projector to zeros, and images would stay invisible.
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight, std=width**-0.5)
    end_of_turn = tokenizer.convert_tokens_to_ids(TURN[1])
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=[tokenizer.eos_token_id, end_of_turn],
        do_sample=False,
    )
    return model


def lesson_batch(processor: Gemma3Processor, lessons: list[Lesson]) -> dict:
    """Lessons packed one a row: the images once, then every question with its answer.

    A question sees the images and itself, never another question, and its positions start after the images:
    the loss is that of separate rows at a fraction of the tokens.
    """
    packs = [_pack(processor, item) for item in lessons]
    length = max(len(pack["ids"]) for pack in packs)
    ids = torch.full((len(packs), length), processor.tokenizer.pad_token_id)
    labels, part, positions = torch.full_like(ids, -100), torch.full_like(ids, -1), torch.zeros_like(ids)
    for row, pack in enumerate(packs):
        end = len(pack["ids"])
        for tensor, name in ((ids, "ids"), (labels, "labels"), (part, "part"), (positions, "positions")):
            tensor[row, :end] = torch.tensor(pack[name])
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    image = ids == processor.tokenizer.image_token_id
    both_image = image[:, :, None] & image[:, None, :] & (_runs(image)[:, :, None] == _runs(image)[:, None, :])
    same_part = part[:, :, None] == part[:, None, :]
    to_images = (part == 0)[:, None, :] & (part > 0)[:, :, None]
    seen = ((same_part | to_images) & causal) | both_image
    mask = seen[:, None]
    return {
        "input_ids": ids,
        "labels": labels,
        "position_ids": positions,
        "attention_mask": {"full_attention": mask, "sliding_attention": mask},
        "pixel_values": pixels(processor, [image for item in lessons for image in item.images]),
    }


def _runs(flags: torch.Tensor) -> torch.Tensor:
    """Number the runs of equal flags along the last axis."""
    return torch.cumsum(torch.diff(flags.long(), prepend=torch.zeros_like(flags[:, :1]).long()).abs(), dim=-1)


def _pack(processor: Gemma3Processor, item: Lesson) -> dict[str, list[int]]:
    """Token ids of a lesson, with labels, the part each token belongs to (0: the images) and its position."""
    tokenizer = processor.tokenizer
    rows = []
    for question, answer in item.turns:
        content = [{"type": "image"}] * len(item.images) + [{"type": "text", "text": question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        text = text.replace(tokenizer.boi_token, processor.full_image_sequence)
        rows.append((text, answer + TURN[1]))
    opening = rows[0][0][: rows[0][0].rindex(tokenizer.eoi_token) + len(tokenizer.eoi_token)]
    ids = tokenizer(opening, add_special_tokens=False)["input_ids"]
    start = len(ids)
    pack = {"ids": ids, "labels": [-100] * start, "part": [0] * start, "positions": list(range(start))}
    prompts = tokenizer([text[len(opening) :] for text, _ in rows], add_special_tokens=False)["input_ids"]
    answers = tokenizer([answer for _, answer in rows], add_special_tokens=False)["input_ids"]
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), 1):
        size = len(prompt) + len(answer)
        pack["ids"] += prompt + answer
        pack["labels"] += [-100] * len(prompt) + answer
        pack["part"] += [number] * size
        pack["positions"] += range(start, start + size)
    return pack


def pixels(processor: Gemma3Processor, images: list) -> torch.Tensor:
    """Images as the vision tower takes them: (images, 3, 112, 112)."""
    return processor.image_processor(images, return_tensors="pt")["pixel_values"]


def teach_sight(
    model: Gemma3ForConditionalGeneration, processor: Gemma3Processor, steps: int, rate: float, seed: int
) -> None:
    """Train the vision tower and projector until `SightHeads` can read the marks off the image tokens.

    A language model of this size would need many times the steps to discover sight from answers alone.
    """
    rng = np.random.default_rng(seed)
    heads = SightHeads(model.config.text_config.hidden_size)
    taught = [model.model.vision_tower, model.model.multi_modal_projector, heads.local, heads.whole]
    for _ in _descend(taught, steps, rate, "sight"):
        scenes = [lesson(rng) for _ in range(64)]
        features = model.model.get_image_features(
            pixels(processor, [scene.images[0] for scene in scenes])
        ).pooler_output
        heads.loss(features, [scene.marks for scene in scenes]).backward()


def teach_language(
    model: Gemma3ForConditionalGeneration, processor: Gemma3Processor, steps: int, rate: float, seed: int
) -> None:
    """Train the language model and the projector on lessons: sight alone first, then the answer formats too."""
    rng = np.random.default_rng(seed)
    model.model.vision_tower.requires_grad_(False)
    waiting: list[list[Lesson]] = []
    for step in _descend([model], steps, rate, "language"):
        if not waiting:
            formats = 0 if step < 0.6 * steps else 2
            pool = sorted((lesson(rng, formats) for _ in range(4 * LESSONS)), key=_length)
            waiting = [pool[i : i + LESSONS] for i in range(0, len(pool), LESSONS)]
            rng.shuffle(waiting)
        inputs = lesson_batch(processor, waiting.pop())
        labels = inputs.pop("labels")[:, 1:]
        hidden = model.model(**inputs).last_hidden_state[:, :-1]
        answered = labels != -100
        torch.nn.functional.cross_entropy(model.lm_head(hidden[answered]), labels[answered]).backward()
    model.model.vision_tower.requires_grad_(True)


def _length(item: Lesson) -> int:
    """A cheap stand-in for a lesson's tokens, to pack like with like."""
    return 100 * len(item.images) + sum(len(question) + 2 * len(answer) for question, answer in item.turns)


def _descend(modules: list[torch.nn.Module], steps: int, rate: float, name: str) -> Iterator[int]:
    """Yield each step for its caller to fill the gradients; then clip, step and follow a cosine.

    Muon turns the matrices of the towers' layers, AdamW the rest: it learns to read the image tokens in a third of
    the steps that AdamW alone takes.
    """
    weights = list(dict.fromkeys(w for module in modules for w in module.parameters() if w.requires_grad))
    layers = [m for module in modules for m in module.modules() if isinstance(m, torch.nn.ModuleList)]
    matrices = {m.weight for group in layers for m in group.modules() if isinstance(m, torch.nn.Linear)}
    optimisers = [
        torch.optim.Muon([w for w in weights if w in matrices], lr=rate, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([w for w in weights if w not in matrices], lr=rate / 5, betas=(0.9, 0.98)),
    ]
    warmup = max(1, steps // 20)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda s: min(1.0, (s + 1) / warmup) * (0.51 + 0.49 * math.cos(math.pi * s / steps))
        )
        for optimiser in optimisers
    ]
    for step in tqdm(range(steps), desc=f"teach {name}", mininterval=5):
        yield step
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()


def save_checkpoint(model: Gemma3ForConditionalGeneration, processor: Gemma3Processor, folder: Path) -> None:
    """Write weights in bfloat16, configuration and processor as published Gemma 3 checkpoints have them.

    transformers 5 drops a level of the vision tower's names, by which vLLM finds the tensors.
    """
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    named = {VISION_LEVEL.sub("vision_tower.vision_model.", name): tensor for name, tensor in weights.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})


@dataclass(frozen=True)
class Settings:
    """What the model is made of, and how long it is taught."""

    width: int = 128  # hidden size of both towers, a multiple of 64
    layers: int = 3  # of each tower
    vocabulary: int = 1024  # tokens of the byte-level BPE
    sight_steps: int = 300  # that teach the vision tower, 64 images each
    steps: int = 900  # that teach the language model, 16 lessons each
    learning_rate: float = 1e-2  # peak of both phases
    seed: int = 0  # of weights and lessons


def train_model(settings: Settings, folder: Path) -> None:
    """Build and teach the model, and write it with its processor to `folder`, which must not exist."""
    use_threads(TORCH_THREADS)
    processor = build_processor(settings.vocabulary, settings.seed)
    model = build_model(processor, settings.width, settings.layers, settings.seed)
    teach_sight(model, processor, settings.sight_steps, settings.learning_rate, settings.seed + 1)
    teach_language(model, processor, settings.steps, settings.learning_rate, settings.seed + 2)
    folder.mkdir(parents=True)
    save_checkpoint(model, processor, folder)


def write_pretrained(*, out: Path = SHIPPED) -> None:
    """Make the toy model anew, with the record of where it comes from beside it.

    Args:
        out: folder to write; default: the shipped model
    """
    unfinished = out.with_name(f".{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    train_model(Settings(), unfinished)
    shutil.rmtree(out, ignore_errors=True)
    unfinished.replace(out)
    write_origin(out, asdict(Settings()))


if __name__ == "__main__":
    run_step(write_pretrained)
