"""A table as a source: every row is a row or in quarantine, whatever it holds, and what is read is what is named."""

import gzip
import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.roots import png
from tests.data.table_layouts import write_files
from tests.data.tables import CLOSED, entry, lab, plain, table_of
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.auditing.facts import audit_findings
from workflow_scripts.data.auditing.remedies import REMEDIES
from workflow_scripts.data.conversion.rows import LONGEST_TEXT
from workflow_scripts.data.sources import table as source
from workflow_scripts.data.sources.cells import BadCell, band_of, text_of


@pytest.mark.parametrize("name", ["questions.csv", "questions.jsonl", "questions.json"])
def test_columns_are_mapped_by_name_in_each_form(tmp_path, name):
    rows = [
        {"scan": f"scans/{n}.png", "q": "fracture", "a": ("yes", "no")[n % 2], "mrn": f"P{n}", "site": "North", "n": n}
        for n in range(4)
    ]
    done = table_of(
        tmp_path / "work",
        lab(tmp_path / "lab", rows, name),
        question="Is there a {q} in {site}?",
        answer="a",
        images=["scan"],
        case="mrn",
        task=CLOSED,
        modality="Xray",
        groups={"hospital": "site"},
        split={"column": "n", "values": {"3": "testing"}, "otherwise": "training"},
    )
    assert not done.faults
    assert [row.folder for row in done.result.rows] == ["testing", "training", "training", "training"]
    first = done.row(1)
    assert (first.question, first.answer, first.subset) == ("Is there a fracture in North?", "yes", "mine")
    assert (first.case_id, dict(first.groups)) == ("/case/P0", {"hospital": "North"})


def test_a_single_file_is_a_table_and_packed_ones_are_read(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0), plain(1)], "t.jsonl")
    packed = folder / "u.jsonl.gz"
    packed.write_bytes(gzip.compress((folder / "t.jsonl").read_bytes()))
    for file in (folder / "t.jsonl", packed):
        assert len(table_of(tmp_path / file.name, file, task=CLOSED).result.rows) == 2


@pytest.mark.parametrize(
    ("options", "columns"),
    [({"a": "Nevus", "b": "Scar", "c": ""}, ["a", "b", "c"]), ({"all": '["Nevus", "Scar"]'}, ["all"])],
)
def test_options_get_letters_and_an_index_becomes_one(tmp_path, options, columns):
    rows = [plain(n, question="Which?", **options) | {"answer": n} for n in range(3)]
    keys = {"task": "classification", "options": columns, "answer_is": "index"}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), **keys)
    assert [row.answer for row in done.result.rows] == ["A", "B"]
    assert [option.text for option in done.row().expected.options] == ["Nevus", "Scar"]
    assert done.faults == [("answer_not_an_option", "the answer 2 is no index of 2 options")]


def test_a_blank_option_shifts_no_letter(tmp_path):
    rows = [
        plain(0, question="Which?", a="apple", b="", c="cherry", d="fig") | {"answer": 2},
        plain(1, question="Which?", a="apple", b="kiwi", c="cherry", d=" ") | {"answer": 2},
    ]
    keys = {"task": "classification", "options": ["a", "b", "c", "d"], "answer_is": "index"}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), **keys)
    assert [(row.answer, row.expected.options[2].text) for row in done.result.rows] == [("C", "cherry")]
    assert done.faults == [("bad_cell", "an option in a, b, c, d is empty, and another follows")]
    listed = [plain(0, question="Which?", a='["Nevus", "Scar", ""]') | {"answer": 1}]
    done = table_of(tmp_path / "list", lab(tmp_path / "listed", listed), **keys | {"options": ["a"]})
    assert [row.answer for row in done.result.rows] == ["B"]


