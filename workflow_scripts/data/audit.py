"""Step: audit converted rows, as Parquet tables and as a page with pictures of the offending rows."""

import argparse
from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile, write_text
from workflow_scripts.core.tables import AUDIT, BALANCE, QUARANTINE, ROWS, SUMMARY, read_table, write_table
from workflow_scripts.data.auditing.facts import COLUMNS, approximate_tokens, balance, findings, summary
from workflow_scripts.data.auditing.page import asked_in, render


def token_counter(path: Path | None) -> tuple[Callable[[str], int], str]:
    """How tokens are counted, and what to call them: exactly by a `tokenizer.json`, else nearly.

    Raises:
        BadFile: the tokenizer cannot be read.
    """
    if path is None:
        return approximate_tokens, "words, digits and signs (near to tokens)"
    if not path.is_file():
        raise BadFile(f"{path} does not exist; give the tokenizer.json of a model")
    tokenizer = Tokenizer.from_file(str(path))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids), f"tokens of {path.parent.name}"


def main() -> None:
    """Parse the arguments, audit, write tables and page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="Parquet of the rows")
    parser.add_argument("--quarantine", type=Path, required=True, help="Parquet of the quarantine")
    parser.add_argument("--root", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json to count lengths with")
    parser.add_argument("--findings", type=Path, required=True, help="Parquet to write: one row a finding")
    parser.add_argument("--summary", type=Path, required=True, help="Parquet to write: sizes, lengths, ranges")
    parser.add_argument("--balance", type=Path, required=True, help="Parquet to write: rows by label")
    parser.add_argument("--page", type=Path, required=True, help="HTML to write")
    a = parser.parse_args()
    count_tokens, tokens = token_counter(a.tokenizer)
    rows = read_table(a.rows, ROWS).select(COLUMNS).to_pylist()
    quarantine = read_table(a.quarantine, QUARANTINE).to_pylist()
    found = findings(rows, quarantine)
    told, counted = summary(rows, count_tokens), balance(rows)
    files = sum(1 for entry in quarantine if entry["source_row"] is None)
    facts = {
        "rows_in": len(rows) + len(quarantine) - files,
        "kept": len(rows),
        "quarantined": len(quarantine) - files,
        "files": files,
        "tokens": tokens,
        "summary": told,
        "balance": counted,
    }
    offending = {finding["uid"] for finding in found}
    images = {entry["uid"]: entry["images"] for entry in quarantine if entry["uid"]}
    images |= {row["uid"]: [image["path"] for image in row["images"]] for row in rows if row["uid"] in offending}
    asked = {entry["uid"]: asked_in(entry["record"]) for entry in quarantine if entry["uid"]}
    asked |= {row["uid"]: (row["question"], row["answer"]) for row in rows if row["uid"] in offending}
    write_table(a.findings, found, AUDIT)
    write_table(a.summary, told, SUMMARY)
    write_table(a.balance, counted, BALANCE)
    write_text(a.page, render(a.root, found, images, asked, facts))
    print(f"audit: {len(found)} findings in {facts['rows_in']} rows")


if __name__ == "__main__":
    run_step(main)
