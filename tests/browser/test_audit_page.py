"""The audit's page in Chromium: hostile texts stay text, filters, links and keys work, 20,000 findings are quick."""

import io
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import IS_LIGHT, serious_violations
from tests.data.roots import OPTIONS, converted, png, pngs, row, write_subset
from workflow_scripts.core.rows import AuditFinding
from workflow_scripts.data.auditing.attention import folder_counts, points, verdict
from workflow_scripts.data.auditing.balance import balances
from workflow_scripts.data.auditing.distributions import distributions, image_groups
from workflow_scripts.data.auditing.facts import approximate_tokens, audit_findings, label_counts, summarise
from workflow_scripts.data.auditing.leaks import leaks_of
from workflow_scripts.data.auditing.listing import Example, example_of, example_of_quarantined
from workflow_scripts.data.auditing.page import Overview, render

pytestmark = pytest.mark.slow

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>"
SUBSET = "<img src=x onerror=alert(4)>"
ATTRIBUTE = '" onmouseover="alert(5)" style="position:fixed;inset:0'
TURNED = "\u202egnp.exe\u2066"
SEEN = "[U+202E]gnp.exe[U+2066]"
FORMULA = '=HYPERLINK("http://example.com","x")'
MANY = 20_000


def photograph(seed, **save):
    """Shapes that look alike in all encodings, as bytes."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    stream = io.BytesIO()
    coarse.resize((240, 180), Image.Resampling.BICUBIC).save(stream, **save)
    return stream.getvalue()


def deep():
    """A PNG of 16 bits."""
    stream = io.BytesIO()
    Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20).save(stream, "PNG")
    return stream.getvalue()


def hostile_dataset(root):
    """A dataset with markup, turned text, a formula and 200 kB in every field that a dataset writes."""
    options = f"{OPTIONS} D) {EVIL} {ATTRIBUTE}"
    labels = f"Which apply? Choose from: {EVIL}; {FORMULA}; {TURNED}. Separate them with semicolons."
    records = [row(f"imagesTr/{i}.png", options, answer) for i, answer in enumerate("ABCD")]
    records += [row("imagesTr/0.png", labels, f"{FORMULA}; {TURNED}", "multi-label classification")]
    records += [row("imagesTr/1.png", f"How many {i}?", 3**i, "Counting") for i in range(12)]
    records += [row("imagesTr/0.png", "x" * 200_001, EVIL, "report generation")]
    records += [row(name, EVIL + ATTRIBUTE, EVIL) for name in (EVIL, ATTRIBUTE, TURNED, FORMULA)]
    records += [row("imagesTr/2.png", EVIL, {EVIL: FORMULA}, EVIL), {EVIL: EVIL}, [EVIL], EVIL]
    records += [row("imagesTr/deep.png"), row("imagesTr/look.png"), row("imagesTr/2.png", "Which?", EVIL)]
    images = {**pngs(4), "imagesTr/deep.png": deep(), "imagesTr/look.png": photograph(1, format="PNG")}
    write_subset(root, records, images, name=SUBSET)
    validation = {"imagesVal/v.png": png(0), "imagesVal/another.jpg": photograph(1, format="JPEG", quality=60)}
    write_subset(root, [row(name) for name in validation], validation, name=SUBSET, folder="validation-public")
    write_subset(root, EVIL, {}, name=f"{TURNED}{ATTRIBUTE}", file="questions.json")


def overview_of(result, leaks, findings):
    """What the page says besides the findings."""
    summary, labels = summarise(result.rows, approximate_tokens), label_counts(result.rows)
    balance = balances(labels, summary, result.rows)
    counts = folder_counts(result.rows, result.quarantine, leaks)
    return Overview(
        name=EVIL,
        verdict=verdict(counts, 1),
        points=points(counts, findings, result.conventions, balance),
        counts=counts,
        tokens=EVIL,
        conventions=result.conventions,
        summary=summary,
        balance=balance,
        distributions=distributions(result.rows, result.images, approximate_tokens),
        images=image_groups(result.images),
        leaks=leaks,
    )


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The page of the hostile dataset, its findings, and its overview."""
    place = tmp_path_factory.mktemp("hostile")
    hostile_dataset(place / "root")
    result = converted(place / "root", place)
    leaks = leaks_of(result.rows, result.images)
    findings = audit_findings(result.rows, result.quarantine, result.images, leaks)
    examples = {each.uid: example_of(each) for each in result.rows}
    examples |= {entry.uid: example_of_quarantined(entry) for entry in result.quarantine if entry.uid}
    overview = overview_of(result, leaks, findings)
    page = place / "audit.html"
    page.write_text(render(place / "root", findings, examples, overview), encoding="utf-8")
    return page, findings, overview


