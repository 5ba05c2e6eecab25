"""A real browser for tests of pages: Debian's Chromium, driven by playwright."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.report.conftest import split  # noqa: F401 - a fixture

CHROMIUM = Path("/usr/bin/chromium")
VARIABLE = "FLAREBENCH_BROWSER"
"""If it is set, a browser must be there. Its value may be the path of one."""


def chromium() -> str | None:
    """Path of the browser; None where there is none and nobody asks for one."""
    given = os.environ.get(VARIABLE, "")
    if Path(given).is_file():
        return given
    return str(CHROMIUM) if CHROMIUM.is_file() or given else None


@pytest.fixture(scope="session")
def browser():
    """A browser process, shared by all tests."""
    path = chromium()
    if path is None:
        pytest.skip(f"{CHROMIUM} is not there; install chromium, or set {VARIABLE} to a browser's path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        process = running.chromium.launch(executable_path=path)
        yield process
        process.close()


class Visit:
    """A page, with what it said and what it asked the network for."""

    def __init__(self, page) -> None:
        self.page = page
        self.said: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.requests.append(request.url))

    @property
    def outside(self) -> list[str]:
        """Requests that leave this machine's files."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@contextmanager
def visited(
    context, path: Path, fragment: str = "", width: int = 1440, height: int = 900, scheme: str = "light"
) -> Iterator[Visit]:
    """A page once its script has run; afterwards it must have said nothing and asked no network."""
    visit = Visit(context.new_page())
    visit.page.set_viewport_size({"width": width, "height": height})
    visit.page.emulate_media(color_scheme=scheme)
    try:
        visit.page.goto(f"{path.as_uri()}{fragment}")
        visit.page.wait_for_selector("html[data-ready=true]", timeout=60_000)
        yield visit
        assert visit.said == []
        assert visit.outside == []
    finally:
        visit.page.close()


@pytest.fixture(scope="session")
def visit(browser):
    """`visit(path, fragment, width=…, scheme=…)` opens a page, see `visited`; all share one context."""
    context = browser.new_context()

    def opened(path: Path, fragment: str = "", **settings):
        return visited(context, path, fragment, **settings)

    return opened


IS_LIGHT = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] > 128"
"""Whether a page stands on light ground."""


def wait_until(page, condition: str, seconds: float = 20.0) -> None:
    """Wait until an expression of JavaScript is true; playwright's own way is an `eval`, which the pages forbid."""
    end = time.monotonic() + seconds
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < end, f"after {seconds} s not yet: {condition}"
        page.wait_for_timeout(20)


def serious_violations(page) -> list[str]:
    """What axe-core finds on the page that is serious or critical, with the first element of each."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {rule['nodes'][0]['html'][:200]}"
        for rule in violations
        if rule["impact"] in ("serious", "critical")
    ]


@pytest.fixture(scope="session")
def report(split) -> Path:  # noqa: F811
    """The page of the split."""
    return split["out"]
