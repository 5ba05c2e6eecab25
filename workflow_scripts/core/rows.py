"""The rows of the tables between stages, one frozen dataclass a table; no time, host or duration enters one."""

import re
from dataclasses import dataclass
from typing import NamedTuple


def is_slice(role: str) -> bool:
    """Whether a role is that of a slice."""
    return role != "" and re.fullmatch(r"(?:.* )?slice \d+", role) is not None


class Box(NamedTuple):
    """Corners in pixels of the original image; the right and the lower edge are excluded."""

    x1: float
    y1: float
    x2: float
    y2: float


class Image(NamedTuple):
    """One image of a row. `path` is relative to the dataset's root; see `core.images` for members of a zip."""

    path: str
    sha256: str  # of the bytes that `core.images.image_bytes` reads
    width: int  # pixels, after EXIF's turn
    height: int
    role: str = ""  # in the row: current, prior, slice 12; empty where the row says nothing of it

    @property
    def is_slice(self) -> bool:
        """Whether it is a slice of a volume, as its role says: `slice 12`, `prior slice 3`."""
        return is_slice(self.role)


class Group(NamedTuple):
    """What a source says of a row beside question and answer: hospital, scanner, sex, age band."""

    name: str
    value: str


class Option(NamedTuple):
    """A lettered option of a question."""

    letter: str
    text: str


class Instance(NamedTuple):
    """A box with the identity of what it shows."""

    identity: str
    box: Box


class FormatSource(NamedTuple):
    """Where a field of an expected format came from: question, dataset convention, configuration or task default."""

    field: str
    source: str


class ExpectedFormat(NamedTuple):
    """The form of answer that a question asks for. Readers, grammars and baselines know nothing else of the answer."""

    answer_by: str | None = None  # letter or words, where options are to be chosen from
    options: tuple[Option, ...] = ()
    labels: tuple[str, ...] = ()  # admissible labels, or words where the question lists no options; empty: any
    separator: str | None = None  # of labels: ";" or ","
    percent: bool = False  # a number is written with a percent sign
    box_convention: str | None = None  # of boxes: xyxy or xywh
    width: int | None = None  # of the image that boxes lie in, pixels; None where no box is asked for
    height: int | None = None
    sources: tuple[FormatSource, ...] = ()
    text: str | None = None  # that answers quote from, where the question is about one


@dataclass(frozen=True, slots=True)
class Row:
    """One question on images with its answer."""

    uid: str  # stable across machines: split folder, modality, subset, file, row
    subset: str  # FLARE's dataset: the folder's name
    modality: str  # the folder's name; source rows spell it variously
    folder: str  # training, validation-public, …
    task: str  # see core.tasks
    task_raw: str
    case_id: str  # rows of one case never part
    question: str
    expected: ExpectedFormat
    images: tuple[Image, ...]
    image_name: str  # JSON of the source's ImageName: a name or a list of them
    answer: str  # the text to learn; see has_answer
    answer_raw: str  # JSON of the source's value
    source_file: str
    source_row: int
    notes: tuple[str, ...] = ()  # "repaired: …", "kept_defect: …" by a policy
    labels: tuple[str, ...] | None = None  # typed answers: one column a task, null for the others
    number: float | None = None
    boxes: tuple[Box, ...] | None = None
    instances: tuple[Instance, ...] | None = None
    groups: tuple[Group, ...] = ()  # by name, sorted; empty where the source has none
    rubric: str = ""  # JSON of what answers are graded by, see core.rubrics.stated; empty: no rubric

    @property
    def has_answer(self) -> bool:
        """Whether the source answers the row: an empty answer without labels is none, an empty label set is one."""
        return self.answer != "" or self.labels is not None


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """A source row that cannot be used, or a file as a whole."""

    source_file: str
    source_row: int | None  # None: the file as a whole
    subset: str
    reason: str  # see data.conversion.reasons
    detail: str
    record: str  # JSON of the source row, cut at 2,000 characters
    uid: str | None  # as the row would have had; None for a file
    folder: str
    images: tuple[str, ...]  # paths of those that exist


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What reading an image once tells; every image of a row has a line of them."""

    path: str  # as in the row
    sha256: str  # as in the row
    pixel_sha256: str  # of size and values once decoded, before deep ones are stretched
    dhash: str  # 16 hexadecimal digits: brightness falls or rises between neighbours of 8 × 9 points; empty: too flat
    dhash_fine: str  # 64 digits, of 16 × 17 points
    mode: str  # Pillow's, of the file
    depth: int  # bits of a channel in the file
    frames: int  # the first alone is used
    width: int  # pixels, after EXIF's turn
    height: int
    low: float | None  # of more than 8 bits of grey: the value that became 0
    high: float | None  # and the one that became 255


@dataclass(frozen=True, slots=True)
class Convention:
    """How one subset writes the answers of one task, in one respect, and how that is known."""

    subset: str
    task: str
    field: str  # a field of ExpectedFormat
    question: str  # for words of questions without options: the question; else empty
    value: str  # JSON
    votes: int  # source rows that agree
    rows: int  # source rows that say something about the field
    source: str  # training rows, other rows, configuration or task default


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Something that the audit reports of a row."""

    kind: str  # see data.conversion.reasons
    action: str  # quarantined, repaired, kept, left out
    subset: str
    folder: str
    uid: str | None  # None: the file as a whole
    source_file: str
    source_row: int | None
    detail: str


