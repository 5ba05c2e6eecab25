"""The report page in a real browser: narrow and wide screens, both schemes, and readers of other kinds."""

import pytest

from tests.browser.conftest import IS_LIGHT, serious_violations, wait_until
from tests.browser.report_page import choose

pytestmark = pytest.mark.slow


def test_on_a_narrow_screen_further_filters_open_by_a_button_or_by_a_link_that_needs_them(report, visit):
    with visit(report, width=390) as opened:
        page = opened.page
        modality = page.locator("#find-modality")
        assert not modality.is_visible()
        assert page.locator("#case-form").bounding_box()["height"] < 300
        page.click("#find-more")
        assert modality.is_visible() and page.get_attribute("#find-more", "aria-expanded") == "true"
        page.click("#find-more")
        assert not modality.is_visible()
        page.goto(f"{report.as_uri()}#modality=CT")
        wait_until(page, "document.querySelector('#find-modality').value === 'CT'")
        assert modality.is_visible()
    with visit(report, width=1440) as opened:
        assert opened.page.locator("#find-modality").is_visible() and not opened.page.locator("#find-more").is_visible()


def test_what_is_wider_than_the_screen_says_that_it_scrolls(report, visit):
    right = """[...document.querySelectorAll('.wide')].every((node) =>
        node.hasAttribute('data-scrolls') === node.scrollWidth > node.clientWidth + 1)"""
    with visit(report, width=390) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        wait_until(opened.page, right)
        assert opened.page.locator(".wide[aria-label='Results by task'][data-scrolls]").count() == 1
        opened.page.set_viewport_size({"width": 2400, "height": 900})
        wait_until(opened.page, "document.querySelector('.wide[data-scrolls]') === null")


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_and_is_accessible_in_both_schemes(report, visit, width):
    def overflow(page) -> int:
        return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    with visit(report, "#task=detection&sort=improved", width=width) as opened:
        page = opened.page
        assert page.locator(".frame .boxes").count() == 1
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(IS_LIGHT) == (scheme == "light")
            assert overflow(page) == 0
            assert serious_violations(page) == []
        choose(page, "task", "report")
        wait_until(page, "document.querySelector('#case-detail .findings') !== null")
        assert overflow(page) == 0
