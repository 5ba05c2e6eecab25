"""Runs Snakemake in a fork of a process that has imported it: a plan takes half of its time to import Snakemake.

`python planner.py` reads requests as lines of JSON, the arguments of `plan`, and answers each with the exit code of
Snakemake's own command, whose output is then in the file `output`. The fork holds no module of a
workflow: it imports those of the folder that it plans in, as a new process does. Files of rules are parsed once, as
long as their content is the same: that is a fifth of a plan.
"""

import gc
import hashlib
import importlib
import json
import marshal
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from snakemake.cli import get_argument_parser, main

LIBRARIES = ("pydantic", "pyarrow.parquet", "PIL.Image", "safetensors", "jinja2", "yaml", "tqdm", "yte", "smart_open")
"""What Snakemake and the rules import while they plan, with Snakemake's own report."""


def parse_once(store: Path) -> None:
    """Have each fork take from `store` what an earlier one parsed: of the same path, content and number of rules."""
    of_snakemake = importlib.import_module("snakemake.workflow")
    parse = of_snakemake.parse

    def stored(path, workflow, linemap: dict[int, int], rulecount: int = 0) -> tuple[str, int]:
        with workflow.sourcecache.open(path) as file:
            identity = [path.get_path_or_uri(secret_free=True), file.read(), rulecount]
        entry = store / hashlib.sha256(repr(identity).encode()).hexdigest()
        if not entry.exists():
            lines = {}
            code, rules = parse(path, workflow, linemap=lines, rulecount=rulecount)
            entry.write_bytes(marshal.dumps((code, rules, lines)))
        code, rules, lines = marshal.loads(entry.read_bytes())
        linemap |= lines
        return code, rules

    of_snakemake.parse = stored


def plan(folder: str, arguments: list[str], environment: dict[str, str], output: str, interpreter: str) -> int:
    """Exit code of `snakemake` with these arguments in a folder; what it prints goes to a file.

    `interpreter` is the `python` of its jobs, if it runs some.
    """
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        with Path(output).open("w") as file, Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.executable = interpreter
        sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
        sys.argv = ["snakemake", *arguments]
        main(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for name in (*LIBRARIES, "snakemake.report.html_reporter"):
        importlib.import_module(name)
    get_argument_parser()  # looks for plugins
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w")  # what a fork prints does not get there
    with TemporaryDirectory() as store:
        parse_once(Path(store))
        for line in sys.stdin:
            request = json.loads(line)
            print(plan(**request), file=answers, flush=True)