@dataclass(frozen=True, slots=True)
class SubsetSummary:
    """Sizes, lengths and ranges of one task of one subset in one split folder."""

    subset: str
    folder: str
    task: str
    rows: int
    cases: int
    images: int  # distinct
    images_a_row: int  # the most
    question_tokens: float  # median
    answer_tokens: float  # median
    longest_answer: int  # tokens
    classes: int | None  # distinct labels, where the task has them
    largest_class: float | None  # its share of the rows
    least: float | None  # of numbers
    median: float | None
    greatest: float | None


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Rows that bear a label."""

    subset: str
    folder: str
    task: str
    label: str
    rows: int


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """A row that a split leaves out."""

    uid: str
    subset: str
    task: str
    reason: str  # no_answer, leaked_image, leaked_case, leaked_group
    detail: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """A system's answer to a row."""

    uid: str
    system: str
    text: str
    finish_reason: str  # stop, length, content_filter, baseline or imported
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    prompt_hash: str | None = None
    engine: str | None = None  # transformers or openai; None where nothing was generated
    settings: str | None = None  # hash of the generation settings, 16 digits
    constrained: bool | None = None  # whether a grammar bounded the answer
    raw_text: str | None = None  # as the model wrote it, where `text` carries its boxes to the row's convention
    box_fault: str | None = None  # why they could not be carried there; `text` is then the raw one and holds no boxes
    samples: tuple[str, ...] = ()  # where a system answers several times: each answer; `text` is that of the consensus

    @property
    def model_text(self) -> str:
        """The answer as the model wrote it."""
        return self.text if self.raw_text is None else self.raw_text


