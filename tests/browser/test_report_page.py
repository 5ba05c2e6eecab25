"""The report page in a real browser: what the first screen says, filters, order, links and keys."""

import pytest

from tests.browser.conftest import wait_until
from tests.browser.report_page import choose, count, open_uid, shown
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Row, RowFact
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.slow


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
        choose(opened.page, "sort", "harmed")
        wait_until(opened.page, "location.hash.includes('sort=harmed')")
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
