"""Step: convert a checkpoint in its authors' own layout into a folder that transformers loads.

One file of weights is in memory at a time, and every tensor is accounted for.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import AddedToken
from transformers import CLIPImageProcessorPil, GenerationConfig, LlavaProcessor, PreTrainedTokenizerFast

from workflow_scripts.cache.store import put_in_place, unfinished
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import BadFile, read_json, write_json
from workflow_scripts.models.conversion.llava_med import (
    DERIVED,
    IMAGE,
    OWN_TOWER,
    PAD,
    VOCABULARY,
    check_whole,
    clip_name,
    configuration,
    new_name,
    padded_size,
    shape_of_tower,
    with_new_tokens,
)
from workflow_scripts.models.conversion.sentencepiece import read_tokenizer
from workflow_scripts.models.record import read_record, verify_files, write_record

INDEX = "model.safetensors.index.json"

Name = Callable[[str], str | None]
"""What a tensor is called once it is converted; None for one that is left out."""


def convert(
    *, published: Path, record: Path, vision_tower: Literal["adapted", "clip"], clip: Path | None = None
) -> str:
    """Convert LLaVA-Med 1.5, and write the record of the folder beside it, at the revision of what was converted.

    Args:
        published: record of the authors' checkpoint
        record: JSON file to write, last; the converted folder lies beside it
        vision_tower: adapted: the checkpoint's own tower; clip: stock CLIP, as the authors' loader has it
        clip: record of the checkpoint that stock CLIP's tower is taken from

    Raises:
        Refused: the checkpoint is of another kind, or a tensor has no place, is missing, or is of another shape.
        BadFile: a record or a file is missing or damaged.
    """
    described, folder = read_record(published)
    verify_files(published)
    sources: list[tuple[Path, Name]] = [(folder, _own if vision_tower == "adapted" else _without_tower)]
    tower: dict[str, Any] | None = None
    if vision_tower == "clip":
        if clip is None:
            raise Refused("vision_tower is clip, and no checkpoint of CLIP is given: name one")
        verify_files(clip)
        sources.append((read_record(clip)[1], clip_name))
        tower = _vision_settings(sources[-1][0])
    settings = read_json(folder / "config.json")
    if not isinstance(settings, dict):
        raise Refused(f"{folder / 'config.json'} is not a model's configuration; download the checkpoint again")
    shapes = {name: shape for source, naming in sources for name, shape in _shapes(source, naming)}
    tokens = shapes[VOCABULARY[0]][0] if VOCABULARY[0] in shapes else 0
    for name in VOCABULARY:
        if name in shapes:
            shapes[name] = (padded_size(tokens), *shapes[name][1:])
    config = configuration(settings, tower or shape_of_tower(shapes), tokens)
    check_whole(shapes, config)
    target = record.with_suffix("")
    fresh = unfinished(target)
    fresh.mkdir(parents=True)
    _tokenizer_and_images(folder, config, tokens).save_pretrained(fresh)
    config.architectures = ["LlavaForConditionalGeneration"]
    config.save_pretrained(fresh)
    GenerationConfig(
        bos_token_id=config.text_config.bos_token_id,
        eos_token_id=config.text_config.eos_token_id,
        pad_token_id=config.text_config.pad_token_id,
    ).save_pretrained(fresh)
    left_out = _write_weights(sources, fresh)
    put_in_place(target, fresh)
    write_record(
        record,
        record.stem,
        "llava",
        target,
        described.revision,
        checkpoint=described.checkpoint,
        image_size=described.image_size,
        image_pad=described.image_pad,
    )
    said = f"{len(shapes)} tensors, {vision_tower} vision tower, {padded_size(tokens)} tokens"
    omitted = ", ".join(f"{count} {group}" for group, count in sorted(left_out.items())) or "nothing"
    return f"{described.public_name}: {said}; left out: {omitted}"


def _own(name: str) -> str | None:
    return new_name(name)


def _without_tower(name: str) -> str | None:
    return None if name.startswith(OWN_TOWER) else new_name(name)


def _files(folder: Path) -> list[Path]:
    """Files of weights, as an index names them, or all of them.

    Raises:
        Refused: there are none.
    """
    if (folder / INDEX).is_file():
        content = read_json(folder / INDEX)
        places = content.get("weight_map", {}) if isinstance(content, dict) else {}
        files = sorted({folder / name for name in places.values()})
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise Refused(f"{folder} holds no weights (*.safetensors); download the checkpoint whole")
    return files


def _shapes(folder: Path, naming: Name) -> Iterator[tuple[str, tuple[int, ...]]]:
    """New names and shapes of the tensors that are taken over.

    Raises:
        Refused: two tensors get one name, or one has no place.
    """
    names: dict[str, str] = {}
    for file in _files(folder):
        with safe_open(file, "pt") as stream:
            for name in stream.keys():  # noqa: SIM118 (not a mapping)
                if (new := naming(name)) is None:
                    continue
                if new in names:
                    raise Refused(f"{folder}: {names[new]} and {name} are both {new}; it is no checkpoint of one model")
                names[new] = name
                yield new, tuple(stream.get_slice(name).get_shape())


def _vision_settings(folder: Path) -> dict[str, Any]:
    """The vision half of a CLIP checkpoint's configuration.

    Raises:
        Refused: it has none.
    """
    content = read_json(folder / "config.json")
    vision = content.get("vision_config") if isinstance(content, dict) else None
    if not isinstance(vision, dict):
        raise Refused(f"{folder / 'config.json'} has no vision_config; expected a checkpoint of CLIP")
    usual = {  # CLIP's first configurations leave out what they have in common with the library's defaults
        **{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
        **{"patch_size": 32, "image_size": 224},
    }
    named = ("hidden_act", "layer_norm_eps")
    return {key: vision.get(key, value) for key, value in usual.items()} | {
        key: vision[key] for key in named if key in vision
    }


def _tokenizer_and_images(folder: Path, config: Any, tokens: int) -> LlavaProcessor:
    """The processor: the checkpoint's tokenizer with the two new tokens, and CLIP's images.

    Raises:
        Refused: the tokenizer does not have as many tokens as the network has embeddings.
        BadFile: the tokenizer cannot be read.
    """
    whole = folder / "tokenizer.json"
    if whole.is_file():
        given: dict[str, Any] = {"tokenizer_file": str(whole)}
    elif (folder / "tokenizer.model").is_file():
        given = {"tokenizer_object": read_tokenizer(folder / "tokenizer.model")}
    else:
        raise BadFile(f"{folder} has neither tokenizer.json nor tokenizer.model; download the checkpoint whole")
    tokenizer = PreTrainedTokenizerFast(**given, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    if len(tokenizer) != tokens:
        raise Refused(f"{folder}: the tokenizer has {len(tokenizer)} tokens, and the embeddings have {tokens} rows")
    tokenizer.add_tokens(AddedToken(IMAGE, special=True, normalized=False))
    tokenizer.add_special_tokens({"pad_token": AddedToken(PAD, special=True, normalized=False)})
    tokenizer.padding_side = "left"
    placed = tokenizer.convert_tokens_to_ids([IMAGE, PAD])
    if placed != [tokens, tokens + 1]:
        raise Refused(f"{folder}: {IMAGE} and {PAD} have the ids {placed}; expected {tokens} and {tokens + 1}")
    side = config.vision_config.image_size
    images = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=config.vision_config.patch_size,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
        image_token=IMAGE,
    )


def _write_weights(sources: list[tuple[Path, Name]], target: Path) -> Counter[str]:
    """Write all tensors in the first one's type, a file for each that they come from; count what is left out."""
    files = [(file, naming) for folder, naming in sources for file in _files(folder)]
    places: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    size, dtype = 0, None
    for number, (file, naming) in enumerate(files, 1):
        shard: dict[str, torch.Tensor] = {}
        with safe_open(file, "pt") as stream:
            for name in stream.keys():  # noqa: SIM118 (not a mapping)
                if (new := naming(name)) is None:
                    left_out[_group_of(name)] += 1
                    continue
                tensor = stream.get_tensor(name)
                dtype = dtype or tensor.dtype
                shard[new] = (with_new_tokens(tensor) if new in VOCABULARY else tensor).to(dtype)
        if shard:
            own = f"model-{number:05d}-of-{len(files):05d}.safetensors"
            save_file(shard, target / own, metadata={"format": "pt"})
            places |= dict.fromkeys(shard, own)
            size += sum(tensor.nbytes for tensor in shard.values())
    write_json(target / INDEX, {"metadata": {"total_size": size}, "weight_map": places})
    return left_out


def _group_of(name: str) -> str:
    """What a tensor that is left out belongs to."""
    if DERIVED.search(name):
        return f"*.{name.rpartition('.')[2]}"
    return f"{OWN_TOWER}*" if name.startswith(OWN_TOWER) else f"{name.partition('.')[0]}*"


if __name__ == "__main__":
    run_step(convert)
