"""What upstream GREEN reads in a reply, faults included: the other side of the parity tests."""

import re

from workflow_scripts.judges.green import CATEGORIES, GreenCounts


def read_green_upstream(reply: str) -> GreenCounts:
    """What upstream GREEN reads, faults included: an unreadable section counts nothing.

    Facts of upstream's parser: headers exactly as asked, a section ends at the first blank line, a count stands
    between ": " and ".", of equal labels the line that sorts last counts, digits serve where no letter does.
    """
    significant = _upstream_errors(_upstream_section(reply, "Clinically Significant Errors"))
    insignificant = _upstream_errors(_upstream_section(reply, "Clinically Insignificant Errors"))
    body = _upstream_section(reply, "Matched Findings")
    count = re.match(r"(\d+)\b(?=\.)", body)
    return GreenCounts(int(count.group(1)) if count else 0, significant, insignificant)


def _upstream_section(reply: str, title: str) -> str:
    _, header, rest = reply.partition(f"[{title}]:")
    body = re.split(r"\n\s*\n", rest.lstrip(), maxsplit=1)[0] if header else ""
    return "" if body.startswith("No") else body


def _upstream_errors(body: str) -> tuple[int, ...]:
    labels, lines = "abcdef", re.findall(r"\([a-f]\) .*", body)
    if not lines:
        labels, lines = "123456", re.findall(r"\([1-6]\) .*", body)
    counts = [0] * len(CATEGORIES)
    for line in sorted(lines):
        count = re.search(r"(?<=: )\d+\b(?=\.)", line)
        if count:
            counts[labels.index(line[1])] = int(count.group())
    return tuple(counts)