def test_a_row_has_no_options_where_all_are_blank_and_its_task_needs_none(tmp_path):
    rows = [
        plain(0, kind="classification", question="Which?", a="Nevus", b="Scar") | {"answer": 1},
        plain(1, kind="open vqa", question="What is it?", a="", b="") | {"answer": "a mole"},
        plain(2, kind="cell counting", question="How many?", a="", b=" ") | {"answer": 7},
        plain(3, kind="classification", question="Which?", a="", b="") | {"answer": 0},
        plain(4, kind="open vqa", question="What is it?", a="Nevus", b="") | {"answer": "a mole"},
    ]
    keys = {"task": {"column": "kind"}, "options": ["a", "b"], "answer_is": "index"}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), **keys)
    assert [row.answer for row in done.result.rows] == ["B", "a mole", "7"]
    assert "Options" not in done.result.rows[1].question
    assert done.faults == [
        ("bad_cell", "a, b are blank; a row of classification needs its options"),
        ("bad_cell", "a, b hold no list of 2 to 26 options"),
    ]


def test_a_split_that_is_no_folder_is_told_of_values(tmp_path):
    done = table_of(
        tmp_path / "work", lab(tmp_path / "lab", [plain(0, fold="val")]), task=CLOSED, split={"column": "fold"}
    )
    [(reason, detail)] = done.faults
    assert (
        reason == "unknown_split"
        and detail.startswith("'val' is none of training, ")
        and "`values` of `split`" in detail
    )


def test_findings_name_the_row_of_the_table(tmp_path):
    rows = [plain(0), plain(1) | {"image": "scans/none.png"}]
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), task=CLOSED)
    [finding] = audit_findings(done.result.rows, done.result.quarantine, done.result.images)
    assert finding.kind == "missing_image"
    assert finding.detail.startswith("questions.csv, row 2: not in the dataset: scans/none.png")


def test_a_row_without_a_question_has_none_though_it_has_options(tmp_path):
    rows = [plain(n, a="Nevus", b="Scar") | {"question": ("", "Which?")[n], "answer": "A"} for n in range(2)]
    keys = {"task": "classification", "options": ["a", "b"]}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), **keys)
    assert [row.question for row in done.result.rows] == ["Which? Options: A) Nevus B) Scar"]
    assert [reason for reason, _ in done.faults] == ["no_question"]


def test_a_group_that_cannot_be_read_is_left_out_and_its_row_stays(tmp_path, capsys):
    rows = [plain(n, age=("unknown", "41", "")[n], site="North") for n in range(3)]
    keys = {"groups": {"age": {"column": "age", "bands": [18, 65]}, "hospital": "site"}, "task": CLOSED}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), **keys)
    assert not done.faults
    assert [dict(row.groups) for row in done.result.rows] == [
        {"hospital": "North"},
        {"age": "18 to 64", "hospital": "North"},
        {"hospital": "North"},
    ]
    assert "1 rows are without the group 'age': its cell cannot be read" in capsys.readouterr().err


def test_a_cell_that_cannot_be_read_has_a_reason_of_its_own(tmp_path):
    rows = [plain(n, patient=("p-1", "unknown")[n]) for n in range(2)]
    case = {"column": "patient", "pattern": "p-([0-9]+)"}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), task=CLOSED, case=case)
    assert done.faults == [("bad_cell", "patient: 'unknown' does not fit the pattern")]
    assert "pattern" in REMEDIES["bad_cell"]


def test_rows_are_chosen_by_columns_and_the_others_are_no_records(tmp_path):
    rows = [plain(n, lang=("en", "zh", "EN", "fr")[n]) for n in range(4)]
    folder = lab(tmp_path / "lab", rows)
    assert len(table_of(tmp_path / "a", folder, task=CLOSED, where={"lang": ["en"]}).result.rows) == 2
    assert len(table_of(tmp_path / "b", folder, task=CLOSED, where_not={"lang": ["en"]}).result.rows) == 2
    with pytest.raises(BadFile, match="hold no row that `where` takes"):
        table_of(tmp_path / "c", folder, task=CLOSED, where={"lang": ["de"]})


