"""The report page in a real browser: filters, order, links, keys, boxes, looks, and hostile texts."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageColor

from tests.browser.conftest import serious_violations, wait_until
from tests.report.splits import HOSTILE, MARK, SYSTEMS, scored_split
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Row, RowFact
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.page import write_page
from workflow_scripts.report.palette import REFERENCE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """The arguments of a page of 35 rows, which is written."""
    arguments = scored_split(tmp_path_factory.mktemp("split"))
    write_page(**arguments)
    return arguments


@pytest.fixture(scope="module")
def report(split) -> Path:
    """The page of the split."""
    return split["out"]


def count(page) -> int:
    """How many cases match, by the page's own words."""
    text = page.inner_text("#case-count")
    return int(text.removeprefix("All ").split()[0].replace(",", ""))


def shown(page) -> list[str]:
    """The last parts of the uids in the list, in order."""
    rows = page.query_selector_all("#case-list .row")
    return [row.query_selector(".place").inner_text().rsplit("·", 1)[1].strip() for row in rows]


def choose(page, name: str, value: str) -> None:
    page.select_option(f"#find-{name}", value)
    wait_until(page, f"location.hash.includes('{name}=') || '{value}' === ''")


def open_uid(page) -> str:
    return page.inner_text("#case-detail code")


def test_the_first_screen_says_whether_tuning_helped(report, visit):
    with visit(report) as opened:
        verdict = opened.page.locator(".verdict").first
        assert verdict.inner_text().startswith("Tuning helped in ")
        assert verdict.bounding_box()["y"] < 400
        assert opened.page.locator("#results tbody tr").count() == 7


def test_filters_show_the_rows_that_the_tables_hold(split, report, visit):
    rows = read_rows(split["split"], Row)
    scores = {(f.uid, f.system): f.value for f in read_rows(split["facts"], RowFact) if f.fact == ROW_SCORE}
    with visit(report) as opened:
        page = opened.page
        assert count(page) == len(rows)
        choose(page, "task", "counting")
        assert count(page) == sum(row.task == "counting" for row in rows)
        page.click("#case-reset")
        choose(page, "modality", "Clinical")
        assert count(page) == sum(row.modality == "Clinical" for row in rows)
        page.click("#case-reset")
        choose(page, "system", "tuned")
        choose(page, "score", "partly")
        assert count(page) == sum(0 < scores.get((row.uid, "tuned"), 0) < 1 for row in rows)
        page.click("#case-reset")
        choose(page, "change", "improved")
        better = [row for row in rows if scores.get((row.uid, "tuned"), 0) > scores.get((row.uid, "base"), 0)]
        assert count(page) >= len(better) > 0
        page.click("#case-reset")
        page.fill("#find-text", "IMAGE 23 show")
        wait_until(page, "document.querySelector('#case-count').innerText.startsWith('1 of')")
        assert open_uid(page).endswith("/23")
        page.fill("#find-text", "nowhere at all")
        page.wait_for_selector("#case-none:not([hidden])")
        page.click("#case-none-reset")
        assert count(page) == len(rows)


def test_rows_are_ordered_by_what_tuning_changed(split, report, visit):
    scores = {(f.uid, f.system): f.value for f in read_rows(split["facts"], RowFact) if f.fact == ROW_SCORE}
    gain = {
        uid.rsplit("/", 1)[1]: scores[uid, "tuned"] - scores[uid, "base"]
        for uid, system in scores
        if system == "tuned" and (uid, "base") in scores
    }
    with visit(report, "#sort=improved") as opened:
        gains = [gain[tail] for tail in shown(opened.page) if tail in gain]
        assert gains == sorted(gains, reverse=True) and gains[0] > 0
    with visit(report, "#sort=harmed") as opened:
        gains = [gain[tail] for tail in shown(opened.page) if tail in gain]
        assert gains == sorted(gains)


