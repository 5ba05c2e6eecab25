"""Step: answer one shard of a split with a shared-load group of systems; cached answers are not generated again.

A shared-load group is one system, or several of one model that one load of it answers: adapters are put in one after
the other, one in memory at a time.
"""

import gc
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.config.section import Section
from workflow_scripts.core.config.systems.model import Prompt, Samples
from workflow_scripts.core.requests import Request
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.engines.local.engine import TransformersEngine, vision_source
from workflow_scripts.infer.questions.answer_cache import Progress
from workflow_scripts.infer.questions.requests import requests_of, samplings
from workflow_scripts.infer.questions.shot_sets import ShotSets, ShownShots
from workflow_scripts.infer.shards import part_of
from workflow_scripts.models.adapters.loading import folder_of_adapter, needs_own_features
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.kernels import speed_up_inference
from workflow_scripts.models.loading import Loaded, check_float8, exchanged, load
from workflow_scripts.models.prompts import closing_fault, length_fault
from workflow_scripts.models.record import adapter_content, is_full, read_record
from workflow_scripts.models.runtime import identity_of_runtime
from workflow_scripts.models.threads import use_threads
from workflow_scripts.models.vision_features import FeatureStore
from workflow_scripts.tasks.boxes.model_sizes import model_boxes


class GroupMember(Section):
    """One system of a shared-load group."""

    system: str
    adapter: Path | None = None  # folder, or record of a published one; None is the base model
    prompt: Prompt = Prompt()
    constrained: bool = False
    boxes: BoxForm = DATASETS_FORM  # the form of boxes that the model is asked for
    rows: Path | None = None  # Parquet of the rows that it answers a shard of; None: those of the split
    shots: ShownShots | None = None  # answered rows before each question
    samples: Samples | None = None  # how several answers to a row are drawn; None: one, the likeliest
    fp8: bool = False  # products of the language model in 8-bit floating point; of all members, or of none


def answer(
    *,
    split: Path,
    shard: str = "1-of-1",
    model: Path,
    root: Path,
    features: Path | None = None,
    members: list[GroupMember],
    max_new_tokens: dict[str, int],
    batch: int,
    threads: int,
    store: Path,
    out: Path,
) -> None:
    """Answer the rows of a shard with each system, and write them in the split's order, each answer of several apart.

    Without a row that is not cached, no model is loaded.

    Args:
        split: Parquet of rows.
        shard: NUMBER-of-COUNT, counted from 1.
        model: record of the model.
        root: folder that the image paths start from.
        features: index of the vision features; none: a tuned tower computes its own, as a published adapter does that
            reaches beyond the language model.
        members: JSON of each system of the shared-load group: system, adapter or null, prompt, constrained, boxes,
            rows, shots, samples, fp8.
        max_new_tokens: limit of new tokens, by task.
        batch: most rows at once.
        threads: CPU threads.
        store: folder of cached answers.
        out: Parquet of predictions to write.

    Raises:
        Refused: the group has weights that were trained in full beside other systems, or systems of `fp8` beside
            others; `fp8` is not for this device or model; or a grammar is to bound boxes in the model's own form.
    """
    use_threads(threads)
    rows = part_of(read_rows(split, Row), shard)
    adapters = {member.adapter for member in members}
    if len(adapters) > 1 and any(adapter is not None and is_full(adapter) for adapter in adapters):
        names = ", ".join(member.system for member in members)
        raise Refused(f"{names}: weights trained in full replace the base's, which one load cannot restore; part them")
    float8 = members[0].fp8
    if any(member.fp8 != float8 for member in members):
        names = ", ".join(member.system for member in members)
        raise Refused(f"{names}: one load holds weights in 8 bits or in full; part those with fp8 from the others")
    record, folder = read_record(model)
    load_family(record.family)  # some families bring the class of their configuration
    if float8:
        check_float8(folder)
    code = identity("workflow_scripts.infer.answer", record.family)
    answerer = {
        "model": record.content,
        "runtime": identity_of_runtime(folder),
    } | ({"fp8": True} if float8 else {})
    rows_of = {
        member.system: rows if member.rows is None else part_of(read_rows(member.rows, Row), shard)
        for member in members
    }
    work: list[tuple[GroupMember, list[Path], list[Request], Progress]] = []
    for member in members:
        form = model_boxes(member.boxes, folder)
        shots = None if member.shots is None else ShotSets(member.shots, root, form)
        rows = rows_of[member.system]
        requests = requests_of(rows, member.prompt, max_new_tokens, form, shots, member.samples)
        if member.constrained:
            if member.boxes.convention is not None:
                raise Refused(
                    f"{member.system}: grammars bound boxes in the dataset's form; set `constrained: false`, or "
                    "`boxes: dataset` of its model"
                )
            requests = _constrained(rows, requests)
        adapter = None if member.adapter is None else folder_of_adapter(member.adapter)
        own_features = adapter is not None and needs_own_features(adapter)
        indexes = [] if own_features else _indexes(member, features)
        of_member: dict[str, object] = {"adapter": None if adapter is None else adapter_content(adapter)}
        of_member["features"] = "+".join(sorted({FeatureStore(index).identity for index in indexes} - {""})) or None
        progress = Progress(store, code, {**answerer, **of_member}, requests)
        waiting = [request for request in requests if request.name not in progress.rows]
        print(f"answers of {member.system}: {len(progress.rows)} cached, {len(waiting)} to generate")
        work.append((member, indexes, waiting, progress))
    loaded = None
    for place in dict.fromkeys(member.adapter for member, _, waiting, _ in work if waiting):
        loaded = load(model, adapter=place, fp8=float8) if loaded is None else exchanged(loaded, place)
        print(f"kernels: {speed_up_inference(loaded.model)}{', products in 8-bit floating point' if float8 else ''}")
        for member, indexes, waiting, progress in work:
            if member.adapter == place and waiting:
                check_requests(waiting, loaded, 0 if member.shots is None else member.shots.shots.count)
                vision = vision_source(loaded, root, indexes)
                engine = TransformersEngine(loaded, vision, batch, tower=loaded.family.reads_images and not indexes)
                batch = _generate(engine, member, waiting, progress)
                del engine
                gc.collect()  # an engine's buffers fill the memory, and its parts name each other
    predictions = [
        Prediction(uid=row.uid, system=member.system, **progress.rows[row.uid, number])
        for member, _, _, progress in work
        for row in rows_of[member.system]
        for number in range(len(samplings(member.samples)))
    ]
    write_rows(out, predictions, Prediction)


