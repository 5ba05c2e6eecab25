"""The tables between stages: one pyarrow schema each, checked at writing and at reading.

Tables are Parquet, one row a case where they are per-row, and reproducible: no time, host or duration enters them.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.files import BadFile, atomic

BOX = pa.struct([("x1", pa.float64()), ("y1", pa.float64()), ("x2", pa.float64()), ("y2", pa.float64())])
"""Corners in pixels of the original image."""

IMAGE = pa.struct([("path", pa.string()), ("sha256", pa.string()), ("width", pa.int32()), ("height", pa.int32())])
"""One picture of a row. `path` is relative to the tree; see core.images for members of a zip."""

ROWS = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),  # stable across machines: tree folder, data set, file, row
        pa.field("dataset", pa.string(), nullable=False),  # FLARE data set: the folder's name
        pa.field("modality", pa.string(), nullable=False),  # the folder's name; rows spell it variously
        pa.field("folder", pa.string(), nullable=False),  # training, validation-public, …
        pa.field("task", pa.string(), nullable=False),  # see core.tasks
        pa.field("task_raw", pa.string(), nullable=False),
        pa.field("case_id", pa.string(), nullable=False),  # rows of one case never part
        pa.field("question", pa.string(), nullable=False),
        pa.field("options", pa.list_(pa.struct([("letter", pa.string()), ("text", pa.string())]))),
        pa.field("choices", pa.list_(pa.string())),  # label list of a multi-label question, where it names one
        pa.field("separator", pa.string()),  # of a multi-label answer: ";" or ","
        pa.field("images", pa.list_(IMAGE), nullable=False),
        pa.field("image_name", pa.string(), nullable=False),  # JSON of the source's ImageName: a name or a list of them
        pa.field("answer", pa.string(), nullable=False),  # the text to learn; see has_answer
        pa.field("answer_raw", pa.string(), nullable=False),  # JSON of the source's value
        pa.field("labels", pa.list_(pa.string())),  # typed answers: one column a task, null for the others
        pa.field("number", pa.float64()),
        pa.field("boxes", pa.list_(BOX)),
        pa.field("instances", pa.list_(pa.struct([("identity", pa.string()), ("box", BOX)]))),
        pa.field("convention", pa.string()),  # of the boxes in question and answer: xyxy or xywh
        pa.field("source_file", pa.string(), nullable=False),
        pa.field("source_row", pa.int32(), nullable=False),
        pa.field("notes", pa.list_(pa.string()), nullable=False),  # "repaired: …", "kept_defect: …" by a policy
    ]
)


def has_answer(row: dict) -> bool:
    """Whether the source answers a row of ROWS: an empty answer without labels is none, an empty label set is one."""
    return row["answer"] != "" or row["labels"] is not None


QUARANTINE = pa.schema(
    [
        pa.field("source_file", pa.string(), nullable=False),
        pa.field("source_row", pa.int32()),  # null: the file as a whole
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # see data.conversion.reasons
        pa.field("detail", pa.string(), nullable=False),
        pa.field("record", pa.string(), nullable=False),  # JSON of the row as it was found, cut at 2,000 characters
        pa.field("uid", pa.string()),  # as the row would have had; null for a file
        pa.field("folder", pa.string(), nullable=False),
        pa.field("images", pa.list_(pa.string()), nullable=False),  # paths of those that were found
    ]
)

AUDIT = pa.schema(
    [
        pa.field("kind", pa.string(), nullable=False),  # see data.conversion.reasons
        pa.field("action", pa.string(), nullable=False),  # quarantined, repaired, kept, left out
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("folder", pa.string(), nullable=False),
        pa.field("uid", pa.string()),  # null: the file as a whole
        pa.field("source_file", pa.string(), nullable=False),
        pa.field("source_row", pa.int32()),
        pa.field("detail", pa.string(), nullable=False),
    ]
)

SUMMARY = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("folder", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("cases", pa.int32(), nullable=False),
        pa.field("images", pa.int32(), nullable=False),  # distinct
        pa.field("images_a_row", pa.int32(), nullable=False),  # the most
        pa.field("question_tokens", pa.float64(), nullable=False),  # median
        pa.field("answer_tokens", pa.float64(), nullable=False),  # median
        pa.field("longest_answer", pa.int32(), nullable=False),  # tokens
        pa.field("classes", pa.int32()),  # distinct labels, where the task has them
        pa.field("largest_class", pa.float64()),  # its share of the rows
        pa.field("least", pa.float64()),  # of numbers
        pa.field("median", pa.float64()),
        pa.field("greatest", pa.float64()),
    ]
)

BALANCE = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("folder", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("rows", pa.int32(), nullable=False),
    ]
)

LEFT_OUT = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # no_answer, leaked_image, leaked_case, leaked_group
        pa.field("detail", pa.string(), nullable=False),
    ]
)

PREDICTIONS = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("system", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("finish", pa.string(), nullable=False),  # stop, length, content_filter, rule (trivial) or imported
        pa.field("prompt_tokens", pa.int32()),
        pa.field("new_tokens", pa.int32()),
        pa.field("prompt_hash", pa.string()),
        pa.field("engine", pa.string()),  # transformers or openai; null where nothing was generated
        pa.field("settings", pa.string()),  # hash of the generation settings, 16 digits
        pa.field("constrained", pa.bool_()),  # whether a grammar bounded the answer
    ]
)

UNMATCHED = pa.schema(
    [
        pa.field("place", pa.int32(), nullable=False),  # in the file: from 1, the line where it has lines
        pa.field("key", pa.string(), nullable=False),  # as it was given; empty where none was
        pa.field("reason", pa.string(), nullable=False),  # see infer.imported
        pa.field("text", pa.string(), nullable=False),
    ]
)

OUTCOMES = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("system", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("case_id", pa.string(), nullable=False),
        pa.field("outcome", pa.string(), nullable=False),  # valid, malformed, refused, looping, truncated, missing
        pa.field("strict", pa.string()),  # JSON of the value read strictly; null if it cannot be
        pa.field("lenient", pa.string()),  # JSON of the value read leniently; null if it cannot be
        pa.field("gold", pa.string(), nullable=False),  # JSON of the reference in the same form
        pa.field("text", pa.string()),  # the answer as it was given; null if it is missing
    ]
)

METRICS = pa.schema(
    [
        pa.field("system", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),  # a data set, "macro" or "pooled"
        pa.field("metric", pa.string(), nullable=False),
        pa.field("better", pa.string(), nullable=False),  # higher or lower
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("clusters", pa.int32(), nullable=False),
        pa.field("valid_share", pa.float64(), nullable=False),
        pa.field("unread", pa.int32(), nullable=False),  # rows without a value: counted by the metric's stated rule
        pa.field("rule", pa.string(), nullable=False),  # whose: 2026, 2025, study, judge, text or own
        pa.field("primary", pa.bool_(), nullable=False),  # the one metric of its task that heads the tables
    ]
)

ROW_FACTS = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("system", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("fact", pa.string(), nullable=False),  # what metrics sum: hits, gold, named, error, …
        pa.field("value", pa.float64(), nullable=False),
    ]
)

COMPARISONS = pa.schema(
    [
        pa.field("task", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),  # a data set, "macro" or "pooled"
        pa.field("metric", pa.string(), nullable=False),  # the task's primary metric
        pa.field("better", pa.string(), nullable=False),
        pa.field("system_a", pa.string(), nullable=False),
        pa.field("system_b", pa.string(), nullable=False),
        pa.field("difference", pa.float64()),  # b minus a
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("p", pa.float64()),  # paired randomisation test over cases, two-sided
        pa.field("p_holm", pa.float64()),  # corrected within the macro lines, or within all others
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("clusters", pa.int32(), nullable=False),
    ]
)

AGREEMENT = pa.schema(
    [
        pa.field("system_a", pa.string(), nullable=False),
        pa.field("system_b", pa.string(), nullable=False),
        pa.field("metric_1", pa.string(), nullable=False),
        pa.field("metric_2", pa.string(), nullable=False),
        pa.field("difference_1", pa.float64(), nullable=False),  # mean of b minus a over rows that both metrics score
        pa.field("difference_2", pa.float64(), nullable=False),
        pa.field("tau", pa.float64()),  # Kendall's, over the rows' differences
        pa.field("rows", pa.int32(), nullable=False),
        pa.field("opposed", pa.bool_(), nullable=False),  # the metrics disagree about which system is better
    ]
)

JUDGEMENTS = pa.schema(
    [
        pa.field("pair", pa.string(), nullable=False),  # sha256 of reference, hypothesis and context
        pa.field("judge", pa.string(), nullable=False),  # name in the configuration
        pa.field("backend", pa.string(), nullable=False),  # lexicon, recorded, openai, transformers
        pa.field("metric", pa.string(), nullable=False),  # whose formula the reply feeds: crimson, green or both
        pa.field("context", pa.string(), nullable=False),  # JSON of what the judge was told besides: modality
        pa.field("reference", pa.string(), nullable=False),
        pa.field("hypothesis", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # valid, abstained, invalid
        pa.field("reply", pa.string(), nullable=False),  # the judge's raw reply
        pa.field("reason", pa.string()),  # why the judge abstained or the reply is invalid
    ]
)

JUDGED_FINDINGS = pa.schema(
    [
        pa.field("pair", pa.string(), nullable=False),
        pa.field("judge", pa.string(), nullable=False),
        pa.field("side", pa.string(), nullable=False),  # reference or predicted
        pa.field("id", pa.string(), nullable=False),
        pa.field("finding", pa.string(), nullable=False),
        pa.field("significance", pa.string(), nullable=False),  # CRIMSON's clinical significance
        pa.field("fate", pa.string(), nullable=False),  # matched, missing or false
        pa.field("partners", pa.list_(pa.string()), nullable=False),  # ids on the other side
        pa.field("errors", pa.list_(pa.string()), nullable=False),  # of a matched reference: "location (significant)"
    ]
)

REPORT_SCORES = pa.schema(
    [
        pa.field("uid", pa.string(), nullable=False),
        pa.field("system", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("value", pa.float64()),  # null: the judge abstained or its reply is invalid
        pa.field("status", pa.string(), nullable=False),
    ]
)

FEATURES = pa.schema(
    [
        pa.field("sha256", pa.string(), nullable=False),  # of the image file
        pa.field("shard", pa.string(), nullable=False),  # file, relative to the index
        pa.field("row", pa.int32(), nullable=False),  # place in the shard
    ]
)

HISTORY = pa.schema(
    [
        pa.field("step", pa.int32(), nullable=False),
        pa.field("epoch", pa.float64(), nullable=False),
        pa.field("loss", pa.float64()),
        pa.field("token_accuracy", pa.float64()),
        pa.field("learning_rate", pa.float64()),
        pa.field("gradient_norm", pa.float64()),
        pa.field("entropy", pa.float64()),  # mean over answer tokens, nats
        pa.field("evaluation_loss", pa.float64()),  # on rows held back; null between evaluations
    ]
)


def write_table(path: Path, rows: Sequence[dict] | pa.Table, schema: pa.Schema) -> None:
    """Write rows as Parquet under `schema`, atomically.

    Raises:
        ValueError: a column is missing, of another type, or null where it must not be.
    """
    try:
        table = (
            rows.select(schema.names).cast(schema)
            if isinstance(rows, pa.Table)
            else pa.Table.from_pylist(list(rows), schema=schema)
        )
        for field in schema:
            if not field.nullable and table[field.name].null_count:
                raise ValueError(f"column {field.name!r} has {table[field.name].null_count} null values")
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError) as error:
        raise ValueError(f"{path}: the rows do not fit the table's schema: {error}") from error
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table and check its schema.

    Raises:
        BadFile: the file is missing, damaged, or has other columns.
    """
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise BadFile(f"{path} is missing; run the rule that makes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        said = " ".join(str(error).split())
        raise BadFile(f"{path} is not a readable Parquet file ({said}); delete it and run again") from None
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise BadFile(
            f"{path}: expected the columns {schema.names}, found {table.schema.names}; delete it and run again"
        )
    return table
