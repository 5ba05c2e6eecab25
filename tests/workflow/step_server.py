"""Runs the steps of a workflow in forks of a process that has imported their libraries.

Nine tenths of what a small run computes are imports of torch, transformers and scipy, once a job. `start` begins one
server for all test processes of a session and gives the folder of a `python` that asks it. The fork holds no module of
a workflow: it imports those of its own checkout, with the flags, folder, environment and files that the job gave, and
ends with its exit code. In three cases that `python` becomes a new process of the interpreter, as in a user's run:

- it is no step of a workflow that is asked for (`-c`, a script);
- the step is one of `HUB`: it may reach for the hub, and libraries read at their import whether they may;
- the environment has other values of variables that libraries read at their import.

The download imports huggingface_hub, the only such library that it uses, anew.

That commands work in processes of their own is shown by `make demo`, by the tests that give an environment to
Snakemake, and by those that start or kill a step.
"""

import atexit
import fcntl
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from functools import cache
from pathlib import Path

LIBRARIES = (
    *("pyarrow.parquet", "pandas", "pydantic", "tyro", "yaml", "jinja2", "PIL.Image", "safetensors.torch"),
    *("pydantic.main", "pydantic.root_model", "pydantic.networks", "json_repair", "tenacity", "tomllib", "altair"),
    "typeguard",
    *("scipy.stats", "scipy.sparse.csgraph", "scipy.ndimage", "scipy.optimize", "sklearn.linear_model"),
    *("sklearn.feature_extraction.text", "rouge_score.rouge_scorer", "nltk.translate.meteor_score", "sacrebleu"),
    *("torch", "transformers", "transformers.models.gemma3.modeling_gemma3", "llguidance.hf"),
    *("transformers.models.siglip.modeling_siglip", "transformers.models.gemma3.processing_gemma3"),
    *("transformers.models.bert.modeling_bert", "transformers.models.auto", "peft", "huggingface_hub"),
    *("trl.trainer.sft_trainer", "datasets"),
)
"""What the steps import most; a module that is not among them is imported by the fork."""
HUB = {"workflow_scripts.models.fetch", "workflow_scripts.train.push"}
"""Steps that reach for the hub, with libraries that are imported once."""
DOWNLOAD = "workflow_scripts.data.download"
AT_IMPORT = ("CUDA_", "GOMP_", "HF_", "KMP_", "OMP_", "PYTORCH_", "TORCH_", "TRANSFORMERS_")
"""Beginnings of variables that libraries read at their import."""
OF_A_JOB = {"HF_HUB_OFFLINE", "OMP_NUM_THREADS"}
"""Variables among them that the fork follows: no step of the server's needs the hub, and threads are set anew."""

CLIENT = """\
#!{interpreter} -IS
import json, os, socket, sys
argv = sys.argv[1:]
def new_process():
    os.execv({interpreter!r}, [{interpreter!r}, *argv])
if argv[:1] != ["-m"] or not argv[1].startswith("workflow_scripts.") or argv[1] in {hub!r}:
    new_process()
environment = dict(os.environ)
now = {{k: v for k, v in environment.items() if k.startswith({at_import!r}) and k not in {of_a_job!r}}}
names = {{k for k in {{*now, *{fixed!r}}} if now.get(k) != {fixed!r}.get(k)}}
if any(argv[1] != {download!r} or not k.startswith("HF_") for k in names):
    new_process()
server = socket.socket(socket.AF_UNIX)
try:
    server.connect({address!r})
except OSError:
    new_process()
request = json.dumps([argv[1:], os.getcwd(), environment]).encode()
socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
server.sendall(request)
answer = server.recv(1)
sys.exit(answer[0] if answer else 1)
"""


def fixed(environment: dict[str, str]) -> dict[str, str]:
    """The variables that libraries read at their import, and that a fork does not follow."""
    return {k: v for k, v in environment.items() if k.startswith(AT_IMPORT) and k not in OF_A_JOB}


@cache
def start() -> Path:
    """The folder of the `python` that asks the server of this session, which is started if none is there."""
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir()) / f"steps-{session}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        need = socket.socket(socket.AF_UNIX)
        try:
            need.connect(str(folder / "socket"))
        except OSError:
            server = subprocess.Popen([sys.executable, __file__, str(folder)], stdout=subprocess.PIPE)
            with server.stdout as said:
                assert said.readline() == b"ready\n", "the server of steps has not started"
            need.connect(str(folder / "socket"))
        need.sendall(bytes(8))
    atexit.register(need.close)  # open as long as this process: the server ends with the last one
    return folder


