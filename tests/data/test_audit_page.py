"""The audit's page says what the tables say: verdict, findings, balance, histograms, leak groups; all is escaped."""

import base64
import gzip
import html
import html.parser
import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.roots import OPTIONS, convert_rows, converted, png, pngs, row, write_converted, write_subset
from tests.data.test_audit import audit
from workflow_scripts.cache.fingerprints import sources
from workflow_scripts.core.rows import AuditFinding, Convention
from workflow_scripts.data.audit import audit as run_audit
from workflow_scripts.data.auditing.attention import folder_counts, points, verdict
from workflow_scripts.data.auditing.balance import VARIES, balances
from workflow_scripts.data.auditing.charts import histogram_svg, number_text
from workflow_scripts.data.auditing.distributions import distributions, histogram, image_groups
from workflow_scripts.data.auditing.facts import approximate_tokens, audit_findings, label_counts, summarise
from workflow_scripts.data.auditing.leaks import Leaks, leaks_of
from workflow_scripts.data.auditing.listing import EXAMPLES, TEXT, Example, listing
from workflow_scripts.data.auditing.remedies import REMEDIES
from workflow_scripts.data.auditing.thumbnails import Thumbnails
from workflow_scripts.data.conversion.reasons import FINDINGS, REASONS


class _Elements(html.parser.HTMLParser):
    """Elements of a page: names, addresses, texts of data scripts by id, and the page's own scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()
        self.addresses: set[str] = set()
        self.handlers: list[str] = []
        self.data: dict[str, str] = {}
        self.scripts: list[str] = []
        self._script: str | None = None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.names[tag] += 1
        self.addresses |= {value or "" for name, value in attrs if name in ("src", "href")}
        self.handlers += [name for name in named if name.startswith("on")]
        if tag == "script":
            self._script = named.get("id") or ""

    def handle_data(self, data):
        if self._script:
            self.data[self._script] = data
        elif self._script is not None:
            self.scripts.append(data)

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None


def page_of(result, root, place):
    """The page that the step writes of a conversion, called in this process."""
    write_converted(result, place)
    read = {name: place / f"{name}.parquet" for name in ("rows", "quarantine", "images", "conventions")}
    written = {name: place / f"{name}.parquet" for name in ("findings", "summary", "balance")}
    run_audit(**read, **written, root=root, page=place / "audit.html")
    return (place / "audit.html").read_text(encoding="utf-8")


def unpacked(text):
    return json.loads(gzip.decompress(base64.b64decode(text)))


def texts_of(page):
    """The listed findings of a page, as its script reads them."""
    data = _Elements(page).data
    chunks = sorted((name for name in data if name.startswith("chunk-")), key=lambda name: int(name[6:]))
    return [entry for name in chunks for entry in unpacked(json.loads(data[name]))]


@pytest.fixture(scope="module")
def toy_page(toy, toy_root, tmp_path_factory):
    return audit(toy, toy_root, tmp_path_factory.mktemp("audit"))


def described(result):
    """Everything that the page's first part follows from."""
    leaks = leaks_of(result.rows, result.images)
    findings = audit_findings(result.rows, result.quarantine, result.images, leaks)
    counts = folder_counts(result.rows, result.quarantine, leaks)
    balance = balances(label_counts(result.rows), summarise(result.rows, len), result.rows)
    return counts, findings, balance, points(counts, findings, result.conventions, balance)


# ---- the frame


def test_the_page_needs_no_network_and_runs_its_own_script_alone(toy_page):
    elements = _Elements(toy_page[3])
    assert {address.split(":")[0] for address in elements.addresses if not address.startswith("#")} == {"data"}
    assert len(elements.scripts) == 1 and elements.handlers == []
    assert "default-src 'none'" in html.unescape(toy_page[3]) and "unsafe-eval" not in toy_page[3]


def test_links_inside_the_page_lead_to_something(toy_page):
    targets = set(re.findall(r' id="([^"]+)"', toy_page[3]))
    sections = {a[1:] for a in _Elements(toy_page[3]).addresses if a.startswith("#") and "=" not in a}
    assert sections and sections <= targets


def test_the_page_is_the_same_in_every_run(toy, toy_root, toy_page, tmp_path):
    assert page_of(toy, toy_root, tmp_path) == toy_page[3]


def test_the_audit_reruns_after_a_change_of_the_page():
    files = {name.rsplit("/", 1)[1] for name in sources("workflow_scripts.data.audit")}
    assert {"page.html.jinja", "page.css", "page.js", "base.html.jinja", "base.css"} <= files


# ---- verdict and points


