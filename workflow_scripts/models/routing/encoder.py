"""Questions as vectors of a text encoder: the mean of its last layer over a question's tokens, of length one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer

from workflow_scripts.core.files import BadFile
from workflow_scripts.models.record import read_record, verify_files
from workflow_scripts.models.runtime import first_line

LONGEST = 512
"""Tokens of a question that count; a longer one is cut, as most encoders cannot read further."""


class QuestionEncoder:
    """A text encoder with its tokenizer on one device, in float32."""

    def __init__(self, record: Path, gpus: int = 0) -> None:
        """Load the encoder from the bytes that its record names.

        Raises:
            BadFile: it cannot be loaded, changed since the record, or the GPU is missing.
        """
        if gpus and not torch.cuda.is_available():
            raise BadFile("the router's encoder asks for a GPU (`gpus`), and there is none; set `gpus: 0`")
        _, folder = read_record(record)
        verify_files(record)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise BadFile(f"{folder} is not an encoder with a tokenizer: {first_line(error)}") from None
        verify_files(record)  # once more: files that changed while they were read
        self._model = model.to("cuda" if gpus else "cpu").eval()
        positions = getattr(model.config, "max_position_embeddings", None) or LONGEST
        self._longest = min(self._tokenizer.model_max_length, positions, LONGEST)

    @property
    def parameters(self) -> int:
        """Parameters of the encoder."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    @torch.inference_mode()
    def embed(self, questions: Sequence[str], batch: int) -> np.ndarray:
        """Vectors of the questions, float32 (questions, width); those of like length share a batch of `batch`."""
        order = sorted(range(len(questions)), key=lambda place: (-len(questions[place]), questions[place]))
        vectors = np.zeros((len(questions), self._model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            inputs = self._tokenizer(
                [questions[place] for place in places],
                padding=True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
                split_special_tokens=True,
            ).to(self._model.device)
            states = self._model(**inputs).last_hidden_state
            present = inputs["attention_mask"][..., None].to(states.dtype)
            mean = (states * present).sum(1) / present.sum(1).clamp(min=1)
            vectors[places] = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
        return vectors
