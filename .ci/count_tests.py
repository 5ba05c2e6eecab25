"""Print how many tests ran, and each reason for a skip; fail under a floor: a suite that lost tests passes no more."""

import argparse
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--floor", type=int, required=True, help="least number of tests that passed")
    parser.add_argument("reports", type=Path, nargs="+", help="JUnit XML that pytest wrote")
    given = parser.parse_args()
    cases = [case for report in given.reports for case in ElementTree.parse(report).iter("testcase")]
    failed = sum(case.find("failure") is not None or case.find("error") is not None for case in cases)
    skips = Counter(skip.get("message", "no reason") for case in cases if (skip := case.find("skipped")) is not None)
    passed = len(cases) - failed - skips.total()
    for reason, count in skips.most_common():
        print(f"{count} skipped: {reason}")
    print(f"{passed} passed, {failed} failed, {skips.total()} skipped")
    if passed < given.floor or failed:
        sys.exit(f"error: expected at least {given.floor} passed tests and no failed one")


if __name__ == "__main__":
    main()
