"""Tables of a mission: what each rule cost, what all of FLARE would cost at these rates, and the judged columns."""

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.mission_watch import Usage

ROWS = 58_112
"""Of all of FLARE-MLLM-2D, by its card; validation and testing are what was counted there."""
VALIDATION, HIDDEN, TESTING, REPORTS = 5_577, 1_959, 4_696, 1_945
TRAINING = ROWS - VALIDATION - HIDDEN - TESTING
IMAGES = 50_996
EPOCHS = 3

TABLES = {
    "data_convert": ("rows", ("data/*/rows.parquet", "data/*/quarantine.parquet")),
    "data_audit": ("rows", ("data/*/rows.parquet", "data/*/quarantine.parquet")),
    "data_split": ("rows", ("splits/*/rows.parquet",)),
    "data_sft": ("rows", ("splits/*/sft.parquet",)),
    "features_extract": ("images", ("features/*/*/index.parquet",)),
    "infer_answer": ("answers", ("predictions/*/*/*.parquet",)),
    "infer_gather": ("answers", ("predictions/*/base.parquet", "predictions/*/tuned.parquet")),
    "infer_baseline": ("answers", ("predictions/*/majority.parquet", "predictions/*/nearest.parquet")),
    "score_outcomes": ("answers", ("scores/*/*/outcomes.parquet",)),
    "score_reports": ("scores", ("scores/*/*/report_scores.parquet",)),
    "score_metrics": ("values", ("scores/*/metrics.parquet",)),
    "score_comparisons": ("comparisons", ("scores/*/comparisons.parquet",)),
}
"""What the rows of a rule's tables are, and where the tables lie below the results."""

JUDGED = ("crimson", "green")
"""The metrics of model judges."""

BAR = re.compile(r"(?:([^|\r\n]*?):?\s*)\d+%\|[^|]*\|\s*(\d+)/\d+ \[((?:\d+:)+\d+)<")
PAIRS = re.compile(r"(\d+) of \d+ pairs .*?([\d.]+) pairs/s")


@dataclass
class Cost:
    """What the jobs of a rule took, for a judge those of one judge."""

    jobs: int = 0
    seconds: float = 0.0  # of all jobs, tries that were cut short included
    again: float = 0.0  # of that, of tries that were cut short
    unit: str = ""
    rows: int | None = None
    rate: float | None = None  # rows a second of one job while it works, without start and loading

    @property
    def whole(self) -> float | None:
        """Rows a second, start and loading included."""
        return self.rows / self.seconds if self.rows and self.seconds else None

    @property
    def fixed(self) -> float:
        """Seconds of a job that do not grow with its rows."""
        if not self.rate or not self.rows or not self.jobs:
            return 0.0
        return max(0.0, (self.seconds - self.again - self.rows / self.rate) / self.jobs)


def costs(run: Path, usage: Usage) -> dict[str, Cost]:
    """Costs by job, in the order in which rules first ended."""
    results = run / "results"
    by_job: dict[str, Cost] = defaultdict(Cost)
    files = sorted((results / "benchmarks").rglob("*.tsv"), key=lambda file: file.stat().st_mtime)
    judges = set(json.loads((results / "configuration.json").read_text())["judges"])
    for file in files:
        rule = file.relative_to(results / "benchmarks").parts[0]
        name = next((f"{rule} {judge}" for judge in judges if f".{judge}." in file.name), rule)
        cost = by_job[name if rule == "score_judge" else rule]
        with file.open(newline="") as lines:
            cost.seconds += sum(float(line["s"]) for line in csv.DictReader(lines, delimiter="\t"))
        cost.jobs += 1
    for job, seconds in usage.cut.items():
        by_job[job].seconds += seconds
        by_job[job].again += seconds
    for job, cost in by_job.items():
        _count(job, cost, results)
    return dict(by_job)


