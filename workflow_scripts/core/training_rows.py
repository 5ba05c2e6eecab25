"""The rows of the tables that feature extraction and training write, one frozen dataclass a table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeaturePlace:
    """Where an image's vision features lie."""

    sha256: str  # of the image file
    shard: str  # file, relative to the index
    row: int  # place in the shard


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One line of a training log."""

    step: int
    epoch: float
    loss: float | None
    token_accuracy: float | None
    learning_rate: float | None
    gradient_norm: float | None
    entropy: float | None  # mean over answer tokens, nats
    evaluation_loss: float | None  # on rows held back; None between evaluations


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """What a model answered to a row that was held back, at one evaluation of its training."""

    step: int
    uid: str
    question: str
    reference: str  # the row's answer
    text: str
