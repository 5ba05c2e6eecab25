"""Rows of the tables about routers: which expert answers a row, and how often a classifier names the right one."""

from dataclasses import dataclass

BOUNDED_ERROR = "bounded strict"
"""Row fact of tasks whose answers are numbers: the row's part of the mean error, see `tasks.number_metrics`."""


@dataclass(frozen=True, slots=True)
class RoutedRow:
    """Which system a router chooses for a row: predictions/{split}/{system}.routes.parquet."""

    uid: str
    system: str  # the routed one
    router: str  # rule, oracle, encoder, tfidf or majority
    in_use: bool  # whether its choice is the system's; others stand beside it for comparison
    label: str | None  # the row's value of the column that decides; None for an oracle
    chosen: str | None  # the value that a classifier reads off the question; None where nothing is read
    probability: float | None  # a classifier's, of the chosen value
    expert: str  # the system whose answer is taken


@dataclass(frozen=True, slots=True)
class RouterScore:
    """How often a classifier reads the right value off a question: scores/{split}/{system}/router.parquet."""

    system: str
    router: str  # encoder, tfidf or majority
    in_use: bool
    label: str | None  # rows of one value: the accuracy is its recall; None: all rows
    rows: int
    clusters: int  # cases
    right: int
    accuracy: float
    low: float | None
    high: float | None
    unsure: int  # rows below the threshold, which the default answers
    parameters: int | None  # of the encoder and the classifier; None where nothing is computed


@dataclass(frozen=True, slots=True)
class RouterConfusion:
    """Rows by what they are and by what a classifier takes them for: scores/…/{system}/router_confusion.parquet."""

    system: str
    router: str
    label: str
    chosen: str
    rows: int
