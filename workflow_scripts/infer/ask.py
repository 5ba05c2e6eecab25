"""Step: answer one shard of a split with a model behind a server; what was answered before is not asked again."""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.engines.server.client import OpenAIServer
from workflow_scripts.engines.server.engine import OpenAIEngine
from workflow_scripts.infer.answer_cache import Progress
from workflow_scripts.infer.requests import requests_of


def ask(
    split: Path,
    shard: tuple[int, int],
    root: Path,
    model: str,
    adapter: Path | None,
    served_as: str,
    system: str,
    prompt: Prompt,
    budgets: dict[str, int],
    server: OpenAIServer,
    workers: int,
    out: Path,
    store: Path,
) -> None:
    """Answer the rows of shard `(number, of)` and write them in the split's order.

    Args:
        model: what the server is to hold, as text; part of what the answers depend on, as the adapter's weights are.
            The server's address and the number of workers are not.

    Raises:
        Refused: the server does not serve the model, or a row failed for good.
    """
    number, of = shard
    rows = read_table(split, ROWS).to_pylist()[number::of]
    requests = requests_of(rows, prompt, budgets)
    weights = sha256_of_file(adapter / "adapter_model.safetensors") if adapter else ""
    progress = Progress(store, "workflow_scripts.infer.ask", [model, weights, served_as], requests)
    waiting = [request for request in requests if request.uid not in progress.rows]
    print(f"answers of {system}: {len(progress.rows)} kept, {len(waiting)} asked for")
    if waiting:
        engine = OpenAIEngine(server, served_as, root)
        entry = engine.check(adapter)
        about = {key: entry[key] for key in ("root", "parent", "max_model_len") if key in entry}
        print(f"{server.url} serves {served_as} {canonical_json(about)}", flush=True)
        with (
            progress,
            tqdm(total=len(requests), initial=len(progress.rows), desc=f"answers of {system}", mininterval=5) as bar,
        ):
            for request, response in engine.answers(waiting, workers):
                columns = {"engine": "openai", "settings": engine.settings(request), "constrained": False}
                progress.keep([response], **columns)
                bar.update()
    answers = [{**progress.rows[request.uid], "uid": request.uid, "system": system} for request in requests]
    write_table(out, answers, PREDICTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--shard", required=True, help="NUMBER-of-COUNT, counted from 1")
    parser.add_argument("--model", required=True, help="JSON of the model that the server is to hold")
    parser.add_argument("--adapter", type=Path, help="folder of the adapter; absent for a base model")
    parser.add_argument("--served-as", required=True, help="what the server calls it")
    parser.add_argument("--root", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--prompt", required=True, help="JSON of the system's prompt")
    parser.add_argument("--budgets", required=True, help="JSON: most new tokens by task")
    parser.add_argument("--url", required=True, help="address of the server up to and with /v1")
    parser.add_argument("--token-variable", help="environment variable that holds the token")
    parser.add_argument("--workers", type=int, required=True, help="requests under way at a time")
    parser.add_argument("--timeout", type=float, required=True, help="seconds until a try is given up")
    parser.add_argument("--retries", type=int, required=True, help="further tries of a request")
    parser.add_argument("--store", type=Path, required=True, help="folder of kept answers")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    given = parser.parse_args()
    number, of = (int(part) for part in given.shard.split("-of-"))
    with OpenAIServer(given.url, given.token_variable, given.timeout, given.retries, given.workers) as server:
        ask(
            given.split,
            (number - 1, of),
            given.root,
            given.model,
            given.adapter,
            given.served_as,
            given.system,
            Prompt.model_validate_json(given.prompt),
            json.loads(given.budgets),
            server,
            given.workers,
            given.out,
            given.store,
        )


if __name__ == "__main__":
    run_step(main)
