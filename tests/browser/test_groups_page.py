"""The sections by group in a real browser: accessible and in bounds, by day and by night, hostile names as text."""

import pytest

from tests.browser.conftest import serious_violations
from tests.report.test_groups import written

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    return written(tmp_path_factory.mktemp("groups")).arguments["out"]


@pytest.mark.parametrize(("width", "scheme"), [pytest.param(1440, "light", marks=pytest.mark.extended), (390, "dark")])
def test_the_sections_are_accessible_and_nothing_leaves_the_page(page_file, visit, width, scheme):
    with visit(page_file, "#group-1", width=width, scheme=scheme) as opened:
        page = opened.page
        assert page.locator("section[id^='group-']").count() == 2
        page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert serious_violations(page) == []
        assert page.evaluate("document.querySelectorAll('section[id^=group-] img').length") == 0
        assert page.title() != "owned"


def test_a_link_of_the_contents_leads_to_a_group(page_file, visit):
    with visit(page_file) as opened:
        opened.page.click("nav[aria-label='Contents'] a[href='#group-2']")
        assert opened.page.evaluate("location.hash") == "#group-2"
        top = opened.page.locator("#group-2").bounding_box()["y"]
        assert -5 <= top <= 400
