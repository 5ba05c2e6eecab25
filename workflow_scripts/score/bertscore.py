"""BERTScore of the report answers of one system, by an encoder in a local folder.

`python -m workflow_scripts.score.bertscore --split S.parquet --predictions P.parquet --system NAME --spec JSON
--out B.parquet`; the spec is the configuration's `scoring.bertscore`.

F1 of Zhang et al. 2020 (arXiv:1904.09675, section 3), without idf weights and without rescaling: each token's largest
cosine to a token of the other text, averaged over the hypothesis (precision) and over the reference (recall). As in the
authors' library, tokens that mark start and end may be matched, and are not averaged over.
"""

import argparse
from pathlib import Path

import torch
from pydantic import ValidationError
from transformers import AutoModel, AutoTokenizer

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.scoring import BertScore
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import PREDICTIONS, REPORT_SCORES, ROWS, read_table, write_table
from workflow_scripts.judges.judgements import pairs_of
from workflow_scripts.models.threads import TORCH_THREADS, use_threads

Embedded = tuple[torch.Tensor, torch.Tensor]
"""Unit vectors [tokens × width], and which tokens are of the text itself [tokens]."""


class Encoder:
    """An encoder with its tokenizer on one device."""

    def __init__(self, spec: BertScore) -> None:
        """Load the encoder.

        Raises:
            BadFile: it cannot be loaded, has fewer layers, or the GPU is missing.
        """
        if spec.gpus and not torch.cuda.is_available():
            raise BadFile("scoring.bertscore asks for a GPU (`gpus`), and there is none; set `gpus: 0`")
        folder = Path(spec.checkpoint).expanduser()
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise BadFile(f"{folder} is no encoder with a tokenizer: {str(error).splitlines()[0]}") from None
        layers = model.config.num_hidden_layers
        if spec.layer > layers:
            raise BadFile(f"scoring.bertscore.layer: {folder} has {layers} layers, {spec.layer} was asked for")
        self._layer = spec.layer
        self._model = model.to("cuda" if spec.gpus else "cpu").eval()
        self._longest = min(self._tokenizer.model_max_length, model.config.max_position_embeddings)

    @torch.inference_mode()
    def embed(self, texts: list[str], batch: int) -> dict[str, Embedded]:
        """Each distinct text once; those of like length share a batch. What is beyond the encoder's length is cut."""
        ordered = sorted(set(texts), key=lambda text: (-len(text), text))
        found = {}
        for start in range(0, len(ordered), batch):
            chunk = ordered[start : start + batch]
            inputs = self._tokenizer(
                chunk, padding=True, truncation=True, max_length=self._longest, return_tensors="pt",
                return_special_tokens_mask=True,
            )  # fmt: skip
            special = inputs.pop("special_tokens_mask").bool()
            states = self._model(**inputs.to(self._model.device), output_hidden_states=True).hidden_states[self._layer]
            vectors = torch.nn.functional.normalize(states, dim=-1).cpu()
            present = inputs["attention_mask"].bool().cpu()
            for row, text in enumerate(chunk):
                found[text] = (vectors[row][present[row]], ~special[row][present[row]])
        return found


def bertscore(reference: Embedded, hypothesis: Embedded) -> float:
    """F1 of two embedded texts; 0 where one has no token."""
    (wanted, counted), (said, spoken) = reference, hypothesis
    if not counted.any() or not spoken.any():
        return 0.0
    alike = said @ wanted.T
    precision, recall = alike.amax(1)[spoken].mean(), alike.amax(0)[counted].mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall > 0 else 0.0


def score_reports(split: Path, predictions: Path, system: str, spec: BertScore, batch: int, out: Path) -> None:
    """Write REPORT_SCORES of the metric `bertscore`. A row without a prediction is an empty report."""
    texts = {row["uid"]: row["text"] for row in read_table(predictions, PREDICTIONS).to_pylist()}
    pairs = pairs_of(read_table(split, ROWS).to_pylist(), texts)
    encoder = Encoder(spec)
    embedded = encoder.embed([text for pair in pairs.values() for text in (pair.reference, pair.hypothesis)], batch)
    rows = [
        {
            "uid": uid,
            "system": system,
            "metric": "bertscore",
            "value": bertscore(embedded[pair.reference], embedded[pair.hypothesis]),
            "status": "valid",
        }
        for uid, pair in pairs.items()
    ]
    write_table(out, rows, REPORT_SCORES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--system", required=True)
    parser.add_argument("--spec", required=True, help="the configuration's `scoring.bertscore` as JSON")
    parser.add_argument("--batch", type=int, default=64, help="texts embedded at a time")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    try:
        spec = BertScore.model_validate_json(given.spec)
    except ValidationError as error:
        raise Refused(f"--spec is no scoring.bertscore section: {error.errors()[0]['msg']}") from None
    use_threads(TORCH_THREADS)
    score_reports(given.split, given.predictions, given.system, spec, given.batch, given.out)


if __name__ == "__main__":
    run_step(main)
