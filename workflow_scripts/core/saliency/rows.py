"""The rows of the tables of explanation maps."""

from dataclasses import dataclass

from workflow_scripts.core.saliency.grids import TokenGrid

OWN, RANDOMISED, CENTRED = "own", "randomised", "centred"
"""Whose map it is: the model's, that of the same network with redrawn weights, or a Gaussian in the middle."""


@dataclass(frozen=True, slots=True)
class SaliencyMap:
    """How much each token of an image says for the answer that the system gave, by one method."""

    uid: str
    system: str
    method: str  # see core.config.report.Method
    weights: str  # own, randomised
    image: int  # place among the row's images
    width: int  # pixels of the original image
    height: int
    grids: tuple[TokenGrid, ...]
    values: tuple[float, ...]  # of the tokens of all grids, in their order
    explained: str  # the answer whose likelihood is explained, as the model wrote it


@dataclass(frozen=True, slots=True)
class SaliencyFact:
    """One measure of one map, or of one row."""

    uid: str
    case_id: str
    system: str
    method: str  # of the map; empty where no method is at work
    weights: str  # own, randomised, centred; empty where no map is at work
    measure: str  # see saliency.measures
    value: float


@dataclass(frozen=True, slots=True)
class SaliencyValue:
    """A measure over rows, with its interval."""

    name: str  # of the entry in the configuration
    system: str
    method: str
    weights: str
    measure: str
    value: float
    low: float
    high: float
    rows: int
    clusters: int
