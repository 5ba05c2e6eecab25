"""An open case of the report page in a real browser: its images with boxes, colours, findings and texts."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageColor

from tests.browser.conftest import wait_until
from tests.browser.report_page import choose, count, open_uid
from tests.conftest import make_row
from tests.report.pages import page_of
from tests.report.splits import HOSTILE, MARK, SYSTEMS
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Box, Row, RowFact
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.page import write_page
from workflow_scripts.report.palette import REFERENCE

pytestmark = pytest.mark.slow


PINNED = """
.case { container-type: normal !important }
.frame { position: fixed !important; left: 0; top: 0; z-index: 9 }
.frame.bare .boxes, .frame.bare .tags { visibility: hidden }
.tools { position: fixed; right: 0; bottom: 0; z-index: 10 }
"""
"""The image at whole pixels of the window, in front of everything."""


@pytest.mark.parametrize(("task", "number"), [("detection", 2), ("instance_detection", 3)])
def test_boxes_lie_on_their_pixels(report, visit, task, number):
    """The drawn box of the reference meets the edges of the white mark of the image, within one pixel."""
    with visit(report, f"#case=validation/{task}/questions/{number}", width=2600, height=2000) as opened:
        page = opened.page
        for system in SYSTEMS:
            page.uncheck(f"[data-toggle='{system}']")
        page.add_style_tag(content=PINNED)
        wait_until(page, "document.querySelector('.frame img').complete")
        for scale in (1, 2):
            assert_boxes_on_pixels(page, scale)


def assert_boxes_on_pixels(page, scale: int) -> None:
    """The reference's box in a zoom, against its corners and against the mark in the image without boxes."""
    page.click(f"[data-zoom='{scale}']")
    frame, hide = page.locator(".frame").first, "document.querySelector('.frame').classList.toggle('bare')"
    drawn = pixels(frame)
    page.evaluate(hide)
    bare = pixels(frame)
    page.evaluate(hide)
    reference = np.array(ImageColor.getrgb(REFERENCE))
    ink = np.abs(drawn - reference).sum(axis=2) < 12
    assert drawn.shape[:2] == (900 * scale, 1200 * scale)
    for axis, (low, high) in ((1, (MARK[0], MARK[2])), (0, (MARK[1], MARK[3]))):
        inked = np.flatnonzero(ink.sum(axis=1 - axis) > 100 * scale)
        sides = np.split(inked, np.flatnonzero(np.diff(inked) > 3) + 1)
        assert len(sides) == 2
        bright = np.flatnonzero((bare.min(axis=2) > 148).sum(axis=1 - axis) > 100 * scale)
        for side, edge, mark_edge in zip(sides, (low, high), (bright[0], bright[-1] + 1), strict=True):
            centre = (side[0] + side[-1] + 1) / 2
            assert abs(centre - edge * scale) <= 1
            assert abs(centre - mark_edge) <= 1