@dataclass(frozen=True, slots=True)
class UnmatchedPrediction:
    """An entry of an imported file that is no row's prediction."""

    place: int  # in the file: from 1, the line where it has lines
    key: str  # as it was given; empty where none was
    reason: str  # see infer.imported
    text: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a system's answer to a row."""

    uid: str
    system: str
    subset: str
    task: str
    case_id: str
    outcome: str  # valid, malformed, refused, looping, truncated, missing
    strict: str | None  # JSON of the value read strictly; None if it cannot be
    lenient: str | None  # JSON of the value read leniently; None if it cannot be
    reference: str  # JSON of the reference answer in the same form
    reference_raw: str  # JSON of the source's value
    percent: bool  # the question asks for a percentage
    text: str | None  # the answer as the model wrote it; None if it is missing
    answer: str | None  # what is read of it: in the row's box convention, without thoughts and what follows the turn
    thought: bool  # a thought was cut
    box_fault: str | None = None  # why boxes in the model's own convention could not be read
    samples: str | None = None  # JSON list of what each of several answers is read as, strictly or else leniently
    consistency: float | None = None  # the share of them that is read as the answer that counts


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric of a system on a task, with its interval."""

    system: str
    task: str
    subset: str  # a subset, "macro" or "pooled"
    metric: str
    reading: str | None  # strict or lenient; None where answers are not read
    judge: str | None  # name in the configuration; None where no judge is asked
    stratum: str | None  # normal or abnormal references, an identity, a coordinate; None: all
    direction: str  # higher or lower is better
    value: float | None
    low: float | None
    high: float | None
    rows: int
    clusters: int
    valid_share: float  # of rows whose outcome is valid, and on which the judge, where one is asked, gave its judgement
    unread: int  # rows without a value: counted by the metric's definition
    definition: str  # whose: FLARE 2026, FLARE 2025, IIT Delhi, …
    primary: bool  # the one metric of its task that heads the tables
    abstained: int = 0  # rows on which the judge abstained
    invalid: int = 0  # rows on which the judge's reply is invalid
    note: str | None = None  # why the value is to be read with care: keys of core.metrics.NOTES, joined by "; "


@dataclass(frozen=True, slots=True)
class RowFact:
    """What one row adds to a sum that metrics are made of."""

    uid: str
    system: str
    task: str
    fact: str
    value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems on a task's primary metric."""

    task: str
    subset: str  # a subset, "macro" or "pooled"
    metric: str
    judge: str | None
    direction: str
    system_a: str
    system_b: str
    difference: float | None  # b minus a
    low: float | None
    high: float | None
    p: float | None  # larger p of exchanges and influences of cases, two-sided
    p_holm: float | None  # corrected within the macro lines, or within all others
    rows: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """Whether two report metrics agree about two systems."""

    system_a: str
    system_b: str
    metric_1: str
    judge_1: str | None
    metric_2: str
    judge_2: str | None
    difference_1: float  # mean of b minus a over rows that both metrics score
    difference_2: float
    tau: float | None  # Kendall's, over the rows' differences
    rows: int
    opposed: bool  # the metrics disagree about which system is better


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A judge's reply to a reference and an answer."""

    pair: str  # sha256 of reference, hypothesis and context
    judge: str  # name in the configuration
    backend: str  # rule_based, recorded, openai, transformers
    metrics: tuple[str, ...]  # whose formulas the reply feeds: crimson, green, rubric
    context: str  # JSON of what is known besides: modality of a report; question and rubric of a free response
    reference: str
    hypothesis: str
    status: str  # valid, abstained, invalid
    reply: str  # the judge's raw reply
    reason: str | None  # why the judge abstained or the reply is invalid


@dataclass(frozen=True, slots=True)
class JudgedFinding:
    """A finding that a judge names in one of two reports."""

    pair: str
    judge: str
    side: str  # reference or predicted
    id: str
    finding: str
    significance: str  # CRIMSON's clinical significance
    fate: str  # matched, missing or false
    partners: tuple[str, ...]  # ids on the other side
    errors: tuple[str, ...]  # of a matched reference: "location (significant)"


@dataclass(frozen=True, slots=True)
class ReportScore:
    """A score of one answer in free text: a report, or one that is graded by a rubric."""

    uid: str
    system: str
    metric: str
    judge: str | None  # name in the configuration; None for metrics over texts
    stratum: str | None  # normal or abnormal reference, or a part of a rubric; None: all
    value: float | None  # None: see status
    status: str  # valid, abstained, invalid, or unreadable_script
    note: str | None = None  # why the judge's scores are not to be relied on: a key of core.metrics.NOTES
