"""Step: explanation maps of a system's answers to some rows of a split, and how faithful they are.

The model is loaded twice: with redrawn weights, for maps of a network that learned nothing, and as it is.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import RecordStore
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.config.report import Saliency
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.saliency.boxes import boxes_of
from workflow_scripts.core.saliency.grids import TokenGrid
from workflow_scripts.core.saliency.rows import OWN, RANDOMISED, SaliencyFact, SaliencyMap
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part
from workflow_scripts.models.adapters.loading import folder_of_adapter
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.prompts import chat_of
from workflow_scripts.models.record import adapter_content, read_record
from workflow_scripts.models.runtime import identity_of_runtime
from workflow_scripts.models.threads import use_threads
from workflow_scripts.models.vision_features import open_converted
from workflow_scripts.saliency.explain import Maps, facts_of, maps_of
from workflow_scripts.saliency.model import AnswerModel, Case, case_of, redraw_weights
from workflow_scripts.tasks.boxes.model_questions import question_for
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes, model_boxes


@dataclass(frozen=True)
class Explained:
    """A row with the answer that is explained."""

    row: Row
    prediction: Prediction
    request: Request
    key: str  # of what is computed of it


def write_map(
    *,
    split: Path,
    predictions: Path,
    model: Path,
    root: Path,
    spec: Saliency,
    adapter: Path | None = None,
    prompt: Prompt,
    constrained: bool = False,
    boxes: BoxForm = DATASETS_FORM,
    max_new_tokens: dict[str, int],
    batch: int,
    threads: int,
    store: Path,
    maps: Path,
    facts: Path,
) -> None:
    """Explain a system's answers to some rows; rows that are in the store are not computed again.

    Args:
        split: Parquet of rows.
        predictions: Parquet of the system's answers.
        model: record of the model.
        root: folder that the image paths start from.
        spec: JSON of the entry of `saliency`.
        adapter: folder of the system's adapter, or record of a published one; none for a base model.
        prompt: JSON of the system's prompt.
        constrained: whether a grammar bounds the system's answers.
        boxes: JSON of the form of boxes that the model is asked for; by default the dataset's.
        max_new_tokens: limit of new tokens, by task.
        batch: most copies of a row at once.
        threads: CPU threads.
        store: folder of what was computed.
        maps: Parquet of maps to write.
        facts: Parquet of measures of each map to write.

    Raises:
        Refused: the family does not say which part of an image its tokens see, or gives out no attention weights.
    """
    use_threads(threads)
    record, folder = read_record(model)
    load_family(record.family)  # some families bring the class of their configuration
    answers = {prediction.uid: prediction for prediction in read_rows(predictions, Prediction)}
    chosen = chosen_rows([row for row in read_rows(split, Row) if row.uid in answers], spec)
    form = model_boxes(boxes, folder)
    work = [_explained(row, answers[row.uid], spec, prompt, constrained, form, max_new_tokens) for row in chosen]
    about = {
        "code": identity("workflow_scripts.saliency.map", record.family),
        "model": record.content,
        "adapter": None if adapter is None else adapter_content(folder_of_adapter(adapter)),
        "runtime": identity_of_runtime(folder),
    }
    place = store / cache_key("explainer", **about)
    with RecordStore(place, about) as records:
        stored = records.read({_key(one, weights) for one in work for weights in (OWN, RANDOMISED)})
        print(f"maps of {spec.system}: {sum(_key(one, OWN) in stored for one in work)} of {len(work)} rows stored")
        for weights in (RANDOMISED, OWN):
            waiting = [one for one in work if _key(one, weights) not in stored]
            if not waiting:
                continue
            loaded = load(model, adapter=adapter)
            if weights == RANDOMISED:
                redraw_weights(loaded, spec.seed)
            answering = AnswerModel(loaded, batch)
            for one in tqdm(waiting, desc=f"maps, {weights} weights", mininterval=5):
                case = _case(loaded, one, root, spec)
                value: dict[str, Any] = {"maps": _plain(computed := maps_of(answering, case, spec))}
                if weights == OWN:
                    others = _maps(stored[_key(one, RANDOMISED)]["maps"])
                    seed = _number(spec.seed, one.row.uid)
                    value["facts"] = facts_of(answering, case, one.row, spec, computed, others, seed)
                stored[_key(one, weights)] = value
                records.put(_key(one, weights), value)
            del loaded, answering
        rows = list(_rows_of(work, stored))
    write_rows(maps, [row for row in rows if isinstance(row, SaliencyMap)], SaliencyMap)
    write_rows(facts, [row for row in rows if isinstance(row, SaliencyFact)], SaliencyFact)


def chosen_rows(rows: Sequence[Row], spec: Saliency) -> list[Row]:
    """The rows that are explained, always the same: those with reference boxes first, each kind by a seeded hash."""
    fitting = [row for row in rows if 1 <= len(row.images) <= spec.images]
    return sorted(fitting, key=lambda row: (not boxes_of(row), _number(spec.seed, row.uid)))[: spec.rows]


def _number(seed: int, uid: str) -> int:
    return int(hashlib.sha256(f"{seed} {uid}".encode()).hexdigest()[:15], 16)


def _explained(
    row: Row,
    prediction: Prediction,
    spec: Saliency,
    prompt: Prompt,
    constrained: bool,
    boxes: ModelBoxes | None,
    max_new_tokens: Mapping[str, int],
) -> Explained:
    request = Request(
        uid=row.uid,
        chat=chat_of(row, prompt.of(row.task), question_for(row, boxes)),
        images=tuple(RequestImage(image.sha256, image.path, image.width, image.height) for image in row.images),
        max_new_tokens=max_new_tokens[row.task],
    )
    if constrained and "counterfactual" in spec.methods:  # only what asks again needs the grammar
        grammar = load_part(row.task, "grammar").grammar(row.expected, row.images, request.max_new_tokens)
        request = replace(request, grammar=grammar)
    key = cache_key(
        "explained",
        uid=row.uid,
        chat=request.chat,
        images=[image.sha256 for image in request.images],
        max_new_tokens=request.max_new_tokens,
        grammar=None if request.grammar is None else [request.grammar, version("llguidance")],
        answer=[prediction.model_text, prediction.finish_reason == "stop"],
        task=row.task,
        expected=row.expected,
        boxes=boxes_of(row),
        settings=spec.model_dump(mode="json", exclude={"system", "split", "rows", "images"}),
    )
    return Explained(row, prediction, request, key)


def _key(one: Explained, weights: str) -> str:
    return f"{one.key}-{weights}"


def _case(loaded: Loaded, one: Explained, root: Path, spec: Saliency) -> Case:
    images = [open_converted(root, image.path, image.sha256) for image in one.request.images]
    prediction = one.prediction
    ended = prediction.finish_reason == "stop"
    return case_of(loaded, one.request, images, prediction.model_text, ended, spec.windows)


def _plain(maps: Maps) -> dict[str, Any]:
    return {method: [[grids, values.tolist()] for grids, values in of_images] for method, of_images in maps.items()}


def _maps(plain: Mapping[str, Any]) -> Maps:
    return {
        method: [([TokenGrid(*grid) for grid in grids], np.array(values)) for grids, values in of_images]
        for method, of_images in plain.items()
    }


def _rows_of(work: Sequence[Explained], stored: Mapping[str, Any]) -> Iterator[SaliencyMap | SaliencyFact]:
    for one in work:
        row, prediction = one.row, one.prediction
        for weights in (OWN, RANDOMISED):
            for method, of_images in _maps(stored[_key(one, weights)]["maps"]).items():
                for place, (grids, values) in enumerate(of_images):
                    image = row.images[place]
                    yield SaliencyMap(
                        row.uid,
                        prediction.system,
                        method,
                        weights,
                        place,
                        image.width,
                        image.height,
                        tuple(grids),
                        tuple(values.tolist()),
                        prediction.model_text,
                    )
        for fact in stored[_key(one, OWN)]["facts"]:
            method, weights, measure, value = fact
            yield SaliencyFact(row.uid, row.case_id, prediction.system, method, weights, measure, value)


if __name__ == "__main__":
    run_step(write_map)
