"""Step: answer one shard of a split with a model behind a server; cached answers are not asked for again."""

from pathlib import Path

from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.engines.server.client import OpenAIServer
from workflow_scripts.engines.server.engine import OpenAIEngine
from workflow_scripts.infer.answer_cache import Progress
from workflow_scripts.infer.requests import requests_of
from workflow_scripts.infer.shards import part_of
from workflow_scripts.models.record import adapter_content


def ask(
    *,
    split: Path,
    shard: str = "1-of-1",
    model: str,
    adapter: Path | None = None,
    served_as: str,
    root: Path,
    system: str,
    prompt: Prompt,
    max_new_tokens: dict[str, int],
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
        adapter: folder of the adapter; none for a base model.
        served_as: what the server calls the model.
        root: folder that the image paths start from.
        system: name of the system.
        prompt: JSON of the system's prompt.
        max_new_tokens: limit of new tokens, by task.
        url: address of the server up to and with /v1; answers do not depend on it.
        token_variable: environment variable that holds the token; empty: no token is sent.
        workers: requests under way at a time.
        timeout: seconds until a try is given up.
        retries: further tries of a request.
        store: folder of cached answers.
        out: Parquet of predictions to write.

    Raises:
        Refused: the server does not serve the model, or a row failed for good.
    """
    rows = part_of(read_rows(split, Row), shard)
    requests = requests_of(rows, prompt, max_new_tokens)
    answerer = {"model": model, "adapter": adapter_content(adapter) if adapter else None, "served_as": served_as}
    progress = Progress(store, "workflow_scripts.infer.ask", answerer, requests)
    waiting = [request for request in requests if request.uid not in progress.rows]
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
    predictions = [Prediction(uid=row.uid, system=system, **progress.rows[row.uid]) for row in rows]
    write_rows(out, predictions, Prediction)


if __name__ == "__main__":
    run_step(ask)
