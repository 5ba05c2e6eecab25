"""vLLM on this machine's loopback as a process of its own, with a model and its adapters."""

import os
import subprocess
from pathlib import Path

from tests.real.chat_process import QUIET_THREADS, ServedModel

ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "2",
}


class ServedByVLLM(ServedModel):
    """`with ServedByVLLM(python, log) as server: server.start(folder, name, adapters)`.

    Its address is known before it starts, so that a configuration may name it; it ends with the block.

    Args:
        python: of the environment that holds vLLM.
        log: file for what it prints.
    """

    def __init__(self, python: Path, log: Path) -> None:
        super().__init__(Path(), log)
        self.at_once = 8
        self._python = python

    def __enter__(self) -> "ServedByVLLM":
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_process"):
            self._end()

    def start(self, checkpoint: Path, name: str, adapters: dict[str, Path], rank: int) -> None:
        """Serve the checkpoint as `name` and each adapter, of at most this rank, under its own; wait until it is well.

        Raises:
            RuntimeError: it ended, or is not ready in time; with what it printed last.
        """
        # `vllm serve` reads the version of a package called vllm, and this one is called vllm-cpu.
        command = [self._python, "-m", "vllm.entrypoints.openai.api_server", "--model", checkpoint]
        command += ["--served-model-name", name, "--enable-lora", "--max-lora-rank", rank, "--lora-modules"]
        command += [f"{adapter}={folder}" for adapter, folder in adapters.items()]
        command += ["--limit-mm-per-prompt", '{"image": 8}', "--max-model-len", 4096, "--generation-config", "vllm"]
        command += ["--enforce-eager", "--max-num-seqs", 16, "--host", "127.0.0.1", "--port", self._port]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                list(map(str, command)),
                env=os.environ | QUIET_THREADS | ENVIRONMENT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        for last in (False, False, True):  # it imports and compiles for longer than other servers
            try:
                return self._wait()
            except RuntimeError:
                if last or not self.running:
                    raise