def test_the_verdict_counts_as_the_tables_do(toy, toy_page):
    counts, findings, _, _ = described(toy)
    lost = sum(f.action == "quarantined" for f in findings)
    left_out = sum(f.action == "left out" for f in findings)
    assert sum(count.records for count in counts) == len(toy.rows) + lost
    usable = f"{len(toy.rows) - left_out:,} of {len(toy.rows) + lost:,} records can be used; {lost} are in quarantine"
    assert usable in toy_page[3]
    assert f"{left_out} are left out of training" in toy_page[3]


def test_question_files_that_cannot_be_read_are_in_the_verdict_and_no_records(tmp_path):
    root = tmp_path / "root"
    write_subset(root, [row("imagesTr/0.png")], pngs(1))
    write_subset(root, "{ broken", {}, name="other")
    result = converted(root, tmp_path)
    counts, _, _, listed = described(result)
    assert verdict(counts, 1) == "1 of 1 record can be used. 1 question file could not be read at all."
    assert (listed[0].level, listed[0].text) == ("problem", "1 question file: unreadable file")


def test_a_sound_dataset_needs_no_attention(tmp_path):
    root = tmp_path / "root"
    records = [row(f"imagesTr/{i}.png", answer=answer) for i, answer in enumerate("ABC")]
    write_subset(root, records, pngs(3))
    validation = [row("imagesVal/v.png", answer="B")]
    write_subset(root, validation, {"imagesVal/v.png": png(9)}, folder="validation-public")
    assert described(converted(root, tmp_path))[3] == []


def test_what_is_lost_or_cannot_be_learned_is_pointed_out(tmp_path):
    root = tmp_path / "root"
    records = [row(f"imagesTr/{i}.png", answer="A") for i in range(9)] + [row("imagesTr/none.png")] * 3
    write_subset(root, records, pngs(9))
    validation = [row("imagesVal/v.png", answer="B")]
    write_subset(root, validation, {"imagesVal/v.png": png(10)}, folder="validation-public")
    listed = described(converted(root, tmp_path))[3]
    texts = [point.text for point in listed]
    assert "ds, training: 3 of 12 records (25 %) cannot be used, 3 for missing image" in texts
    assert "ds: 1 label of later folders in no training row: B" in texts
    assert "One label has nearly all rows: ds (100 % A)" in texts
    assert [point.level for point in listed] == ["problem", "problem", "look"]


@pytest.mark.parametrize(
    ("votes", "source", "said"),
    [
        (6, "training rows", "Rows disagree about a convention: ds (percent: 6 of 10 rows agree)"),
        (10, "other rows", "Conventions learned outside training, for want of training rows: ds"),
        (0, "configuration", None),
        (10, "training rows", None),
    ],
)
def test_doubtful_conventions_are_pointed_out(votes, source, said):
    rows = 0 if source == "configuration" else 10
    listed = points([], [], [Convention("ds", "regression", "percent", "", "true", votes, rows, source)], [])
    assert [point.text for point in listed] == ([said] if said else [])


# ---- findings


def test_every_kind_has_a_remedy():
    assert list(REMEDIES) == list(REASONS | FINDINGS)


def test_the_page_lists_every_finding_and_shows_images(toy_page):
    listed = texts_of(toy_page[3])
    assert [(entry[0] or None, entry[1], entry[2]) for entry in listed] == [
        (f.uid, f.source_file, f.source_row) for f in toy_page[0]
    ]
    data = _Elements(toy_page[3]).data
    columns, head = unpacked(json.loads(data["columns"])), json.loads(data["listing"])
    assert [head["names"]["kind"][i] for i in columns["kind"]] == [f.kind for f in toy_page[0]]
    thumbnails = json.loads(data["thumbnails"])
    used = {number for entry in listed for number in entry[7] if number is not None}
    assert used == set(range(len(thumbnails))) and len(thumbnails) >= 10


def finding(kind, number, **other):
    entry = AuditFinding(kind, "quarantined", "ds", "training", f"uid/{number}", "file.json", number, "detail")
    return replace(entry, **other)


def test_where_there_are_too_many_findings_no_kind_is_lost(tmp_path):
    findings = [finding("missing_image", i) for i in range(900)] + [finding("no_answer", i) for i in range(100)]
    findings += [finding("duplicate", 7)]
    listed = listing(findings, {}, Thumbnails(tmp_path), most=300)
    columns = unpacked(listed.columns)
    kinds = Counter(findings[number].kind for number in columns["number"])
    assert kinds == {"duplicate": 1, "no_answer": 100, "missing_image": 199}
    assert columns["number"] == sorted(columns["number"]) and listed.total == 300
    assert sum(len(unpacked(chunk)) for chunk in listed.chunks) == 300


