"""Step: learn which expert a question is for, from the rows of a split, and publish the router's folder.

Beside the classifier that the configuration names, TF-IDF is learned from the same questions, and the share of each
class is noted: what the classifier is worth is read beside both.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore, put_in_place, unfinished
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of, write_json
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.models.record import read_record
from workflow_scripts.models.routing.classifier import (
    DESCRIPTION,
    ENCODER,
    MAJORITY,
    TFIDF,
    Examples,
    Head,
    TfIdfClassifier,
    save_head,
)

SPEED = "speed.json"
"""What learning and reading questions took: no part of a table, because it differs each time."""


def train_router(
    *,
    on: Literal["task", "modality", "subset"] = "task",
    split: Path,
    encoder: Path | None = None,
    gpus: int = 0,
    batch: int = 64,
    store: Path | None = None,
    out: Path,
) -> str:
    """Learn the classes of questions and publish the router's folder.

    What `store` has from the same questions, classes, encoder, code and runtime is published as it is.

    Args:
        on: column of the rows whose values are the classes.
        split: Parquet of training rows.
        encoder: record of the text encoder; none for TF-IDF alone.
        gpus: 1 embeds questions on the GPU.
        batch: questions embedded at a time.
        store: folder of cached routers.
        out: folder to publish.

    Raises:
        Refused: there is nothing to learn from.
        BadFile: the encoder cannot be used.
    """
    rows = read_rows(split, Row)
    if not rows:
        raise Refused(f"{split} has no rows to learn from; train on a wider split")
    labels = [getattr(row, on) for row in rows]
    questions = [row.question for row in rows]
    parts = {
        "code": identity("workflow_scripts.train.router"),
        "on": on,
        "questions": sha256_of(canonical_json(sorted(zip(questions, labels, strict=True))).encode()),
        "encoder": None if encoder is None else read_record(encoder)[0].content,
        "runtime": None if encoder is None else _runtime(gpus),
    }
    key = cache_key("router", **parts)
    entries = None if store is None else EntryStore(store)
    if entries is not None and (entry := entries.get(key)) is not None:
        _publish(entry, out)
        return f"nothing to learn: {entry} was made of the same"
    fresh = unfinished(out)
    fresh.mkdir(parents=True)
    examples = Examples.of(questions, labels)
    described: dict[str, Any] = {"on": on, "rows": len(rows), "questions": len(examples.questions)}
    described["shares"] = {name: count / len(rows) for name, count in sorted(Counter(labels).items())}
    described["parameters"], speed = {MAJORITY: 0}, {}
    if encoder is not None:
        described["parameters"][ENCODER], speed[ENCODER] = _learn_head(examples, encoder, gpus, batch, fresh)
    described["parameters"][TFIDF], speed[TFIDF] = _learn_tfidf(examples, fresh)
    write_json(fresh / DESCRIPTION, described)
    write_json(fresh / SPEED, speed)
    if entries is not None:
        with entries.put(key, parts) as entry:
            shutil.copytree(fresh, entry, dirs_exist_ok=True)
    put_in_place(out, fresh)
    return f"router: {len(described['shares'])} classes from {len(rows)} rows, {len(examples.questions)} questions"


def _runtime(gpus: int) -> dict[str, object]:
    """What the encoder runs on; torch is imported only here, so that TF-IDF alone need not wait for it."""
    import torch

    from workflow_scripts.models.runtime import identity_of_runtime

    return identity_of_runtime(device=torch.device("cuda" if gpus else "cpu"))


def _learn_head(
    examples: Examples, encoder: Path, gpus: int, batch: int, folder: Path
) -> tuple[int, Mapping[str, Any]]:
    """Learn a linear layer on the encoder's vectors; its parameters with the encoder's, and what it took."""
    from workflow_scripts.models.routing.encoder import QuestionEncoder
    from workflow_scripts.models.threads import TORCH_THREADS, use_threads

    use_threads(TORCH_THREADS)
    network = QuestionEncoder(encoder, gpus)
    begin = time.perf_counter()
    vectors = network.embed(examples.questions, batch)
    read = time.perf_counter()
    head = Head.fit(vectors, examples.labels, examples.weights)
    end = time.perf_counter()
    save_head(folder / f"{ENCODER}.safetensors", head)
    write_json(folder / f"{ENCODER}.json", {"classes": list(head.classes)})
    return network.parameters + head.parameters, _took(end - begin, read - begin, examples, "cuda" if gpus else "cpu")


def _learn_tfidf(examples: Examples, folder: Path) -> tuple[int, Mapping[str, Any]]:
    """Learn TF-IDF with a linear layer; its parameters, and what it took."""
    begin = time.perf_counter()
    classifier = TfIdfClassifier.fit(examples)
    end = time.perf_counter()
    classifier.probabilities(examples.questions)
    read = time.perf_counter() - end
    classifier.save(folder)
    return classifier.parameters, _took(end - begin, read, examples, "cpu")


def _took(learning: float, reading: float, examples: Examples, device: str) -> dict[str, Any]:
    """Seconds of learning, embedding included, and of reading 1,000 distinct questions."""
    per_thousand = 1000 * reading / len(examples.questions)
    return {"seconds": learning, "seconds_per_1000_questions": per_thousand, "device": device}


def _publish(entry: Path, out: Path) -> None:
    fresh = unfinished(out)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(entry, fresh, ignore=shutil.ignore_patterns("entry.json"))
    put_in_place(out, fresh)


if __name__ == "__main__":
    run_step(train_router)