def test_a_link_opens_its_case_and_the_address_follows_the_reader(report, visit):
    uid = "validation/detection/questions/9"
    with visit(report, f"#task=detection&case={uid}") as opened:
        page = opened.page
        assert open_uid(page) == uid
        assert page.input_value("#find-task") == "detection"
        page.click("#case-after")
        wait_until(page, "!location.hash.includes('questions%2F9')")
        second = open_uid(page)
        page.goto(f"{report.as_uri()}#task=counting")
        wait_until(page, "document.querySelector('#find-task').value === 'counting'")
        page.goto(f"{report.as_uri()}#case={second}")
        wait_until(page, f"document.querySelector('#case-detail code')?.innerText === '{second}'")
        page.goto(f"{report.as_uri()}#case=nobody")
        page.wait_for_selector("#case-unknown:not([hidden])")


def test_every_control_says_what_a_link_of_the_page_looks_for(report, visit):
    with visit(report) as opened:
        page = opened.page
        links = page.eval_on_selector_all("a[href^='#'][href*='=']", "links => links.map(link => link.hash)")
        assert any("from=" in link for link in links)
        for link in sorted(set(links), key=len)[-40:]:
            page.goto(report.as_uri() + link)
            wait_until(page, "document.querySelector('#case-busy').hidden")
            empty = "controls => controls.filter(control => control.selectedIndex < 0).map(control => control.id)"
            assert page.eval_on_selector_all("select[id^='find-']", empty) == [], link


def test_a_cell_of_the_table_leads_to_its_cases(report, visit):
    with visit(report) as opened:
        page = opened.page
        page.locator("#results tbody tr", has_text="counting").locator("td a").first.click()
        wait_until(page, "location.hash.includes('system=base')")
        assert (page.input_value("#find-task"), page.input_value("#find-system")) == ("counting", "base")
        assert count(page) == 5


def test_the_keys_do_what_the_help_says(report, visit):
    with visit(report) as opened:
        page = opened.page
        first = open_uid(page)
        page.keyboard.press("j")
        wait_until(page, f"document.querySelector('#case-detail code').innerText !== '{first}'")
        page.keyboard.press("k")
        wait_until(page, f"document.querySelector('#case-detail code').innerText === '{first}'")
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "find-text"
        page.keyboard.type("j")
        assert page.input_value("#find-text") == "j"
        page.keyboard.press("Escape")
        page.fill("#find-text", "")
        page.locator("#find-text").blur()
        page.keyboard.press("?")
        assert page.locator("#case-help").is_visible()
        page.keyboard.press("Escape")
        assert not page.locator("#case-help").is_visible()
        page.focus("#case-list")
        page.keyboard.press("End")
        wait_until(page, "document.querySelector('#case-place').innerText.startsWith('35 of')")


def test_next_like_this_goes_the_same_way(split, report, visit):
    with visit(report, "#case=validation/classification/questions/0") as opened:
        page = opened.page
        levels = [page.locator(f"#case-detail .answer[data-system={name}] .chip").first for name in ("base", "tuned")]
        before = [level.inner_text() for level in levels]
        page.keyboard.press("n")
        wait_until(page, "!document.querySelector('#case-detail code').innerText.endsWith('/0')")
        assert "classification" in open_uid(page)
        assert [level.inner_text() for level in levels] == before


PINNED = """
.case { container-type: normal !important }
.frame { position: fixed !important; left: 0; top: 0; z-index: 9 }
"""
"""The image at whole pixels of the window, in front of everything."""


@pytest.mark.parametrize("zoom", ["1", "2"])
@pytest.mark.parametrize(("task", "number"), [("detection", 2), ("instance_detection", 3)])
def test_boxes_lie_on_their_pixels(report, visit, task, number, zoom):
    """The drawn box of the reference meets the edges of the white mark of the image, within one pixel."""
    with visit(report, f"#case=validation/{task}/questions/{number}", width=2600, height=2000) as opened:
        page = opened.page
        for system in SYSTEMS:
            page.uncheck(f"[data-toggle='{system}']")
        page.click(f"[data-zoom='{zoom}']")
        page.add_style_tag(content=PINNED)
        wait_until(page, "document.querySelector('.frame img').complete")
        frame = page.locator(".frame").first
        drawn = pixels(frame)
        reference = np.array(ImageColor.getrgb(REFERENCE))
        ink = np.abs(drawn - reference).sum(axis=2) < 12
        page.evaluate(
            "document.querySelector('.frame .boxes').remove(), document.querySelector('.frame .tags').remove()"
        )
        bare = pixels(frame)
        scale = float(zoom)
        assert drawn.shape[:2] == (round(900 * scale), round(1200 * scale))
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