def test_a_list_that_would_be_too_large_is_shorter(tmp_path):
    findings = [finding(kind, i) for i in range(800) for kind in ("no_answer", "duplicate")]
    rng = np.random.default_rng(0)
    examples = {f"uid/{i}": Example(rng.bytes(300).hex(), "", ()) for i in range(800)}
    listed = listing(findings, examples, Thumbnails(tmp_path), largest=100_000)
    assert 50_000 < sum(map(len, listed.chunks)) <= 100_000
    assert set(listed.head["names"]["kind"]) == {"no_answer", "duplicate"}


def test_long_texts_are_cut_and_say_so(tmp_path):
    listed = listing([finding("no_answer", 1)], {"uid/1": Example("q" * 200_000, "a", ())}, Thumbnails(tmp_path))
    (entry,) = unpacked(listed.chunks[0])
    assert entry[4] == "q" * TEXT + " … (200,000 characters)"
    assert len(listed.chunks[0]) < 1000


def test_the_first_of_each_kind_have_thumbnails_and_no_more(tmp_path):
    result = convert_rows(tmp_path, [row(f"imagesTr/{i}.png", answer=None) for i in range(12)], count=12)
    page = page_of(result, tmp_path / "root", tmp_path)
    assert [len(entry[7]) for entry in texts_of(page)] == [1] * EXAMPLES + [0] * (12 - EXAMPLES)


def test_whatever_a_row_says_is_escaped(tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    rows = [row("imagesTr/0.png", OPTIONS + evil, evil), row(evil), row("imagesTr/1.png", task=evil)]
    result = convert_rows(tmp_path, rows)
    page = page_of(result, tmp_path / "root", tmp_path)
    elements = _Elements(page)
    assert len(result.quarantine) == 3 and len(elements.scripts) == 1 and elements.handlers == []
    assert "&lt;script&gt;" in page and "onerror=alert(2)>" not in page
    assert evil in texts_of(page)[0][4]


def test_half_a_surrogate_pair_in_a_question_costs_its_row_and_not_the_audit(tmp_path):
    result = convert_rows(tmp_path, [row("imagesTr/0.png", "bad \ud83d here", "\udc00"), row("imagesTr/1.png")])
    assert result.reasons == {("ds_questions_train.json", 0): "bad_text"}
    page = page_of(result, tmp_path / "root", tmp_path)
    assert texts_of(page)[0][4] == r"bad \ud83d here"


# ---- conventions


def test_the_page_shows_what_was_learned_of_each_subset(tmp_path):
    records = [row(f"imagesTr/{i}.png", "How much?", "8%", "regression") for i in range(3)]
    result = convert_rows(tmp_path, records)
    (learned,) = [entry for entry in result.conventions if entry.field == "percent"]
    assert (learned.subset, learned.value, learned.votes, learned.rows) == ("ds", "true", 3, 3)
    result.conventions.append(Convention("other", "regression", "percent", "", "false", 0, 0, "configuration"))
    page = page_of(result, tmp_path / "root", tmp_path)
    lines = [re.sub(r"<[^>]*>", " ", line).split() for line in re.findall(r"<tr>(.*?)</tr>", page, re.S)]
    assert ["ds", "regression", "percent", "true", "all", "rows", "3", "of", "3", "training", "rows"] in lines
    assert ["other", "regression", "percent", "false", "all", "rows", "none", "configuration"] in lines


# ---- balance


def test_shares_are_of_the_rows_of_a_folder(tmp_path):
    root = tmp_path / "root"
    write_subset(root, [row(f"imagesTr/{i}.png", answer=a) for i, a in enumerate("AAAB")], pngs(4))
    validation = {f"imagesVal/{i}.png": png(50 + i) for i in range(2)}
    records = [row(name, answer=a) for name, a in zip(validation, "AC", strict=True)]
    write_subset(root, records, validation, folder="validation-public")
    (balance,) = described(converted(root, tmp_path))[2]
    assert (balance.folders, balance.rows) == (("training", "validation-public"), (4, 2))
    shares = {line.label: [share.share for share in line.shares] for line in balance.lines}
    assert shares == {"A": [0.75, 0.5], "B": [0.25, 0], "C": [0, 0.5]}
    assert [(line.meaning, line.untrained) for line in balance.lines] == [
        ("Nevus", False),
        ("Melanoma", False),
        ("Scar", True),
    ]
    assert (balance.greatest, balance.difference) == (0.75, 0.5)


def test_letters_that_change_their_option_are_said_to(tmp_path):
    turned = "Which diagnosis fits this image? Options: A) Scar B) Melanoma C) Nevus"
    result = convert_rows(tmp_path, [row("imagesTr/0.png"), row("imagesTr/1.png", turned), row("imagesTr/2.png")])
    (balance,) = described(result)[2]
    assert [(line.label, line.meaning) for line in balance.lines] == [("A", VARIES)]


# ---- distributions

NUMBERS = st.one_of(
    st.lists(st.integers(-50, 10**7).map(float), min_size=1, max_size=60),
    st.lists(st.floats(-1e299, 1e299), min_size=1, max_size=60),
    st.lists(st.floats(0, 1e-6), min_size=1, max_size=60),
).map(lambda values: [0.0 if abs(value) < 1e-300 else value for value in values])


@given(NUMBERS, NUMBERS)
@settings(deadline=None, max_examples=100)
def test_a_histogram_holds_every_value_once(training, validation):
    result = histogram("number", "", {"validation-public": validation, "training": training})
    assert [series.folder for series in result.series] == ["training", "validation-public"]
    assert all(np.diff(result.edges) > 0) and len(result.edges) <= 27
    for series, values in zip(result.series, (training, validation), strict=True):
        assert (series.count, series.least, series.greatest) == (len(values), min(values), max(values))
        assert sum(series.shares) == pytest.approx(1)
        assert series.median == pytest.approx(np.median(values))
    drawing = histogram_svg(result)
    assert (drawing is None) == (min(training + validation) == max(training + validation))
    coordinates = [
        float(x) for x in re.findall(r"[MVH]?(-?[\d.]+)", " ".join(re.findall(r' d="([^"]+)"', drawing or "")))
    ]
    assert all(-0.01 <= x <= 241 for x in coordinates)


def test_whole_numbers_have_bins_of_their_own_and_skewed_ones_a_logarithmic_scale():
    few = histogram("number", "", {"training": [0, 1, 1, 4]})
    assert few.edges == (-0.5, 0.5, 1.5, 2.5, 3.5, 4.5) and few.series[0].shares == (0.25, 0.5, 0, 0, 0.25)
    assert histogram("number", "", {"training": [1, 2, 3, 10_000]}).logarithmic
    assert not histogram("number", "", {"training": list(range(200))}).logarithmic
    assert histogram("number", "", {"training": []}) is None
    assert histogram("number", "", {"training": [float("inf"), 1e305]}) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (0.125, "0.125"), (1.0666, "1.07"), (512.0, "512"), (1e9, "1e+09")],
)
def test_numbers_are_short(value, text):
    assert number_text(value) == text