def pixels(locator) -> np.ndarray:
    return np.asarray(Pillow.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


def test_boxes_are_told_apart_by_dashes_and_can_be_hidden(report, visit):
    with visit(report, "#case=validation/detection/questions/2") as opened:
        page = opened.page
        dashes = page.eval_on_selector_all(
            ".box .stroke",
            "nodes => nodes.map((node) => [node.parentNode.dataset.side, node.getAttribute('stroke-dasharray')])",
        )
        assert len({dash for _, dash in dashes}) == len({side for side, _ in dashes}) == 4
        base = page.locator(".box[data-side=base]").first
        assert base.is_visible()
        page.uncheck("[data-toggle=base]")
        assert not base.is_visible()
        page.keyboard.press("j")
        page.keyboard.press("k")
        assert not page.locator(".box[data-side=base]").first.is_visible()


CHIPS = """[...document.querySelectorAll('#case-detail .answer[data-system]')].map((card) => {
    const chip = card.querySelector('.chip');
    return [card.dataset.system, chip.className, chip.innerText];
})"""
"""Each system's chip in the open case."""


def test_every_colour_follows_the_metric(split, report, visit):
    facts = {(f.uid, f.system): f.value for f in read_rows(split["facts"], RowFact) if f.fact == ROW_SCORE}
    rows = read_rows(split["split"], Row)
    with visit(report) as opened:
        page = opened.page
        seen = {}
        for _ in rows:
            uid = open_uid(page)
            for system, classes, text in page.evaluate(CHIPS):
                seen[uid, system] = (classes, text)
            place = page.inner_text("#case-place")
            page.keyboard.press("j")
            if not place.startswith(f"{len(rows)} of"):
                wait_until(page, f"document.querySelector('#case-place').innerText !== '{place}'")
    assert len(seen) == 3 * len(rows)
    for key, (classes, text) in seen.items():
        score = facts.get(key)
        level = "unscored" if score is None else "right" if score >= 1 else "partly" if score > 0 else "wrong"
        assert classes == f"chip {level}", key
        assert score is None or text.endswith(f"{score:.2f}"), key


def test_a_judges_findings_stand_beside_the_report(report, visit):
    with visit(report, "#task=report&shows=a missing finding&system=base") as opened:
        page = opened.page
        assert count(page) > 0
        card = page.locator("#case-detail .answer[data-system=base]")
        assert card.locator("li.missing").count() > 0
        assert "rules, no model" in card.inner_text()


def test_the_list_names_the_finding_that_went_wrong(report, visit):
    with visit(report, "#task=report&shows=a missing finding&system=base") as opened:
        page = opened.page
        missing = page.locator("#case-detail .answer[data-system=base] li.missing bdi").all_inner_texts()
        more = f" + {len(missing) - 1}" if len(missing) > 1 else ""
        chosen = page.locator("#case-list .row[aria-selected=true] .snippet")
        assert chosen.inner_text() == f"base misses: {missing[0]}{more}"
        choose(page, "shows", "a false finding")
        assert page.locator("#case-list .snippet").first.inner_text().startswith("base adds: ")
        choose(page, "task", "counting")
        page.click("#case-reset")
        assert page.locator("#case-list .snippet").first.inner_text().startswith("What does image")


def test_images_beside_the_page_are_shown(split, visit, tmp_path):
    settings = split["report"].model_copy(update={"embedded_megabytes": 0.01})
    out = tmp_path / "page/index.html"
    write_page(**(split | {"report": settings, "out": out, "images": out.parent / "images"}))
    assert len(list((out.parent / "images").iterdir())) == 35
    with visit(out, "#task=detection") as opened:
        wait_until(opened.page, "document.querySelector('.frame img').naturalWidth > 0")
        assert json.dumps(opened.requests).count("images/") >= 1


def test_an_answer_in_the_models_own_boxes_is_shown_as_it_is_read_and_as_it_was_written(visit, root, tmp_path):
    row = replace(make_row(root, 1), task="detection", boxes=(Box(6, 4, 32, 48),))
    written, read = '[{"box_2d": [100, 100, 1000, 500]}] ' + HOSTILE, "[[6, 4, 32, 48]]"
    for name, outcome in (
        ("carried", {"text": written, "answer": read, "strict": read}),
        ("faulty", {"text": written, "answer": written, "box_fault": HOSTILE, "outcome": "malformed"}),
    ):
        (tmp_path / name).mkdir()
        page_of(tmp_path / name, root, rows=[row], outcome=outcome)
        with visit(tmp_path / name / "page/index.html") as opened:
            card = opened.page.locator("#case-detail .answer[data-system=a]")
            assert card.locator(".text").first.inner_text().startswith(outcome["answer"][:20])
            if "box_fault" not in outcome:
                card.locator("details summary").click()
                assert card.locator("summary").inner_text() == "As the model wrote it, with boxes in its own form"
                assert card.locator("details .text").inner_text().startswith('[{"box_2d": [100, 100, 1000, 500]}]')
            else:
                assert (
                    card.locator(".warning").inner_text().startswith("Boxes in the model's own form cannot be read: <")
                )
            assert opened.page.title() != "owned"
