"""A real OpenAI-compatible server as a process of its own: `transformers serve` on this machine's loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import torch

PATIENCE = 300
"""Seconds in which the server must have loaded its model, on a machine that is busy."""

ON_A_CPU = ("--device", "cpu", "--dtype", "float32")
ON_A_GPU = ("--device", "cuda", "--dtype", "bfloat16", "--continuous-batching", "--cb-max-memory-percent", "0.2")
"""Beside a judge that is loaded in its job, on the same GPU."""

QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait for each other sleep: on a busy machine they would take the cores from those that work."""


class ServedModel:
    """`with ServedModel(folder, log) as served: …`: `served.url` and `served.model` are what a judge's section needs.

    On a CPU it answers one request after the other, since its continuous batching takes longer there.
    """

    def __init__(self, checkpoint: Path, log: Path) -> None:
        self._options = ON_A_GPU if torch.cuda.is_available() else ON_A_CPU
        self.at_once = 64 if torch.cuda.is_available() else 2  # one is computed, one waits
        self.model = f"{checkpoint}@main"  # the server names a model with its revision, and answers as that name
        self._log = log
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]

    @property
    def url(self) -> str:
        """Address up to and with `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def __enter__(self) -> "ServedModel":
        command = [sys.executable, "-m", "transformers.cli.transformers", "serve", self.model, *self._options]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        environment = os.environ | QUIET_THREADS | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _wait(self) -> None:
        """Wait until the server says that it is well.

        Raises:
            RuntimeError: it ended, or is not ready in time; with what it printed last.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.running:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health", timeout=5) as answer:
                    if answer.status == 200:
                        return
            except (urllib.error.URLError, OSError):
                time.sleep(0.5)
        raise RuntimeError(f"the server is not ready: {self._log.read_text()[-3000:]}")

    def _end(self) -> None:
        """End the server and what it started."""
        if self.running:
            os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