def hostile_lines():
    """Lines of JSON, each wrong in its own way, with the reason that it goes to quarantine for; None for a good one."""
    good = plain(0, id="a", split="training")
    deep = "[" * 100_000
    surrogate = json.dumps(good | {"id": "s", "question": "\ud800?"})
    return [
        (json.dumps(good), None),
        (json.dumps(good | {"id": "b", "image": "scans/1.png"}), None),
        (json.dumps(good | {"image": "scans/2.png"}), "duplicate"),  # the id is a's
        (json.dumps(good | {"id": "c", "image": "../secret.png"}), "missing_image"),
        (json.dumps(good | {"id": "d", "image": "scans/../../secret.png"}), "missing_image"),
        (json.dumps(good | {"id": "e", "image": "/etc/passwd"}), "missing_image"),
        (json.dumps(good | {"id": "f", "image": "scans\\..\\..\\secret.png"}), "missing_image"),
        (json.dumps(good | {"id": "g", "image": "scans/9.png"}), "missing_image"),
        (json.dumps(good | {"id": "h", "image": "scans/\0.png"}), "missing_image"),
        (json.dumps(good | {"id": "i", "image": "x" * 5000 + ".png"}), "missing_image"),
        (json.dumps(good | {"id": "j", "image": "questions.jsonl"}), "missing_image"),
        (json.dumps(good | {"id": "k", "image": 17}), "no_image_named"),
        (json.dumps(good | {"id": "l", "image": None}), "no_image_named"),
        (json.dumps(good | {"id": "m", "image": "scans/broken.png"}), "unreadable_image"),
        (json.dumps(good | {"id": "n", "question": {"a": 1}}), "bad_cell"),
        (json.dumps(good | {"id": "o", "question": math.nan}), "no_question"),
        (json.dumps(good | {"id": "p", "question": "?" * (LONGEST_TEXT + 1)}), "too_long"),
        (json.dumps(good | {"id": "q", "answer": math.nan}), "no_answer"),
        (json.dumps(good | {"id": "r", "answer": {"a": [1]}, "image": "scans/3.png"}), "wrong_answer_type"),
        (surrogate, "bad_text"),
        (json.dumps(good | {"id": "t", "split": "holdout"}), "unknown_split"),
        (json.dumps(good | {"id": "u", "split": None}), "unknown_split"),
        ('"a text"', "not_an_object"),
        ("{not json", "not_an_object"),
        (deep, "not_an_object"),
        (json.dumps(good | {"id": "v", "answer": "\udcff"}), "bad_text"),
    ]


def test_every_row_of_a_hostile_table_is_a_row_or_in_quarantine_with_its_reason(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0)], "other.json")
    (folder / "other.json").unlink()
    (tmp_path / "secret.png").write_bytes(png(99))
    (folder / "scans/broken.png").write_bytes(b"\x89PNG and no more")
    lines = hostile_lines()
    (folder / "questions.jsonl").write_text("\n".join(line for line, _ in lines) + "\n", encoding="utf-8")
    done = table_of(tmp_path / "work", folder, task=CLOSED, split={"column": "split"}, id="id")
    assert len(done.result.rows) + len(done.result.quarantine) == len(lines)
    reasons = {row.source_row: row.reason for row in done.result.quarantine}
    assert [reasons.get(number) for number in range(len(lines))] == [reason for _, reason in lines]
    written = [path for path in done.root.rglob("*") if path.is_symlink()]
    assert all(path.resolve().is_relative_to(folder / "scans") for path in written)


def test_bytes_that_are_not_utf_8_cost_their_row_alone(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0), plain(1), plain(2)])
    text = (folder / "questions.csv").read_bytes().replace(b"scans/1.png,Is there", b"scans/1.png,Is th\xe8re")
    (folder / "questions.csv").write_bytes(b"\xef\xbb\xbf" + text)
    done = table_of(tmp_path / "work", folder, task=CLOSED)
    assert len(done.result.rows) == 2 and [reason for reason, _ in done.faults] == ["bad_text"]
    table = pa.table({"image": ["scans/0.png", "scans/1.png"], "question": ["a?", "b?"], "answer": ["yes", "no"]})
    bad = pa.array([b"a?", b"\xff?"]).cast(pa.binary()).view(pa.string())
    pq.write_table(table.set_column(1, "question", bad), folder / "t.parquet")
    done = table_of(tmp_path / "parquet", folder, task=CLOSED, files=["t.parquet"])
    assert len(done.result.rows) == 1 and [reason for reason, _ in done.faults] == ["bad_text"]


