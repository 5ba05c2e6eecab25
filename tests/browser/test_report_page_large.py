"""The page of 20,000 cases: how long it takes to write and to open, and how large it is."""

import resource
import subprocess
import sys
import time

import pytest

from tests.browser.conftest import wait_until
from tests.report.splits import as_flags, large_split

pytestmark = pytest.mark.extended

CASES, IMAGES = 20_000, 3_000
MOST_SECONDS, MOST_MIB, MOST_MEGABYTES = 60, 2048, 60
WORKERS = 2
BESIDE = 300
"""MiB that a process which scales images may take."""


def test_a_page_of_20000_cases_is_written_and_opened_soon(tmp_path, visit):
    arguments = large_split(tmp_path, CASES, IMAGES) | {"workers": WORKERS}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "workflow_scripts.report.page", *as_flags(arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Time of the processors and not of the clock: other work on the machine does not count.
    assert used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime < MOST_SECONDS
    assert used.ru_maxrss / 1024 + WORKERS * BESIDE < MOST_MIB
    assert arguments["out"].stat().st_size < MOST_MEGABYTES * 10**6
    started = time.monotonic()
    with visit(arguments["out"]) as opened:
        page = opened.page
        page.select_option("#find-task", "counting")
        wait_until(page, "document.querySelector('#case-count').innerText === '5,000 of 20,000 cases.'")
        assert time.monotonic() - started < 2
        assert page.locator("#case-list .row").count() < 60
        page.fill("#find-text", "question 1234:")
        wait_until(page, "document.querySelector('#case-count').innerText.startsWith('2 of')")
        wait_until(page, "document.querySelector('.frame img').naturalWidth > 0")
