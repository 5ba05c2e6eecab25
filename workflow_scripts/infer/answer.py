"""Step: answer one shard of a split with a shared-load group of systems; cached answers are not generated again.

A shared-load group is one system, or a base model and a tuned one that are answered by one load of the model.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.section import Section
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.requests import Request
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.engines.local.engine import TransformersEngine, vision_source
from workflow_scripts.infer.answer_cache import Progress
from workflow_scripts.infer.requests import requests_of
from workflow_scripts.infer.shards import part_of
from workflow_scripts.models.kernels import speed_up_inference
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import adapter_content, read_record
from workflow_scripts.models.runtime import identity_of_runtime
from workflow_scripts.models.threads import use_threads
from workflow_scripts.models.vision_features import FeatureStore


class GroupMember(Section):
    """One system of a shared-load group."""

    system: str
    adapter: Path | None = None  # folder; None is the base model
    prompt: Prompt = Prompt()
    constrained: bool = False


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
    """Answer the rows of a shard with each system, and write them in the split's order.

    Without a row that is not cached, no model is loaded.

    Args:
        split: Parquet of rows.
        shard: NUMBER-of-COUNT, counted from 1.
        model: record of the model.
        root: folder that the image paths start from.
        features: index of the vision features; none: a tuned tower computes its own.
        members: JSON of each system of the shared-load group: system, adapter or null, prompt, constrained.
        max_new_tokens: limit of new tokens, by task.
        batch: most rows at once.
        threads: CPU threads.
        store: folder of cached answers.
        out: Parquet of predictions to write.

    Raises:
        Refused: the group has two different adapters.
    """
    use_threads(threads)
    rows = part_of(read_rows(split, Row), shard)
    adapters = {member.adapter for member in members if member.adapter}
    if len(adapters) > 1:
        raise Refused(f"{', '.join(member.system for member in members)}: one load holds one adapter; part them")
    record, folder = read_record(model)
    answerer = {
        "model": record.content,
        "runtime": identity_of_runtime(folder),
        "features": None if features is None else FeatureStore(features).identity,
    }
    work: list[tuple[GroupMember, list[Request], Progress]] = []
    for member in members:
        requests = requests_of(rows, member.prompt, max_new_tokens)
        if member.constrained:
            requests = _constrained(rows, requests)
        adapter = adapter_content(member.adapter) if member.adapter else None
        progress = Progress(store, "workflow_scripts.infer.answer", answerer | {"adapter": adapter}, requests)
        waiting = [request for request in requests if request.uid not in progress.rows]
        print(f"answers of {member.system}: {len(progress.rows)} cached, {len(waiting)} to generate")
        work.append((member, waiting, progress))
    if any(waiting for _, waiting, _ in work):
        loaded = load(model, adapter=next(iter(adapters), None))
        print(f"kernels: {speed_up_inference(loaded.model)}")
        engine = TransformersEngine(loaded, vision_source(loaded, root, features), batch)
        for member, waiting, progress in work:
            _generate(engine, member, waiting, progress, len(rows))
    predictions = [
        Prediction(uid=row.uid, system=member.system, **progress.rows[row.uid])
        for member, _, progress in work
        for row in rows
    ]
    write_rows(out, predictions, Prediction)


def _constrained(rows: Sequence[Row], requests: Sequence[Request]) -> list[Request]:
    """The requests with the grammar of each row's expected format."""
    bounded = []
    for row, request in zip(rows, requests, strict=True):
        try:
            part = load_part(row.task, "grammar")
        except ModuleNotFoundError as error:
            if error.name != f"{tasks()[row.task].package}.grammar":
                raise
            raise Refused(f"task {row.task!r} has no grammar to bound {row.uid}; set `constrained: false`") from None
        bounded.append(replace(request, grammar=part.grammar(row.expected, row.images, request.max_new_tokens)))
    return bounded


def _generate(
    engine: TransformersEngine, member: GroupMember, waiting: Sequence[Request], progress: Progress, total: int
) -> None:
    """Answer the requests that are not cached; each batch is on the disk before the next one begins."""
    name = f"answers of {member.system}"
    with progress, tqdm(total=total, initial=len(progress.rows), desc=name, mininterval=5) as bar:
        for responses in engine.answers(waiting, adapted=member.adapter is not None):
            progress.keep(
                responses, engine="transformers", settings=engine.settings_hash, constrained=member.constrained
            )
            bar.update(len(responses))


if __name__ == "__main__":
    run_step(answer)