def test_a_csv_row_with_other_cells_than_its_header_is_quarantined(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0), plain(1)])
    with (folder / "questions.csv").open("a") as stream:
        stream.write("scans/2.png,one too many,yes,more\nscans/3.png\n\nscans/3.png,Is it?,no,,,\n")
    done = table_of(tmp_path / "work", folder, task=CLOSED)
    assert len(done.result.rows) == 3
    assert [detail for _, detail in done.faults] == [
        "the row has 4 cells, the header 3",
        "the row has 1 cells, the header 3",
    ]


def test_a_quote_that_is_not_closed_stops_the_step_instead_of_swallowing_rows(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0), plain(1)])
    with (folder / "questions.csv").open("a") as stream:
        stream.write('scans/2.png,"never closed,yes\nscans/3.png,Is it?,no\n')
    with pytest.raises(BadFile, match=r"questions.csv cannot be read to its end: line \d+: .*quote"):
        table_of(tmp_path / "work", folder, task=CLOSED)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"question": "text"}, "has no column 'text', which `question` names; it has image, question, answer"),
        ({"groups": {"sex": "Sex"}}, "has no column 'Sex', which `groups.sex` names"),
        ({"files": ["*.parquet"]}, r"holds no table that fits \*.parquet"),
        ({"join": [{"files": "x*.csv", "on": ["image"]}]}, "of `join` fits 0 files; expected one"),
        ({"lists": {"testing": "none.txt"}}, "none.txt"),
    ],
)
def test_what_an_entry_names_and_is_not_there_is_one_sentence(tmp_path, keys, sentence):
    with pytest.raises((BadFile, OSError), match=sentence):
        table_of(tmp_path / "work", lab(tmp_path / "lab", [plain(0)]), task=CLOSED, **keys)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({}, "give a `path` to the table, or a `repo`"),
        ({"path": "x", "repo": "a/b"}, "give a `path`"),
        ({"path": "x", "task": "riddle"}, "'riddle' is not a task; allowed: classification, multi label"),
        ({"path": "x", "task": "riddle"}, "; a column of this name is written {column: riddle}"),
        ({"path": "x", "split": "fold"}, "; a column of this name is written {column: fold}"),
        ({"path": "x", "split": "held out"}, "'held out' is not a split folder; allowed: training, validation-public"),
        ({"path": "x", "files": {"train": ["a"]}}, "'train' is not a split folder"),
        ({"path": "x", "case": {"column": "p", "pattern": "p[0-9]+"}}, "has no group for the value"),
        ({"path": "x", "modality": "../../../evil"}, "cannot name a folder; expected letters, digits"),
        ({"path": "x", "modality": "X-ray/CT"}, "'X-ray/CT' cannot name a folder"),
        ({"path": "x", "subset": {"column": "s", "values": {"a": "a/b"}}}, "'a/b' cannot name a folder"),
        ({"path": "x", "subset": {"column": "s", "values": {"a": "b"}, "otherwise": "a..b"}}, "'a..b' cannot name"),
        ({"path": "x", "files": ["/tables/*.csv"]}, "'/tables/\\*.csv' is no pattern of files in the folder"),
        ({"path": "x", "files": {"training": [""]}}, "'' is no pattern of files in the folder that `path` names"),
        ({"path": "x", "files": ["../x.csv"]}, "'../x.csv' is no pattern of files"),
        ({"path": "x", "files": ["a**.csv"]}, "stands for folders at any depth, and alone between slashes"),
        ({"path": "x", "images_in": ["a**"]}, "stands for folders at any depth, and alone between slashes"),
        ({"path": "x", "join": [{"files": "/x.csv", "on": ["a"]}]}, "'/x.csv' is no pattern of files"),
        ({"path": "x", "images": [{"column": "a", "role": "prior_scan"}]}, "'prior_scan' is no role; expected up to"),
        ({"path": "x", "study": "s"}, "`study` joins rows of `labels`"),
        ({"path": "x", "groups": {"age": {"column": "a", "bands": [40, 18]}}}, "must rise"),
    ],
)
def test_a_wrong_entry_says_what_is_expected(keys, sentence):
    with pytest.raises(ValueError, match=sentence):
        entry(**keys)


