"""Explanation maps on the page: overlays that lie where they belong, words beside them, and a section of measures."""

import base64
import io

import numpy as np
import PIL.Image
import pytest

from tests.conftest import make_row
from tests.report.maps import write_maps
from tests.report.pages import cases_of, page_of
from workflow_scripts.core.saliency.grids import TokenGrid
from workflow_scripts.core.saliency.rows import SaliencyMap
from workflow_scripts.report.saliency.overlays import overlay, pixels_of, place_words

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\u202e"


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    rows = [make_row(root, 0), make_row(root, 1)]
    return page_of(folder, root, rows=rows, **write_maps(folder, rows[0], HOSTILE))


def test_a_case_has_its_maps_and_another_has_none(page):
    first, second = cases_of(page)
    assert "maps" not in second and len(first["maps"]) == 4
    image, label, data, description, words = first["maps"][0]
    assert (image, label) == (0, "a: occlusion")
    assert description == "Map of a: occlusion: strongest in the upper left"
    assert "deletion 0.75, insertion 0.75" in words and "75 % of what speaks for the answer lies in them" in words
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert first["fills"] == ["a, reference boxes: another answer; elsewhere, another in 50 % of the draws"]


def test_what_a_model_wrote_stays_text(page):
    assert HOSTILE not in page and "onerror" not in page
    assert HOSTILE in cases_of(page)[0]["maps"][0][4]


def test_the_section_has_every_measure_and_says_what_speaks_against_a_map(page):
    section = page.split('<section id="saliency"')[1].split("</section>")[0]
    for text in ("redrawn weights", "Gaussian in the middle", "chance", "0.75", "reference boxes"):
        assert text in section
    assert "hardly change when the weights are redrawn" in section
    assert '<a href="#saliency">Explanation maps</a>' in page


def test_a_page_without_maps_says_nothing_of_them(root, tmp_path):
    page = page_of(tmp_path, root)
    assert 'id="saliency"' not in page and not any("maps" in case for case in cases_of(page))


def test_an_overlay_is_opaque_where_the_map_is_strong_and_coloured_by_its_sign():
    stored = PIL.Image.open(io.BytesIO(overlay(np.array([[4.0, -2.0], [0.0, 0.01]]))))
    pixels = np.asarray(stored)
    assert pixels.shape == (2, 2, 4)
    assert pixels[0, 0].tolist() == [214, 48, 39, 200] and pixels[0, 1].tolist() == [49, 92, 214, 100]
    assert (pixels[1] == 0).all()
    assert (np.asarray(PIL.Image.open(io.BytesIO(overlay(np.zeros((3, 2)))))) == 0).all()


@pytest.mark.parametrize(("width", "height"), [(640, 320), (900, 1800), (31, 47)])
def test_an_overlay_has_the_form_of_its_image_and_its_values_where_the_tokens_are(width, height):
    grid = TokenGrid(2, 2, -100.0, 0.0, width - 100.0, float(height))  # a left part of it is padding
    one = SaliencyMap("u", "a", "occlusion", "own", 0, width, height, (grid,), (0.0, 1.0, 0.0, 0.0), "x")
    values = pixels_of(one)
    assert max(values.shape) <= 320 and abs(values.shape[1] / values.shape[0] - width / height) < 0.1
    scale = values.shape[1] / width
    lit = np.flatnonzero(values.sum(0) > 0)
    if width > 200:
        assert abs(lit[0] - (width / 2 - 100) * scale) <= 1 and abs(lit[-1] - (width - 100) * scale) <= 1
    assert not values[round(values.shape[0] / 2) + 1 :].any()


def test_a_place_is_named_in_words():
    values = np.zeros((9, 9))
    assert place_words(values) == "the same everywhere"
    values[4, 4] = 1
    assert place_words(values) == "strongest in the middle"
    values[8, 0] = 2
    assert place_words(values) == "strongest in the lower left"
