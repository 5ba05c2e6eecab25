"""Explanation maps in a real browser: one at a time lies over its image, with a colour bar and words."""

import pytest

from tests.browser.conftest import serious_violations, wait_until
from tests.conftest import make_row
from tests.report.maps import write_maps
from tests.report.pages import page_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    rows = [make_row(root, 0), make_row(root, 1)]
    page_of(folder, root, rows=rows, **write_maps(folder, rows[0], "<b>17</b>"))
    return folder / "page/index.html"


@pytest.mark.parametrize("width", [1440, 390])
def test_a_chosen_map_lies_over_its_image_and_stays_chosen(visit, place, width):
    with visit(place, "#case=row/0", width=width) as seen:
        page = seen.page
        wait_until(page, "() => document.querySelector('#case-map')")
        overlays = page.locator(".overlay:not([hidden])")
        assert overlays.count() == 0 and page.locator(".map-bar").is_hidden()
        page.select_option("#case-map", "a: occlusion")
        assert overlays.count() == 2 and page.locator(".map-bar").is_visible()
        assert overlays.first.get_attribute("alt") == "Map of a: occlusion: strongest in the upper left"
        for number in range(2):
            frame = page.locator(".frame").nth(number)
            image, over = frame.locator("img:not(.overlay)").bounding_box(), frame.locator(".overlay:not([hidden])")
            assert over.bounding_box() == image
            assert over.evaluate("node => node.complete && node.naturalWidth > 0")
        assert "“<b>17</b>”" in page.locator(".map-words:not([hidden])").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert serious_violations(page) == [] and seen.outside == []
        page.keyboard.press("j")
        wait_until(page, "() => !document.querySelector('#case-map')")
        page.keyboard.press("k")
        wait_until(page, "() => document.querySelector('.overlay:not([hidden])')")
