"""How scores are summarised, and which text metrics need data from elsewhere."""

from pydantic import Field

from workflow_scripts.core.config.section import MovingRevision, Section


class BertScore(Section):
    """BERTScore of reports by a local encoder."""

    checkpoint: str = Field(description="Repository on the hub, or a local folder, of the encoder and its tokenizer.")
    revision: MovingRevision | None = Field(
        None, description="Full commit, or `main`, which is resolved once and recorded; null for a local folder only."
    )
    layer: int = Field(ge=1, description="Hidden layer whose embeddings are compared, from 1.")
    gpus: int = Field(0, ge=0, le=1, description="GPUs of the job.")


class Scoring(Section):
    """How scores are summarised: resampling, confidence, and the text metrics that need data from elsewhere."""

    resamples: int = Field(1000, ge=100, description="Bootstrap resamples of each interval.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Coverage of the intervals.")
    seed: int = Field(17, ge=0, description="Seed of the bootstrap.")
    nltk_data: str | None = Field(
        None, description="nltk's data folder with WordNet; null computes METEOR without synonyms, `meteor_stem`."
    )
    bertscore: BertScore | None = Field(None, description="checkpoint and layer; null leaves BERTScore out.")
