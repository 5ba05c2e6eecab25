"""A report page whose every text is hostile, in a real browser: texts stay texts, and no script but its own runs."""

from dataclasses import replace

import pytest

from tests.browser.conftest import wait_until
from tests.browser.report_page import choose
from tests.report.splits import HOSTILE, JUDGE, LETTER, scored_split
from workflow_scripts.core.rows import Instance, JudgedFinding, JudgedPair, Option, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.report.figures import write_figures
from workflow_scripts.report.page import write_page
from workflow_scripts.report.plots.catalogue import read_figures

pytestmark = pytest.mark.slow


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
