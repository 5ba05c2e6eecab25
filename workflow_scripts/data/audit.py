"""Step: audit converted rows, as Parquet tables and as a page with images of the offending rows."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile, write_text
from workflow_scripts.core.rows import (
    AuditFinding,
    Convention,
    ImageFacts,
    LabelCount,
    QuarantinedRow,
    Row,
    SubsetSummary,
)
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.data.auditing.attention import folder_counts, points, verdict
from workflow_scripts.data.auditing.balance import balances
from workflow_scripts.data.auditing.distributions import distributions, image_groups
from workflow_scripts.data.auditing.facts import approximate_tokens, audit_findings, label_counts, summarise
from workflow_scripts.data.auditing.leaks import leaks_of
from workflow_scripts.data.auditing.listing import Example, example_of, example_of_quarantined
from workflow_scripts.data.auditing.page import Overview, render


def token_counter(path: Path | None) -> tuple[Callable[[str], int], str]:
    """How tokens are counted, and what to call them: exactly by a `tokenizer.json`, else nearly.

    Raises:
        BadFile: the tokenizer cannot be read.
    """
    if path is None:
        return approximate_tokens, "words, digits and signs (near to tokens)"
    if not path.is_file():
        raise BadFile(f"{path} does not exist; give the tokenizer.json of a model")
    from tokenizers import Tokenizer  # most audits need none

    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids), f"tokens of {path.parent.name}"


def audit(
    *,
    rows: Path,
    quarantine: Path,
    images: Path,
    conventions: Path,
    root: Path,
    findings: Path,
    summary: Path,
    balance: Path,
    page: Path,
    name: str = "",
    tokenizer: Path | None = None,
) -> str:
    """Report what is wrong with a converted dataset, what was done about it, and what there is.

    Args:
        rows: Parquet of the rows
        quarantine: Parquet of the quarantine
        images: Parquet of what is known of each image
        conventions: Parquet of how each subset writes its answers
        root: folder that the image paths start from
        findings: Parquet to write: one row a finding
        summary: Parquet to write: sizes, lengths, ranges
        balance: Parquet to write: rows by label
        page: HTML to write
        name: the dataset's name, for the page
        tokenizer: tokenizer.json to count lengths with; without it they are near to tokens
    """
    count, tokens = token_counter(tokenizer)
    count_tokens = lru_cache(maxsize=None)(count)  # questions repeat by the thousand
    converted, quarantined = read_rows(rows, Row), read_rows(quarantine, QuarantinedRow)
    facts, learned = read_rows(images, ImageFacts), read_rows(conventions, Convention)
    leaks = leaks_of(converted, facts)
    reported = audit_findings(converted, quarantined, facts, leaks)
    summaries, labels = summarise(converted, count_tokens), label_counts(converted)
    balance_of = balances(labels, summaries, converted)
    counts = folder_counts(converted, quarantined, leaks)
    files = sum(entry.source_row is None for entry in quarantined)
    overview = Overview(
        name=name,
        verdict=verdict(counts, files),
        points=points(counts, reported, learned, balance_of),
        counts=counts,
        tokens=tokens,
        conventions=learned,
        summary=summaries,
        balance=balance_of,
        distributions=distributions(converted, facts, count_tokens),
        images=image_groups(facts),
        leaks=leaks,
    )
    offending = {finding.uid for finding in reported}
    examples: dict[str | None, Example] = {row.uid: example_of(row) for row in converted if row.uid in offending}
    examples |= {entry.uid: example_of_quarantined(entry) for entry in quarantined if entry.uid}
    write_rows(findings, reported, AuditFinding)
    write_rows(summary, summaries, SubsetSummary)
    write_rows(balance, labels, LabelCount)
    write_text(page, render(root, reported, examples, overview))
    return f"audit: {len(reported)} findings in {sum(count.records for count in counts)} records"


if __name__ == "__main__":
    run_step(audit, garbage=False)  # rows hold none