def python() -> str:
    """The `python` that asks the server of this session."""
    return str(start() / "python")


@cache
def thread_pools():
    """The thread pools of the libraries that are there by now; looking for them takes a tenth of a small step."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def serve(folder: Path) -> None:
    """Answer requests until each process that has called `start` has ended."""
    given = fixed(dict(os.environ))
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    for name in LIBRARIES:
        importlib.import_module(name)
    thread_pools()
    gc.collect()
    gc.freeze()
    address = folder / "socket"
    address.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen(64)
    names = {"interpreter": sys.executable, "address": str(address), "fixed": given}
    client = folder / "client"
    client.write_text(CLIENT.format(**names, hub=HUB, download=DOWNLOAD, at_import=AT_IMPORT, of_a_job=OF_A_JOB))
    client.chmod(0o700)
    client.rename(folder / "python")
    print("ready", flush=True)
    answer(listener)
    shutil.rmtree(folder, ignore_errors=True)


def answer(listener: socket.socket) -> None:
    """Fork for each request, and pass exit codes on."""
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    needs, steps = 1, {}  # processes that need the server, the first of them still to connect; connections by step
    while needs or steps:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                size, descriptors = receive(connection)
                if not size:
                    needs += bool(key.data)
                    key = waiting.modify(listener, selectors.EVENT_READ, "begun")
                    waiting.register(connection, selectors.EVENT_READ, None)
                    continue
                step = fork_step(connection, size, descriptors)
                steps[step] = connection
                waiting.register(os.pidfd_open(step), selectors.EVENT_READ, step)
                waiting.register(connection, selectors.EVENT_READ, step)
            elif isinstance(key.fileobj, int):  # a step has ended
                waiting.unregister(key.fileobj)
                os.close(key.fileobj)
                code = os.waitstatus_to_exitcode(os.waitpid(key.data, 0)[1])
                connection = steps.pop(key.data)
                with suppress(KeyError):
                    waiting.unregister(connection)
                with suppress(OSError):  # whoever asked is gone
                    connection.sendall(bytes([code % 256]))
                connection.close()
            elif key.data is None:
                waiting.unregister(key.fileobj)
                needs -= 1
            else:  # whoever asked has been killed, and its step with it
                waiting.unregister(key.fileobj)
                if key.data in steps:
                    os.kill(key.data, signal.SIGKILL)


def fork_step(connection: socket.socket, size: int, descriptors: list[int]) -> int:
    """The process of a fork that runs the step which `connection` asks for."""
    request = b""
    while len(request) < size:
        part = connection.recv(size - len(request))
        if not part:
            break  # whoever asked is gone: the step fails for want of a request
        request += part
    if child := os.fork():
        for descriptor in descriptors:
            os.close(descriptor)
        return child
    code = 1
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.closerange(3, 1024)
        code = run_step(*json.loads(request))
    finally:
        os._exit(code)


def receive(connection: socket.socket) -> tuple[int, list[int]]:
    """The size of the request that follows, and the descriptors of the asking process's standard streams."""
    message, descriptors, _, _ = socket.recv_fds(connection, 8, 3)
    return int.from_bytes(message, "big"), descriptors


def run_step(argv: list[str], folder: str, environment: dict[str, str]) -> int:
    """Run a module as `python -m` does, in this process, and return its exit code."""
    import torch

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    own = str(Path(__file__).parent)
    ours = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path[:] = [folder, *ours, *(entry for entry in sys.path if entry not in {own, folder, *ours})]
    sys.argv = argv
    if argv[0] == DOWNLOAD:
        for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
            del sys.modules[name]
    threads = int(environment.get("OMP_NUM_THREADS", os.cpu_count() or 1))
    torch.set_num_threads(threads)
    thread_pools().limit(limits=threads)
    for stream, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        number = ("stdin", "stdout", "stderr").index(stream)
        setattr(sys, stream, os.fdopen(number, mode, buffering=1, closefd=False, encoding="utf-8"))
    code = 0
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception:  # noqa: BLE001 - whatever a step raises ends its process with a traceback
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