def _indexes(member: GroupMember, features: Path | None) -> list[Path]:
    """The indexes of stored features that a system reads: of its rows, and of its shots. None: it computes its own."""
    of_shots = None if member.shots is None else member.shots.features
    return [] if features is None else [features] + ([] if of_shots is None else [of_shots])


def check_requests(requests: Sequence[Request], loaded: Loaded, shots: int = 0) -> None:
    """The model can read each request, and the question of images with roles follows them.

    Args:
        shots: answered rows that stand before each question.

    Raises:
        Refused: the first request that it cannot read, by its row.
    """
    family, processor = loaded.family, loaded.processor
    context, image_token = family.context(loaded.base.config), family.image_token_id(processor)
    seen = set()
    for request in requests:
        sizes = [(image.width, image.height) for image in request.images]
        image_tokens = [family.image_tokens(processor, size) for size in sizes]
        texts = [part["text"] for turn in request.chat for part in turn["content"] if part["type"] == "text"]
        fault = None
        # No more than: marks of turns, marks of images' tiles, a token a byte. Only what may be too long is encoded.
        most = 100 + 2 * sum(image_tokens) + sum(len(text.encode()) for text in texts)
        if context is not None and most + request.max_new_tokens > context:
            tokens = len(family.prompt_ids(processor, request.chat, sizes)) + request.max_new_tokens
            fault = length_fault(tokens, image_tokens, context, shots)
        kinds = tuple(part["type"] for turn in request.chat for part in turn["content"])
        roles = any(part["type"] == "text" for part in request.chat[-1]["content"][:-1])
        if fault is None and roles and kinds not in seen:  # the template does not look at texts
            seen.add(kinds)
            fault = closing_fault(partial(family.prompt_ids, processor, sizes=sizes), request.chat, image_token)
        if fault is not None:
            raise Refused(f"row {request.uid}: {fault}")


def _constrained(rows: Sequence[Row], requests: Sequence[Request]) -> list[Request]:
    """The requests with the grammar of each row's expected format."""
    bounded = []
    by_uid = {row.uid: row for row in rows}
    for request in requests:
        row = by_uid[request.uid]
        try:
            part = load_part(row.task, "grammar")
        except ModuleNotFoundError as error:
            if error.name != f"{tasks()[row.task].package}.grammar":
                raise
            raise Refused(f"task {row.task!r} has no grammar to bound {row.uid}; set `constrained: false`") from None
        bounded.append(replace(request, grammar=part.grammar(row.expected, row.images, request.max_new_tokens)))
    return bounded


def _generate(engine: TransformersEngine, member: GroupMember, waiting: Sequence[Request], progress: Progress) -> int:
    """Answer the requests that are not cached; each batch is on the disk before the next one begins.

    Returns:
        Rows at once that the device's memory turned out to hold.
    """
    name, total = f"answers of {member.system}", len(progress.rows) + len(waiting)
    settings = engine.settings_hash(waiting[0].sampling)
    with progress, tqdm(total=total, initial=len(progress.rows), desc=name, mininterval=5) as bar:
        for responses in engine.answers(waiting):
            progress.keep(responses, engine="transformers", settings=settings, constrained=member.constrained)
            bar.update(len(responses))
    return engine.batch


if __name__ == "__main__":
    run_step(answer)
