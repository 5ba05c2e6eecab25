"""What tests do with the report page in a browser: read its list, choose in its filters."""

from playwright.sync_api import Page

from tests.browser.conftest import wait_until


def count(page: Page) -> int:
    """How many cases match, by the page's own words."""
    text = page.inner_text("#case-count")
    return int(text.removeprefix("All ").split()[0].replace(",", ""))


def shown(page: Page) -> list[str]:
    """The last parts of the uids in the list, in order."""
    rows = page.query_selector_all("#case-list .row")
    return [row.query_selector(".place").inner_text().rsplit("·", 1)[1].strip() for row in rows]


def choose(page: Page, name: str, value: str) -> None:
    """Choose in a filter or order, and wait until the address says so."""
    page.select_option(f"#find-{name}", value)
    wait_until(page, f"location.hash.includes('{name}=') || '{value}' === ''")


def open_uid(page: Page) -> str:
    """The uid of the open case."""
    return page.inner_text("#case-detail code")
