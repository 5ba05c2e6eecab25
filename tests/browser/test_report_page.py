"""The report page in a real browser: filters, order, links, keys, boxes, looks, and hostile texts."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageColor

from tests.browser.conftest import IS_LIGHT, serious_violations, wait_until
from tests.report.splits import HOSTILE, JUDGE, LETTER, MARK, SYSTEMS, scored_split
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Instance, JudgedFinding, JudgedPair, Option, Row, RowFact
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.report.figures import write_figures
from workflow_scripts.report.page import write_page
from workflow_scripts.report.palette import REFERENCE
from workflow_scripts.report.plots.catalogue import read_figures

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


def hostile_row(row: Row) -> Row:
    """A row whose every text is hostile: names, options, labels, identities; the first question is 200 kB long."""
    question = HOSTILE * 2000 if row.source_row == 0 else HOSTILE + row.question
    changes = {"case_id": HOSTILE + row.case_id, "subset": HOSTILE + row.subset, "modality": HOSTILE}
    if row.task == "classification":
        options = (Option("A", HOSTILE + "benign"), Option("B", HOSTILE * 100))
        changes["expected"] = LETTER._replace(options=options)
    if row.task == "multi_label":
        changes["labels"] = tuple(HOSTILE + label for label in row.labels)
    if row.instances:
        changes["instances"] = tuple(Instance(HOSTILE * 2000, one.box) for one in row.instances)
    return replace(row, question=question, answer=row.answer + HOSTILE, notes=(HOSTILE * 2000,), **changes)


def hostile_findings(pair: str, times: int) -> list[JudgedFinding]:
    """What a judge may write of a pair of reports: findings, their significance, and errors of their attributes."""
    return [
        JudgedFinding(
            *(pair, JUDGE, "predicted" if fate == "false" else "reference", fate, HOSTILE * times, HOSTILE, fate),
            partners=(),
            errors=(HOSTILE * times,) if fate == "matched" else (),
        )
        for fate in ("missing", "false", "matched")
    ]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page whose every text is hostile, with its figures; some are very long."""
    folder = tmp_path_factory.mktemp("hostile")
    arguments = scored_split(folder, copies=2, change=hostile_row, ending=HOSTILE)
    arguments["report"] = arguments["report"].model_copy(update={"title": HOSTILE, "caption": HOSTILE})
    judged = [
        replace(pair, status="valid", metrics=("crimson",)) for pair in read_rows(folder / "judged.parquet", JudgedPair)
    ]
    write_rows(folder / "judged.parquet", judged, JudgedPair)
    findings = [one for n, pair in enumerate(judged) for one in hostile_findings(pair.pair, 1 if n else 2000)]
    for path in arguments["findings"]:
        write_rows(path, findings, JudgedFinding)
    shared = ("systems", "split", "metrics", "comparisons", "agreement", "outcomes", "findings", "baselines")
    arguments["figures"] = folder / "figures"
    write_figures(
        **{name: arguments[name] for name in shared},
        judgements=[folder / "judged.parquet"],
        pairs=["base:tuned"],
        results=folder,
        out=arguments["figures"],
    )
    write_page(**arguments)
    return arguments


def assert_no_markup_of_others(page) -> None:
    """No element or handler but the page's own, nothing wider than the window, and no turned text."""
    assert page.evaluate("document.querySelectorAll('script:not([type])').length") == 1
    foreign = "[onerror], [onload], iframe, object, svg script, svg a, svg image, svg foreignObject"
    assert page.evaluate(f"document.querySelectorAll('{foreign}').length") == 0
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    assert not set("\u202e\u2066") & set(page.inner_text("body"))  # shown by their code points


START = '<script>document.title="owned"'
"""What `HOSTILE` begins with."""


@pytest.mark.parametrize("width", [390, 1440])
def test_hostile_texts_stay_text(hostile, visit, width):
    assert len(HOSTILE * 2000) > 200_000
    with visit(hostile["out"], width=width) as opened:
        page = opened.page
        assert page.inner_text("h1").startswith(START) and page.title().startswith(START)
        for place in range(14):
            detail = page.locator("#case-detail")
            assert detail.locator(".question .text").inner_text().startswith(START)
            assert START in detail.locator(".answer.reference .text").inner_text()
            if page.locator("#case-detail .answer[data-system=base] em").count() == 0:
                assert START in detail.locator(".answer[data-system=base] .text").inner_text()
            page.keyboard.press("j")
            if place < 13:
                wait_until(page, f"document.querySelector('#case-place').innerText.startsWith('{place + 2} of')")
        page.fill("#find-text", "onerror=")
        wait_until(page, "document.querySelector('#case-count').innerText.startsWith('All')")
        assert_no_markup_of_others(page)
    text = hostile["out"].read_text(encoding="utf-8")
    assert "<script>document" not in text and "{{" not in text.split("<script type=")[0].replace("{{ 7 * 7 }}", "")
    assert len(text) < 10 * len(HOSTILE * 2000)


def test_hostile_findings_options_and_identities_stay_text(hostile, visit):
    with visit(hostile["out"], "#task=report&system=base&shows=a missing finding") as opened:
        page = opened.page
        findings = page.locator("#case-detail .answer[data-system=base] .findings li")
        assert all(text.split(" ", 2)[2].startswith(START) for text in findings.all_inner_texts()) and findings.count()
        assert page.locator("#case-list .snippet").first.inner_text().startswith(f"base misses: {START}")
        choose(page, "shows", "a finding with a wrong attribute")
        assert START in page.locator("#case-detail .attribute").first.inner_text()
        page.click("#case-reset")
        choose(page, "task", "classification")
        assert START in page.locator("#case-detail .meant").first.inner_text()
        choose(page, "task", "instance_detection")
        assert page.locator("#case-detail .tag").first.inner_text().startswith(START)
        assert "characters)" in page.locator("#case-detail .warning").inner_text()
        assert_no_markup_of_others(page)


def test_hostile_names_stay_text_in_figures(hostile, visit):
    figures = read_figures(hostile["figures"])
    assert {"confusion", "labels", "identities", "findings"} <= {figure.name.split("-")[0] for figure in figures}
    with visit(hostile["out"]) as opened:
        page = opened.page
        assert page.locator("figure > .wide > svg").count() == len(figures)
        for kind in ("confusion", "labels", "identities"):
            texts = page.locator(f"figure[id^={kind}] svg text").all_text_contents()
            assert any("script>" in text or "document.title" in text for text in texts), (kind, texts)
            title, caption = (page.locator(f"figure[id^={kind}] {part}").first for part in ("h3", "figcaption"))
            assert START in title.inner_text() and len(caption.text_content()) < 10_000
        assert_no_markup_of_others(page)


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
