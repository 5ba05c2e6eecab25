"""Step: answer one shard of a split with a model behind a server; cached answers are not asked for again."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems.model import Prompt, Samples
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.engines.server.client import OpenAIServer
from workflow_scripts.engines.server.engine import OpenAIEngine
from workflow_scripts.infer.questions.answer_cache import Progress
from workflow_scripts.infer.questions.requests import requests_of, samplings
from workflow_scripts.infer.questions.shot_sets import ShotSets, ShownShots
from workflow_scripts.infer.shards import part_of
from workflow_scripts.models.markup import OF_FAMILY
from workflow_scripts.models.record import adapter_content, read_record, verify_files
from workflow_scripts.tasks.boxes.model_sizes import model_boxes


def ask(
    *,
    split: Path,
    shard: str = "1-of-1",
    model: str,
    record: Path | None = None,
    adapter: Path | None = None,
    served_as: str,
    root: Path,
    system: str,
    prompt: Prompt,
    max_new_tokens: dict[str, int],
    boxes: BoxForm = DATASETS_FORM,
    shots: ShownShots | None = None,
    samples: Samples | None = None,
    url: str,
    token_variable: str = "",
    workers: int,
    timeout: float,
    retries: int,
    store: Path,
    out: Path,
) -> None:
    """Answer the rows of a shard and write them in the split's order.

    Args:
        split: Parquet of rows.
        shard: NUMBER-of-COUNT, counted from 1.
        model: JSON of the model that the server is to hold; answers depend on it, as on the adapter's weights.
        record: of that model, where it is a folder here: answers then depend on the bytes of its files.
        adapter: folder of the adapter; none for a base model.
        served_as: what the server calls the model.
        root: folder that the image paths start from.
        system: name of the system.
        prompt: JSON of the system's prompt.
        max_new_tokens: limit of new tokens, by task.
        boxes: JSON of the form of boxes that the model is asked for; by default the dataset's.
        shots: JSON of the answered rows that stand before each question: where they are, and the system's `shots`.
        samples: JSON of the system's `samples`: how several answers to a row are drawn; none: one, the likeliest.
        url: address of the server up to and with /v1; answers do not depend on it.
        token_variable: environment variable that holds the token; empty: no token is sent.
        workers: requests under way at a time.
        timeout: seconds until a try is given up.
        retries: further tries of a request.
        store: folder of cached answers.
        out: Parquet of predictions to write.

    Raises:
        Refused: the server does not serve the model, a row holds words that the server would take for markup, or a
            row failed for good.
        BadFile: the model's files changed since the record was written.
    """
    rows = part_of(read_rows(split, Row), shard)
    form = model_boxes(boxes, None if record is None else read_record(record)[1])
    shown = None if shots is None else ShotSets(shots, root, form)
    check_markup(rows, prompt, json.loads(model).get("family", ""), shown or ())
    requests = requests_of(rows, prompt, max_new_tokens, form, shown, samples)
    held = model
    if record is not None:
        held = read_record(record)[0].content
        verify_files(record)
    answerer = {"model": held, "adapter": adapter_content(adapter) if adapter else None, "served_as": served_as}
    progress = Progress(store, identity("workflow_scripts.infer.ask"), answerer, requests)
    waiting = [request for request in requests if request.name not in progress.rows]
    print(f"answers of {system}: {len(progress.rows)} cached, {len(waiting)} to generate")
    with OpenAIServer(url, token_variable or None, timeout, retries, workers) as server:
        if waiting:
            engine = OpenAIEngine(server, served_as, root)
            entry = engine.check(adapter)
            about = {key: entry[key] for key in ("root", "parent", "max_model_len") if key in entry}
            print(f"{server.url} serves {served_as} {canonical_json(about)}", flush=True)
            name, total = f"answers of {system}", len(requests)
            with progress, tqdm(total=total, initial=len(progress.rows), desc=name, mininterval=5) as bar:
                for request, response in engine.answers(waiting, workers):
                    settings = engine.settings(request)
                    progress.keep([response], engine="openai", settings=settings, constrained=False)
                    bar.update()
    predictions = [
        Prediction(uid=row.uid, system=system, **progress.rows[row.uid, number])
        for row in rows
        for number in range(len(samplings(samples)))
    ]
    write_rows(out, predictions, Prediction)


def check_markup(rows: Sequence[Row], prompt: Prompt, family: str, shots: Iterable[Row] = ()) -> None:
    """See that no text is markup to the model: a server encodes it by itself, and would obey.

    Args:
        shots: answered rows that stand before questions.

    Raises:
        Refused: the system prompt, a question or a shot holds such a word; the first row is named.
    """
    markup = OF_FAMILY.get(family)
    if markup is None:
        return
    remedy = "answer this system without an engine, where such a word is text, or take it out"
    if word := next(filter(None, map(markup.search, prompt.texts)), None):
        raise Refused(f"the system prompt holds {word[0]}, which a server takes for the model's markup: {remedy}")
    for shot in shots:
        if word := markup.search(shot.question) or markup.search(shot.answer):
            raise Refused(f"the shot {shot.uid} holds {word[0]}, which a server takes for the model's markup: {remedy}")
    words = {row.uid: word[0] for row in rows if (word := markup.search(row.question))}
    if words:
        uid, first = next(iter(words.items()))
        others = f" ({len(words)} rows hold such words)" if len(words) > 1 else ""
        raise Refused(
            f"the question of {uid} holds {first}, which a server takes for the model's markup{others}: {remedy}"
        )


if __name__ == "__main__":
    run_step(ask)