def _count(job: str, cost: Cost, results: Path) -> None:
    """Fill in how many rows a job's tables have, and how fast it was while it worked."""
    rule, _, judge = job.partition(" ")
    logs = sorted((results / "logs" / rule).rglob("*.log"))
    if judge:
        cost.unit, cost.rows = "pairs", _rows(results, (f"scores/*/judgements/{judge}.*.parquet",))
        cost.rate = _pairs_a_second([log for log in logs if f".{judge}." in log.name])
    elif rule == "models_fetch":
        cost.unit, cost.rows = "MB", _megabytes(results)
    elif rule == "train_tune":
        cost.unit = "rows"
        histories = list(results.glob("systems/*/history.parquet"))
        steps = sum(pq.read_metadata(file).num_rows for file in histories)
        recipe = next(iter(json.loads((results / "configuration.json").read_text())["recipes"].values()))
        cost.rows = steps * recipe["batch"] or None
        rate = _bars_a_second(logs, skip=1)  # the first point: compilation, or the steps before a resumption
        cost.rate = rate * recipe["batch"] if rate else None
    elif rule in TABLES:
        cost.unit, tables = TABLES[rule]
        cost.rows = _rows(results, tables)
        if rule in ("features_extract", "infer_answer"):
            cost.rate = _bars_a_second(logs, skip=int(rule == "features_extract"))  # where the tower is compiled


def _rows(results: Path, patterns: Iterable[str]) -> int | None:
    files = {file for pattern in patterns for file in results.glob(pattern)}
    return sum(pq.read_metadata(file).num_rows for file in files) if files else None


def _megabytes(results: Path) -> int:
    """Of the checkpoints that were hashed."""
    total = 0
    for record in results.glob("models/**/*.json"):
        content = json.loads(record.read_text())
        if "folder" in content and "family" in content:
            total += sum((record.parent / content["folder"] / name).stat().st_size for name in content["files"])
    return total // 10**6


def _seconds(clock: str) -> int:
    total = 0
    for part in clock.split(":"):
        total = 60 * total + int(part)
    return total


def _bars_a_second(logs: Iterable[Path], skip: int) -> float | None:
    """Steps a second over the progress bars of logs, each from its first point, or a later one, to its last."""
    steps = seconds = 0
    for log in logs:
        bars: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for name, done, clock in BAR.findall(log.read_text(encoding="utf-8", errors="replace")):
            if not any(word in name.lower() for word in ("load", "writ", "map", "fetch")):
                bars[name.strip()].append((int(done), _seconds(clock)))
        for points in bars.values():
            first, last = points[skip if len(points) > skip + 1 else 0], points[-1]
            steps, seconds = steps + last[0] - first[0], seconds + last[1] - first[1]
    return steps / seconds if steps > 0 and seconds > 0 else None


def _pairs_a_second(logs: Iterable[Path]) -> float | None:
    """Of a judge's job, between its first and its last word on progress where there are two: loading left out."""
    rates = []
    for log in logs:
        points = [
            (int(done), int(done) / float(rate))
            for done, rate in PAIRS.findall(log.read_text(encoding="utf-8", errors="replace"))
            if float(rate) > 0
        ]
        if points:
            (first, early), (last, late) = points[0], points[-1]
            rates.append((last - first) / (late - early) if last > first and late > early else last / late)
    return sum(rates) / len(rates) if rates else None


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def print_costs(run: Path, usage: Usage) -> None:
    """Print a row for each rule, and what a full FLARE run costs at these rates."""
    by_job = costs(run, usage)
    lines = []
    for job, cost in by_job.items():
        busy, looks = usage.busy.get(job, (0.0, 0))
        lines.append(
            [
                *(job, cost.jobs, _number(cost.seconds / 60, 2), _number(usage.peak.get(job))),
                *(_number(busy / looks if looks else None, 0), _number(cost.rows, 0), cost.unit or "–"),
                *(_number(cost.whole), _number(cost.rate), _number(cost.fixed if cost.rate else None, 0)),
            ]
        )
    head = ["rule", "jobs", "minutes", "peak GiB", "GPU busy %", "rows", "of", "a second, all", "a second, at work"]
    print("\n" + table([*head, "start s"], lines))
    print(
        f"Peak and busy: of the rule's GPUs, looked at every two seconds. At work: one job without start and loading "
        f"(`start s`).\nCalls so far: {', '.join(f'{seconds / 60:.1f} min' for seconds in usage.calls)}; "
        f"tries cut short: {', '.join(f'{job} {seconds:.0f} s' for job, seconds in usage.cut.items()) or 'none'}."
    )
    _print_lengths(run / "results")
    _print_full(run / "results", by_job)