@pytest.fixture(scope="module")
def large(hostile, tmp_path_factory):
    """The page of 20,000 findings over 20 subsets with texts of their own."""
    kinds = ("missing_image", "no_answer", "invalid_box", "leaked_image", "stretched_image")
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(3000)]
    findings, examples = [], {}
    for i in range(MANY):
        uid = f"training/Xray/subset{i % 20}/questions/{i}"
        detail = f"not in the dataset: imagesTr/{rng.integers(1e12):x}.png"
        kind = kinds[i % 5]
        findings.append(AuditFinding(kind, "kept", f"subset{i % 20}", "training", uid, f"{i % 20}.json", i, detail))
        text = " ".join(words[k] for k in rng.integers(0, len(words), 30))
        examples[uid] = Example(text, str(rng.integers(1e9)), (f"training/{rng.integers(1e12):x}.png",))
    page = tmp_path_factory.mktemp("large") / "audit.html"
    page.write_text(render(page.parent, findings, examples, replace(hostile[2], name="large")), encoding="utf-8")
    return page, findings


def status(page, text):
    """Wait until the list says `text`."""
    page.get_by_role("status").get_by_text(text, exact=True).wait_for(timeout=20_000)


def numbers(page):
    """Numbers of the findings that are shown."""
    return [int(node.get_attribute("data-number")) for node in page.query_selector_all(".finding")]


@pytest.mark.parametrize(("width", "looked_at"), [(390, "dark"), (1440, "light")])
def test_nothing_overflows_and_both_schemes_are_readable(visit, hostile, width, looked_at):
    with visit(hostile[0], width=width) as opened:
        page = opened.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(IS_LIGHT) == (scheme == "light")
            if scheme == looked_at:
                assert serious_violations(page) == []


def test_hostile_texts_stay_text(visit, hostile):
    path, findings, _ = hostile
    kinds = {f.kind for f in findings}
    assert {"near_duplicate", "leaked_image", "stretched_image", "too_long", "missing_image"} <= kinds
    with visit(path) as opened:
        page, shown = opened.page, {}
        further = page.get_by_role("button", name="Next page")
        while True:
            for node in page.query_selector_all(".finding"):
                shown[int(node.get_attribute("data-number"))] = node.text_content()
            if further.is_disabled():
                break
            before = page.text_content("#place")
            further.click()
            page.locator("#place").filter(has_not_text=before).wait_for()
        assert sorted(shown) == list(range(len(findings)))
        everything = "\n".join(shown.values())
        assert all(text in everything for text in (EVIL, ATTRIBUTE, SEEN, FORMULA))
        assert page.text_content("main").count(SUBSET) > 5
        assert not {"\u202e", "\u2066"} & set(page.inner_text("body"))
        assert EVIL in page.text_content("h1") and EVIL in page.title()
        assert page.locator("script:not([type])").count() == 1
        assert page.locator("[onerror], [onload], [onmouseover], img[src=x]").count() == 0
        assert {url.split("#")[0] for url in opened.requests if not url.startswith("data:")} == {path.as_uri()}


def test_filters_and_their_addresses(visit, hostile):
    path, findings, _ = hostile
    count = len(findings)
    missing = [i for i, f in enumerate(findings) if f.kind == "missing_image"]
    matching = [i for i in missing if FORMULA in findings[i].detail]
    with visit(path) as opened:
        page = opened.page
        status(page, f"{count} of {count} findings")
        page.get_by_role("combobox", name="Kind").select_option("missing_image")
        status(page, f"{len(missing)} of {count} findings")
        assert numbers(page) == missing and page.url.endswith("#kind=missing_image")
        page.get_by_role("searchbox", name="Text").fill(FORMULA.upper())
        status(page, f"{len(matching)} of {count} findings")
        assert numbers(page) == matching and len(matching) == 1
        address = page.url[page.url.index("#") :]
        page.get_by_role("button", name="Clear").click()
        status(page, f"{count} of {count} findings")
        page.get_by_role("combobox", name="Subset").select_option(SUBSET)
        status(page, f"{sum(f.subset == SUBSET for f in findings)} of {count} findings")
    with visit(path, address) as opened:
        assert numbers(opened.page) == matching
        assert opened.page.get_by_role("searchbox", name="Text").input_value() == FORMULA.upper()
    with visit(path, "#kind=nothing") as opened:
        status(opened.page, f"0 of {count} findings")


