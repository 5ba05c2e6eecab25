"""A folder of brat annotations becomes questions; what cannot be used goes to quarantine with its line and a reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from workflow_scripts.core.answers import Conventions
from workflow_scripts.core.config.sources.brat import BratDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tasks import load_part, normalise_task
from workflow_scripts.data.brat.standoff import read_standoff
from workflow_scripts.data.brat.windows import windows_of
from workflow_scripts.data.conversion.reasons import REASONS
from workflow_scripts.data.sources.brat import records
from workflow_scripts.tasks.entities.mentions import Entity

TEXT = "Aspirin 81 mg daily.\nPain in the left leg, and left arm."
GOOD = [
    "T1\tDrug 0 7\tAspirin",
    "T2\tDose 8 13\t81 mg",
    "T3\tProblem 21 25;38 41\tPain leg",
    "T4\tSite 33 41\tleft leg",  # overlaps T3
    "R1\tDose-Drug Arg1:T2 Arg2:T1",
]


def folder_of(tmp_path, **files):
    for name, content in files.items():
        path = tmp_path / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def records_of(root, **entry):
    spec = BratDataset(**{"path": str(root), "asks": ("entities", "relations"), "subset": "notes"} | entry)
    return list(records(spec, root, 1))


def answer_of(record):
    """The answer that the conversion makes of a record."""
    part = load_part(normalise_task(record.task), "answers")
    return part.parse(record.answer, part.expected_format(record.question, Conventions())).text


def note(tmp_path, text=TEXT, lines=GOOD, **entry):
    folder_of(tmp_path, a_dot_txt=text, a_dot_ann="\n".join(lines))
    return records_of(tmp_path, **entry)


def faults_of(listed):
    return [(record.fault[0], record.place) for record in listed if record.fault]


def test_a_text_is_a_question_a_task_with_its_places_and_no_image(tmp_path):
    entities, relations = note(tmp_path)
    assert entities.images == relations.images == () and entities.case == relations.case == "a"
    assert entities.question.endswith(f"Types: Dose; Drug; Problem; Site\n\nText:\n{TEXT}")
    assert answer_of(entities) == "Drug: Aspirin\nDose: 81 mg\nProblem: Pain … leg\nSite: left leg"
    assert "\nEntities:\nT1 Drug 0 7 Aspirin\nT2 Dose 8 13 81 mg\n" in relations.question
    assert answer_of(relations) == "Dose-Drug: T2 -> T1"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("T9\tDrug 0 6\tAspirin", "annotation_off_text"),
        ("T9\tDrug 7 0\tAspirin", "annotation_off_text"),
        ("T9\tDrug 500 507\tAspirin", "annotation_off_text"),
        ("T9\tProblem 38 41;21 25\tleg Pain", "annotation_off_text"),
        ("T9 Drug 0 7 Aspirin", "bad_annotation"),
        ("T9\tDrug 0\tAspirin", "bad_annotation"),
        ("T1\tDrug 0 7\tAspirin", "bad_annotation"),
        ("T9\tDrug 0 7\tAspirin", "unused_annotation"),
        ("R9\tDose-Drug Arg1:T2 Arg2:T8", "bad_annotation"),
        ("R9\tDose-Drug Arg1:T2 Arg2:T2", "bad_annotation"),
        ("R9\tDose-Drug T2 T1", "bad_annotation"),
        ("E1\tTreats:T1 Theme:T3", "unused_annotation"),
        ("A1\tNegated T3", "unused_annotation"),
        ("#1\tAnnotatorNotes T1\tsure?", "unused_annotation"),
        ("*\tEquiv T1 T2", "unused_annotation"),
        ("N1\tReference T1 RxNorm:1191\taspirin", "unused_annotation"),
        ("what is this", "bad_annotation"),
    ],
)
def test_a_line_that_cannot_be_used_has_a_reason_and_costs_no_other(tmp_path, line, reason):
    listed = note(tmp_path, lines=[*GOOD, line])
    assert faults_of(listed) == [(reason, "a.ann line 6")] and reason in REASONS
    [fault] = [record for record in listed if record.fault]
    assert fault.question == line
    entities, relations = [record for record in listed if not record.fault]
    assert answer_of(entities).count("\n") == 3 and answer_of(relations) == "Dose-Drug: T2 -> T1"


def test_an_entity_that_is_there_twice_is_one_and_its_relations_hold(tmp_path):
    listed = note(tmp_path, lines=[*GOOD[:4], "T9\tDose 8 13\t81 mg", "R1\tDose-Drug Arg1:T9 Arg2:T1"])
    assert answer_of(listed[-1]) == "Dose-Drug: T2 -> T1"


@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_places_may_count_carriage_returns_and_a_byte_order_mark_or_not(tmp_path, mark, counted):
    text = ("\ufeff" if mark else "") + TEXT.replace("\n", "\r\n")
    shift = 2 if counted and mark else int(counted)
    first = int(counted and mark)
    lines = [f"T1\tDrug {first} {7 + first}\tAspirin", f"T2\tProblem {21 + shift} {25 + shift}\tPain"]
    entities, _ = note(tmp_path, text=text, lines=lines)
    assert answer_of(entities) == "Drug: Aspirin\nProblem: Pain"
    assert [each["spans"] for each in entities.answer] == [[[0, 7]], [[21, 25]]]
    assert "\r" not in entities.question and "\ufeff" not in entities.question


def test_annotations_with_windows_line_ends_are_read(tmp_path):
    folder_of(tmp_path, a_dot_txt=TEXT, a_dot_ann="\r\n".join(GOOD))
    assert faults_of(records_of(tmp_path)) == []


def test_texts_and_annotations_without_their_other_half_or_of_other_encodings_are_named(tmp_path):
    root = folder_of(
        tmp_path, alone_dot_txt="No annotations.", orphan_dot_ann="", empty_dot_txt="", empty_dot_ann="",
        latin_dot_txt="Kopfschmerz \xfcber Nacht".encode("latin-1"), latin_dot_ann="",
        good_dot_txt="Nothing here.", good_dot_ann="", utf_dot_txt="x", utf_dot_ann=b"\xff\xfe",
    )  # fmt: skip
    listed = records_of(root, asks=("entities",))
    assert sorted(faults_of(listed)) == [
        ("no_answer", "alone.txt"),
        ("unreadable_text", "empty.txt"),
        ("unreadable_text", "latin.txt"),
        ("unreadable_text", "utf.txt"),
        ("unused_annotation", "orphan.ann"),
    ]
    [good] = [record for record in listed if not record.fault]
    assert good.place == "good.txt" and answer_of(good) == "none"


def test_split_folders_cases_types_and_words_come_from_the_entry(tmp_path):
    for name in ("train/p1_a", "train/p1_b", "test/p2_a"):
        path = tmp_path / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXT)
        path.with_suffix(".ann").write_text("\n".join(GOOD))
    listed = records_of(
        tmp_path, files={"training": ("train/*.txt",), "testing": ("test/*.txt",)}, case=r"(p\d+)_",
        asks=("entities",), types={"entities": ("Drug", "Dose")}, instructions={"entities": "Drugs?"},
    )  # fmt: skip
    good = [record for record in listed if not record.fault]
    assert [(record.folder, record.case) for record in good] == [
        ("training", "p1"),
        ("training", "p1"),
        ("testing", "p2"),
    ]
    assert all(record.question.startswith("Drugs?\nTypes: Drug; Dose\n") for record in good)
    assert {answer_of(record) for record in good} == {"Drug: Aspirin\nDose: 81 mg"}
    assert {reason for reason, _ in faults_of(listed)} == {"unused_annotation"}
    assert "Problem, Site" in next(record.fault[1] for record in listed if record.fault)


def test_annotations_may_lie_in_several_files(tmp_path):
    folder_of(tmp_path, a_dot_txt=TEXT, a_dot_a1="\n".join(GOOD[:4]), a_dot_a2=GOOD[4] + "\nE1\tx")
    listed = records_of(tmp_path, annotations=(".a1", ".a2"))
    assert faults_of(listed) == [("unused_annotation", "a.a2 line 2")]


def test_windows_are_of_one_case_hold_every_entity_and_say_which_relations_they_part(tmp_path):
    text = "Aspirin was given. " * 8 + "The dose was 81 mg. " * 8
    lines = ["T1\tDrug 0 7\tAspirin", "T2\tDose 165 170\t81 mg", "R1\tDose-Drug Arg1:T2 Arg2:T1"]
    assert text[165:170] == "81 mg"
    listed = note(tmp_path, text=text, lines=lines, window=100)
    good = [record for record in listed if not record.fault and record.task == "entities"]
    assert len(good) > 2 and {record.case for record in good} == {"a"}
    assert "".join(record.question.partition("Text:\n")[2] for record in good) == text
    assert [reason for reason, _ in faults_of(listed)] == ["unused_annotation"]
    assert sum(len(record.answer) for record in good) == 2
    for record in good:
        answer_of(record)  # its places are those of the window


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["word ", "a.", " ", "\n", "B", "Sentence one. "]), min_size=1, max_size=80), st.data())
def test_no_window_cuts_an_entity_and_all_windows_are_the_text(pieces, data):
    text = "".join(pieces)
    spans = st.tuples(st.integers(0, len(text) - 1), st.integers(1, 12))
    entities = [
        Entity("x", ((start, min(len(text), start + size)),)) for start, size in data.draw(st.lists(spans, max_size=6))
    ]
    windows = list(windows_of(text, entities, 20))
    assert all(
        any(start <= each.spans[0][0] and each.spans[-1][1] <= end for start, end in windows)
        for each in entities
        if text[each.spans[0][0] : each.spans[-1][1]].strip()
    )
    places = [place for start, end in windows for place in range(start, end)]
    assert places == sorted(set(places))
    assert not "".join(character for place, character in enumerate(text) if place not in set(places)).strip()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60), st.lists(st.text(alphabet="TRE#A1:; \t019Argx", max_size=20), max_size=6))
def test_no_annotation_stops_the_reader_and_every_line_is_used_or_named(text, lines):
    read = read_standoff(text, lines)
    used = len(read.entities) + len(read.relations)
    assert used + len({fault.line for fault in read.faults}) == sum(bool(line.strip()) for line in lines)


def test_what_the_entry_may_say(tmp_path):
    with pytest.raises(BadFile, match="is not a directory"):
        records_of(tmp_path / "nowhere")
    with pytest.raises(BadFile, match="holds no text that fits"):
        records_of(tmp_path)
    folder_of(tmp_path, a_dot_txt=TEXT, a_dot_ann="")
    with pytest.raises(BadFile, match="makes no question of annotations"):
        records_of(tmp_path, asks=("counting",))
    with pytest.raises(BadFile, match="two split folders"):
        records_of(tmp_path, files={"training": ("*.txt",), "testing": ("a.*",)})
    for wrong in ({"asks": ("entity",)}, {"files": ("../x",)}, {"case": "[a-z]+"}, {"window": 5}, {"asks": ()}):
        with pytest.raises(ValidationError):
            BratDataset(**{"path": "x", "asks": ("entities",)} | wrong)
