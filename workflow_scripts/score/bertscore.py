"""BERTScore of the report answers of one system, by an encoder in a local folder.

`python -m workflow_scripts.score.bertscore --split S.parquet --predictions P.parquet --system NAME --spec JSON
--out B.parquet`

F1 of Zhang et al. 2020 (arXiv:1904.09675, section 3), without idf weights and without rescaling: each token's largest
cosine to a token of the other text, averaged over the hypothesis (precision) and over the reference (recall). As in the
authors' library, tokens that mark start and end may be matched, and are not averaged over.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import BertScore
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Prediction, ReportScore, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.judgements import pairs_of
from workflow_scripts.models.record import read_record, verify_files
from workflow_scripts.models.runtime import first_line
from workflow_scripts.models.threads import TORCH_THREADS, use_threads


class Embedded(NamedTuple):
    """A text as its tokens' vectors."""

    vectors: torch.Tensor  # of length one, [tokens × width]
    counts: torch.Tensor  # which tokens are of the text itself, [tokens]
    known: bool  # at least half of its tokens are in the encoder's vocabulary


class Encoder:
    """An encoder with its tokenizer on one device."""

    def __init__(self, spec: BertScore, record: Path | None = None) -> None:
        """Load the encoder.

        Args:
            record: what `models.fetch` wrote of it; its files are then those that the record names, or none.

        Raises:
            BadFile: it cannot be loaded, changed since the record, has fewer layers, or the GPU is missing.
        """
        if spec.gpus and not torch.cuda.is_available():
            raise BadFile("scoring.bertscore asks for a GPU (`gpus`), and there is none; set `gpus: 0`")
        folder = Path(spec.checkpoint).expanduser() if record is None else read_record(record)[1]
        if record is not None:
            verify_files(record)
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            model = AutoModel.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, SafetensorError) as error:
            raise BadFile(f"{folder} is not an encoder with a tokenizer: {first_line(error)}") from None
        if record is not None:
            verify_files(record)  # once more: files that changed while they were read
        layers = model.config.num_hidden_layers
        if spec.layer > layers:
            raise BadFile(f"scoring.bertscore.layer: {folder} has {layers} layers, and `layer` is {spec.layer}")
        self._layer = spec.layer
        self._model = model.to("cuda" if spec.gpus else "cpu").eval()
        self._longest = min(self._tokenizer.model_max_length, model.config.max_position_embeddings)

    @torch.inference_mode()
    def embed(self, texts: Iterable[str], batch: int) -> dict[str, Embedded]:
        """Each distinct text once; those of like length share a batch. What is beyond the encoder's length is cut."""
        ordered = sorted(set(texts), key=lambda text: (-len(text), text))
        embedded = {}
        unknown_id = self._tokenizer.unk_token_id
        for start in range(0, len(ordered), batch):
            chunk = ordered[start : start + batch]
            inputs = self._tokenizer(
                chunk, padding=True, truncation=True, max_length=self._longest, return_tensors="pt",
                return_special_tokens_mask=True, split_special_tokens=True,
            )  # fmt: skip
            special = inputs.pop("special_tokens_mask").bool()
            states = self._model(**inputs.to(self._model.device), output_hidden_states=True).hidden_states[self._layer]
            vectors = torch.nn.functional.normalize(states, dim=-1).cpu()
            present = inputs["attention_mask"].bool().cpu()
            unknown = inputs["input_ids"].cpu() == (-1 if unknown_id is None else unknown_id)
            for row, text in enumerate(chunk):
                counts = ~special[row][present[row]]
                known = 2 * int(unknown[row][present[row]][counts].sum()) <= int(counts.sum())
                embedded[text] = Embedded(vectors[row][present[row]], counts, known)
        return embedded


def bertscore(reference: Embedded, hypothesis: Embedded) -> float:
    """F1 of two embedded texts; 0 where one has no token."""
    if not reference.counts.any() or not hypothesis.counts.any():
        return 0.0
    cosines = hypothesis.vectors @ reference.vectors.T
    precision = cosines.amax(1)[hypothesis.counts].mean()
    recall = cosines.amax(0)[reference.counts].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall > 0 else 0.0


def write_bertscore(
    *,
    split: Path,
    predictions: Path,
    system: str,
    spec: BertScore,
    model: Path | None = None,
    out: Path,
    batch: int = 64,
) -> None:
    """Score the reports of one system by BERTScore. A row without a prediction is an empty report.

    Where most tokens of a reference are unknown to the encoder, all such texts would look alike: the row has no score.

    Args:
        split: table of the split's rows.
        predictions: table of the system's predictions.
        system: the system's name.
        spec: the configuration's `scoring.bertscore`.
        model: record of the encoder; none takes the folder as it lies.
        out: table of report scores to write.
        batch: texts embedded at a time.

    Raises:
        BadFile: the encoder cannot be used.
    """
    use_threads(TORCH_THREADS)
    texts = {prediction.uid: prediction.text for prediction in read_rows(predictions, Prediction)}
    pairs = pairs_of(read_rows(split, Row), texts)
    encoder = Encoder(spec, model)
    embedded = encoder.embed([text for pair in pairs.values() for text in (pair.reference, pair.hypothesis)], batch)
    rows = []
    for uid, pair in pairs.items():
        reference, hypothesis = embedded[pair.reference], embedded[pair.hypothesis]
        rows.append(
            ReportScore(
                uid=uid,
                system=system,
                metric="bertscore",
                judge=None,
                stratum=None,
                value=bertscore(reference, hypothesis) if reference.known else None,
                status="valid" if reference.known else "unreadable_script",
            )
        )
    write_rows(out, rows, ReportScore)


if __name__ == "__main__":
    run_step(write_bertscore)