def test_a_further_table_must_name_each_row_once(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0), plain(1)])
    write_files(folder, {"sites.csv": "image,site\nscans/0.png,North\nscans/0.png,South\n"})
    keys = {"files": ["questions.csv"], "join": [{"files": "sites.csv", "on": ["image"]}], "groups": {"site": "site"}}
    with pytest.raises(BadFile, match=r"sites.csv, row 2: a second row for scans/0.png"):
        table_of(tmp_path / "work", folder, task=CLOSED, **keys)
    write_files(folder, {"sites.csv": "image,site\nscans/0.png,North\n"})
    done = table_of(tmp_path / "again", folder, task=CLOSED, **keys)
    assert [dict(row.groups) for row in done.result.rows] == [{"site": "North"}, {}]


def test_studies_whose_rows_disagree_are_quarantined(tmp_path):
    rows = [
        {"image": f"scans/{n}.png", "study": n // 2, "edema": label, "patient": 1}
        for n, label in enumerate(("1", "1", "1", "0"))
    ]
    labels = {"conditions": {"Edema": "edema", "Cardiomegaly": "patient"}}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), labels=labels, study="study", case="patient")
    assert [(len(row.images), row.labels) for row in done.result.rows] == [(2, ("Edema", "Cardiomegaly"))]
    assert done.faults == [("contradiction", "the rows of the study differ in answer")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                name: st.one_of(
                    st.none(), st.text(max_size=12), st.floats(), st.integers(), st.lists(st.text(max_size=3))
                )
                for name in ("image", "question", "answer", "split", "id", "case", "site")
            },
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_json_rows_are_conserved(tmp_path, rows):
    folder = tmp_path / "fuzz"
    folder.mkdir(exist_ok=True)
    full = dict.fromkeys(("image", "question", "answer", "split", "id", "case", "site"), "")
    (folder / "t.jsonl").write_text("\n".join(json.dumps(row) for row in [full, *rows]), encoding="utf-8")
    spec = entry(
        path=str(folder), split={"column": "split"}, id="id", case="case", subset={"column": "site"}, task=CLOSED
    )
    assert len(list(source.records(spec.root, folder, 1))) == len(rows) + 1


@pytest.mark.parametrize(
    ("value", "band"),
    [("17.9", "under 18"), ("18", "18 to 64"), ("064Y", "18 to 64"), ("65", "65 and over"), ("411", "65 and over")],
)
def test_bands_are_named_in_words(value, band):
    assert band_of(value, (18, 65), "age") == band


def test_whole_numbers_lose_their_point_and_lists_are_no_text():
    assert [text_of(value) for value in (3.0, 2.5, 7, True, "  ", None, float("nan"))] == [
        *("3", "2.5", "7", "True"),
        *(None, None, None),
    ]
    with pytest.raises(BadCell):
        text_of([1])


def test_the_longest_text_is_that_of_the_conversion():
    assert source.LONGEST == LONGEST_TEXT


def test_a_column_that_is_not_named_reaches_no_byte(tmp_path):
    folder = lab(tmp_path / "lab", [plain(n, patient_name="MUSTERMANN ERIKA") for n in range(3)])
    table_of(tmp_path / "work", folder, task=CLOSED)
    written = [file for file in (tmp_path / "work").rglob("*") if file.is_file() and not file.is_symlink()]
    assert len(written) > 3
    assert not [file for file in written if b"MUSTERMANN" in file.read_bytes()]
