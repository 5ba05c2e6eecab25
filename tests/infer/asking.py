"""The step `infer.ask` with the options of these tests, here and as a process."""

import sys

from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Prediction
from workflow_scripts.core.tables import read_rows
from workflow_scripts.infer.ask import ask

LIMITS = {"counting": 6}


def store_of(out):
    """The folder of cached answers beside `out`."""
    return out.with_suffix(".answers")


def run(split, root, server, out, **changes):
    options = {"shard": "1-of-1", "model": "{}", "served_as": "base", "system": "there", "prompt": Prompt()}
    options |= {"max_new_tokens": LIMITS, "url": server.url, "workers": 4, "timeout": 10.0, "retries": 5}
    ask(split=split, root=root, store=store_of(out), out=out, **(options | changes))
    return read_rows(out, Prediction)


def command(split, root, server, out, *more):
    spec = ["--split", split, "--shard", "1-of-1", "--model", "{}", "--served-as", "base", "--root", root]
    spec += ["--system", "there", "--prompt", "{}", "--max-new-tokens", "counting", 6, "--url", server.url]
    spec += ["--timeout", "10", "--retries", "1", "--store", store_of(out), "--out", out, *more]
    return [sys.executable, "-m", "workflow_scripts.infer.ask", *map(str, spec)]