def test_every_colour_follows_the_metric(split, report, visit):
    facts = {(f.uid, f.system): f.value for f in read_rows(split["facts"], RowFact) if f.fact == ROW_SCORE}
    rows = read_rows(split["split"], Row)
    with visit(report) as opened:
        page = opened.page
        seen = {}
        for _ in rows:
            uid = open_uid(page)
            for card in page.query_selector_all("#case-detail .answer[data-system]"):
                chip = card.query_selector(".chip")
                seen[uid, card.get_attribute("data-system")] = (chip.get_attribute("class"), chip.inner_text())
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_and_is_accessible(report, visit, width, scheme):
    def overflow(page) -> int:
        return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    with visit(report, "#task=detection&sort=improved", width=width, scheme=scheme) as opened:
        page = opened.page
        assert page.locator(".frame .boxes").count() == 1
        assert overflow(page) == 0
        assert serious_violations(page) == []
        choose(page, "task", "report")
        wait_until(page, "document.querySelector('#case-detail .findings') !== null")
        assert overflow(page) == 0


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page whose every text is hostile; one is very long."""

    def change(row: Row) -> Row:
        question = HOSTILE * 2000 if row.source_row == 0 else HOSTILE + row.question
        named = {"case_id": HOSTILE + row.case_id, "subset": HOSTILE + row.subset, "modality": HOSTILE}
        return replace(row, question=question, answer=row.answer + HOSTILE, notes=(HOSTILE,), **named)

    arguments = scored_split(tmp_path_factory.mktemp("hostile"), copies=2, change=change, ending=HOSTILE)
    arguments["report"] = arguments["report"].model_copy(update={"title": HOSTILE, "caption": HOSTILE})
    write_page(**arguments)
    return arguments


@pytest.mark.parametrize("width", [390, 1440])
def test_hostile_texts_stay_text(hostile, visit, width):
    assert len(HOSTILE * 2000) > 200_000
    with visit(hostile["out"], width=width) as opened:
        page = opened.page
        start = '<script>document.title="owned"'
        assert page.inner_text("h1").startswith(start) and page.title().startswith(start)
        for place in range(14):
            detail = page.locator("#case-detail")
            assert detail.locator(".question .text").inner_text().startswith(start)
            assert start in detail.locator(".answer.reference .text").inner_text()
            if page.locator("#case-detail .answer[data-system=base] em").count() == 0:
                assert start in detail.locator(".answer[data-system=base] .text").inner_text()
            page.keyboard.press("j")
            if place < 13:
                wait_until(page, f"document.querySelector('#case-place').innerText.startsWith('{place + 2} of')")
        page.fill("#find-text", "onerror=")
        wait_until(page, "document.querySelector('#case-count').innerText.startsWith('All')")
        assert page.evaluate("document.querySelectorAll('script:not([type])').length") == 1
        assert page.evaluate("document.querySelectorAll('[onerror], [onload], iframe, object').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
        assert not set("\u202e\u2066") & set(page.inner_text("body"))  # shown by their code points
    text = hostile["out"].read_text(encoding="utf-8")
    assert "<script>document" not in text and "{{" not in text.split("<script type=")[0].replace("{{ 7 * 7 }}", "")


def test_a_script_that_is_not_the_pages_own_cannot_run(report, visit, tmp_path):
    page = tmp_path / "index.html"
    text = report.read_text(encoding="utf-8")
    page.write_text(text.replace("</main>", "<script>window.other = true</script></main>"), encoding="utf-8")
    with pytest.raises(AssertionError, match="Content Security Policy"), visit(page) as opened:
        assert opened.page.evaluate("window.other") is None


def test_images_beside_the_page_are_shown(split, visit, tmp_path):
    settings = split["report"].model_copy(update={"embedded_megabytes": 0.01})
    out = tmp_path / "page/index.html"
    write_page(**(split | {"report": settings, "out": out, "images": out.parent / "images"}))
    assert len(list((out.parent / "images").iterdir())) == 35
    with visit(out, "#task=detection") as opened:
        wait_until(opened.page, "document.querySelector('.frame img').naturalWidth > 0")
        assert json.dumps(opened.requests).count("images/") >= 1