def test_links_of_the_tables_lead_to_their_findings(visit, hostile):
    path, findings, overview = hostile
    count, number = len(findings), next(i for i, f in enumerate(findings) if f.kind == "stretched_image")
    (folder,) = [each for each in overview.counts if each.subset == SUBSET and each.folder == "training"]
    with visit(path) as opened:
        page = opened.page
        page.get_by_role("link", name="near duplicate").first.click()
        status(page, f"1 of {count} findings")
        subsets = page.get_by_role("region", name="Subsets")
        subsets.get_by_role("link", name=str(folder.quarantined), exact=True).first.click()
        status(page, f"{folder.quarantined} of {count} findings")
    with visit(path, f"#finding={number}") as opened:
        chosen = opened.page.locator(".finding.chosen")
        assert chosen.count() == 1 and int(chosen.get_attribute("data-number")) == number
        assert 0 <= chosen.bounding_box()["y"] < 900
    with visit(path, "#finding=99999") as opened:
        status(opened.page, "Finding 99999 is not listed.")


def test_keys_move_through_the_findings(visit, large):
    with visit(large[0]) as opened:
        page, focused = opened.page, "document.activeElement.dataset.number"
        page.keyboard.press("j")
        page.keyboard.press("j")
        assert page.evaluate(focused) == "1"
        page.keyboard.press("k")
        assert page.evaluate(focused) == "0"
        page.keyboard.press("n")
        page.get_by_text("page 2 of 1000").wait_for()
        assert numbers(page) == list(range(20, 40)) and page.url.endswith("#page=2")
        page.keyboard.press("p")
        page.get_by_text("page 1 of 1000").wait_for()
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "text"
        page.keyboard.type("jk/n")
        status(page, "0 of 20,000 findings")


def test_thumbnails_of_images_that_look_alike_stand_beside_each_other(visit, hostile):
    with visit(hostile[0]) as opened:
        images = opened.page.locator("h3#look-alikes ~ .cards img")
        assert images.count() == 2
        images.first.scroll_into_view_if_needed()
        first, second = (images.nth(i).bounding_box() for i in (0, 1))
        assert first["y"] == second["y"] and first["x"] + first["width"] <= second["x"]
        assert images.first.evaluate("(node) => node.decode().then(() => node.naturalWidth)") == 192
        opened.page.locator("#kind").select_option("near_duplicate")
        opened.page.locator(".finding img").nth(1).wait_for()
        assert opened.page.locator(".finding img").count() == 2


def test_20000_findings_open_and_filter_within_two_seconds(visit, large):
    """Each at the best of eight tries, mostly of one: others may share the cores."""
    path, findings = large
    opening, filtering, searching = [], [], []
    for _ in range(8):
        with visit(path) as opened:
            page = opened.page
            status(page, "20,000 of 20,000 findings")
            opening.append(page.evaluate("performance.now()") / 1000)  # since the page was asked for
            start = time.monotonic()
            page.get_by_role("combobox", name="Kind").select_option("no_answer")
            status(page, "4,000 of 20,000 findings")
            filtering.append(time.monotonic() - start)
            start = time.monotonic()
            page.get_by_role("combobox", name="Kind").select_option("")
            page.get_by_role("searchbox", name="Text").fill(findings[12_346].uid[-12:])
            status(page, "1 of 20,000 findings")
            searching.append(time.monotonic() - start)
            assert numbers(page) == [12_346]
        if opening[-1] + filtering[-1] < 2 and searching[-1] < 2:
            break
    best = f"opened in {min(opening):.2f} s, filtered in {min(filtering):.2f} s, searched in {min(searching):.2f} s"
    print(best)
    assert min(opening) + min(filtering) < 2 and min(searching) < 2, best
    assert path.stat().st_size < 15e6