def _print_lengths(results: Path) -> None:
    """Tokens of prompts and answers: rates hold for these."""
    for file in sorted(results.glob("predictions/*/*.parquet")):
        columns = pq.read_table(file, columns=["prompt_tokens", "new_tokens", "finish_reason"]).to_pydict()
        pairs = [(p, n) for p, n in zip(columns["prompt_tokens"], columns["new_tokens"], strict=True) if n is not None]
        if pairs:
            prompt, new = (sum(column) / len(pairs) for column in zip(*pairs, strict=True))
            stopped = columns["finish_reason"].count("stop") / len(pairs)
            print(
                f"{file.stem}: {prompt:.0f} prompt and {new:.0f} new tokens a row, {stopped:.0%} stopped by themselves"
            )


def _print_full(results: Path, by_job: dict[str, Cost]) -> None:
    """GPU hours of all of FLARE: each step's rows over its rate at work, and one start."""
    systems = len(json.loads((results / "configuration.json").read_text())["systems"])
    full = {
        "features_extract": (IMAGES, "images, once each"),
        "train_tune": (EPOCHS * TRAINING, f"{TRAINING:,} rows, {EPOCHS} epochs"),
        "infer_answer": (2 * VALIDATION, f"base and tuned, {VALIDATION:,} rows each"),
        "score_judge crimson": ((systems + 1) * REPORTS, f"at most: {systems} systems and the references"),
        "score_judge green": (systems * REPORTS, f"at most: {systems} systems"),
    }
    lines, hours = [], 0.0
    for job, (amount, what) in full.items():
        cost = by_job.get(job)
        rate = (cost.rate or cost.whole) if cost else None
        needed = None if cost is None or not rate else (amount / rate + cost.fixed) / 3600
        hours += needed or 0.0
        lines.append([job, f"{amount:,}", what, _number(rate), _number(needed, 2)])
    lines.append(["all", "", "", "", _number(hours, 2)])
    print(f"\nAll of FLARE ({ROWS:,} rows, {TRAINING:,} of them for training) at these rates, on one such GPU:")
    print(table(["step", "rows", "what they are", "a second", "GPU hours"], lines))


def print_judged(results: Path) -> None:
    """Print the judged columns of the table: rows with a judgement, invalid replies, and the commonest reasons."""
    lines = []
    with (results / "report/validation/table.csv").open(newline="", encoding="utf-8") as source:
        for line in csv.DictReader(source):
            if line["judge"] and line["metric"] in JUDGED and line["subset"] == "pooled" and not line["stratum"]:
                rows, invalid = int(line["rows"]), int(line["invalid"])
                valid = rows - invalid - int(line["abstained"])
                lines.append(
                    [
                        line["judge"],
                        line["metric"],
                        line["system"],
                        valid,
                        invalid,
                        _number(float(line["value"]) if line["value"] else None, 3),
                    ]
                )
    print("\n" + table(["judge", "metric", "system", "n", "invalid", "value"], sorted(lines)))
    for file in sorted(results.glob("scores/*/judgements/*.parquet")):
        columns = pq.read_table(file, columns=["status", "reason"]).to_pydict()
        reasons = Counter(reason[:70] for reason in columns["reason"] if reason)
        common = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(3))
        print(f"{file.stem}: {dict(Counter(columns['status']))} {common}")