def test_quantities_are_counted_by_subset_and_task(toy):
    listed = {entry.subset: entry for entry in distributions(toy.rows, toy.images, approximate_tokens)}
    assert set(listed) == {row.subset for row in toy.rows}
    ((_, quantities),) = listed["cells"].tasks
    number = next(each for each in quantities if each.quantity == "number")
    training = [r.number for r in toy.rows if (r.subset, r.folder) == ("cells", "training")]
    assert (number.series[0].count, number.series[0].median) == (len(training), np.median(training))
    assert {each.quantity for each in listed["cells"].images} == {"longer side", "width / height"}
    groups = image_groups(toy.images)
    assert sum(group.images for group in groups) == len(toy.images)


# ---- leaks


def test_a_group_holds_all_rows_that_folders_share(tmp_path):
    root = tmp_path / "root"
    write_subset(root, [row("imagesTr/0.png"), row("imagesTr/1.png")], pngs(2))
    for i, folder in enumerate(("validation-public", "testing")):
        images = {f"images{i}/x{i}.png": png(0), f"images{i}/y{i}.png": png(30 + i)}
        write_subset(root, [row(name) for name in images], images, folder=folder)
    result = converted(root, tmp_path)
    leaks = leaks_of(result.rows, result.images)
    (group,) = leaks.groups
    assert [each.folder for each in group.rows] == ["training", "validation-public", "testing"]
    assert [path.rsplit("/", 1)[1] for path in group.images[0]] == ["0.png", "x0.png", "x1.png"]
    assert len(group.images) == 1 and group.cases == ()
    assert {(each.row.folder, each.tie) for each in leaks.shared} == {
        ("training", "image"),
        ("validation-public", "image"),
    }


def test_rows_of_one_folder_leak_nothing(tmp_path):
    result = convert_rows(tmp_path, [row("imagesTr/0.png", f"How many {i}?", i, "Counting") for i in range(3)])
    assert leaks_of(result.rows, result.images) == Leaks([], [], [])


def test_the_page_shows_leaks_beside_each_other(toy, toy_page):
    groups = leaks_of(toy.rows, toy.images).groups
    shown = toy_page[3].split('<h2 id="leaks">')[1].split("<h3 id=")[0]
    assert shown.count("<article>") == len(groups) >= 2
    assert shown.count('<img src="data:image/jpeg') >= 2 * len(groups)
