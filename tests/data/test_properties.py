"""Whatever happens to a dataset, every record is a row or quarantined, and nothing but a named error escapes."""

import json
import random
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.roots import OPTIONS, converted, pngs, write_converted, write_subset
from tests.data.test_convert import assert_conserved
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import BadImage, decode_image
from workflow_scripts.core.rows import QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.tasks.boxes.conventions import from_corners, to_corners
from workflow_scripts.tasks.language.labels import split_labels
from workflow_scripts.tasks.questions import options_in

QUIET = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))

text = st.text(st.characters(exclude_categories=()), max_size=20)  # half surrogate pairs among it
numbers = st.one_of(st.integers(), st.floats(), st.integers(10**20, 10**24))
boxes = st.lists(st.one_of(st.integers(-5, 40), st.floats(), text), max_size=5)
leaves = st.one_of(st.none(), st.booleans(), numbers, text)
values = st.recursive(
    leaves, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(text, inner, max_size=3)), max_leaves=8
)
names = st.sampled_from(
    [f"imagesTr/{i}.png" for i in range(5)] + ["0.png", "../0.png", "/etc/passwd", "", ".", "imagesTr"]
)
tasks = st.sampled_from(
    ["Classification", "multi-label classification", "Detection", "instance_detection", "Counting", "regression"]
    + ["Report_Generation", "Segmentation"]
)
answers = st.one_of(
    values,
    boxes,
    st.lists(boxes, max_size=3),
    st.lists(boxes, max_size=3).map(lambda value: json.dumps(value)),
    st.dictionaries(st.sampled_from(["1", "2", "x"]), st.lists(boxes, max_size=2), max_size=3).map(json.dumps),
    st.sampled_from(["A", "b", "A; B", "Nevus, Scar", "12%", "33.3333333333333", " 7 ", "None", "", "[[1, 2, 3, 4]]"]),
)
questions = st.one_of(
    values,
    st.sampled_from(
        [OPTIONS, "Where? [x_min, y_min, x_max, y_max]", "Where? [x, y, width, height]", "Choose from: Nevus; Scar. ;"]
    ),
)
records = st.one_of(
    st.fixed_dictionaries(
        {},
        optional={
            "TaskType": st.one_of(tasks, tasks, values),
            "ImageName": st.one_of(names, st.lists(names, max_size=3), values),
            "Question": questions,
            "Answer": answers,
        },
    ),
    values,
)


@QUIET
@given(st.lists(records, max_size=8), st.booleans(), st.sampled_from(["quarantine", "keep"]))
def test_any_records_are_conserved(tmp_path_factory, rows, zipped, no_answer):
    place = tmp_path_factory.mktemp("records")
    write_subset(place / "root", rows, pngs(4), zipped=zipped)
    result = converted(place / "root", place, no_answer=no_answer)
    assert_conserved(result)
    assert result.counts.records == len(rows)
    write_converted(result, place)
    assert read_rows(place / "rows.parquet", Row) == result.rows
    assert read_rows(place / "quarantine.parquet", QuarantinedRow) == result.quarantine


def assert_damage_is_conserved(toy_root, place, seed):
    """Bytes bent, files cut, emptied, deleted, renamed, doubled: questions, images and zips alike."""
    rng = random.Random(seed)
    root = place / "root"
    for subset_folder in rng.sample(sorted(toy_root.glob("training/*/*")), 2):
        shutil.copytree(subset_folder, root / subset_folder.relative_to(toy_root))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    chosen = [*rng.choices(files, k=5), *sorted(root.rglob("*.json"))[: seed % 2], *sorted(root.rglob("*.zip"))[:1]]
    for path in dict.fromkeys(chosen):
        data = bytearray(path.read_bytes())
        match rng.randrange(6):
            case 0:
                for _ in range(rng.randrange(1, 9)):
                    data[rng.randrange(len(data))] = rng.randrange(256)
                path.write_bytes(bytes(data))
            case 1:
                path.write_bytes(bytes(data)[: rng.randrange(len(data))])
            case 2:
                path.write_bytes(b"")
            case 3:
                path.unlink()
            case 4:
                path.rename(path.with_name(f"other_{path.name}"))
            case 5:
                shutil.copyfile(path, path.with_name(f"copy_{path.name}"))
    try:
        result = converted(root, place)
    except BadFile as error:
        assert "holds no question file" in str(error)
        return
    assert_conserved(result)


seeds = st.integers(0, 10**6)


@settings(QUIET, max_examples=60)
@given(seed=seeds)
def test_any_damage_to_a_dataset_is_conserved(toy_root, tmp_path_factory, seed):
    assert_damage_is_conserved(toy_root, tmp_path_factory.mktemp("damage"), seed)


@pytest.mark.extended
@settings(QUIET, max_examples=600)
@given(seed=seeds)
def test_any_of_much_damage_to_a_dataset_is_conserved(toy_root, tmp_path_factory, seed):
    assert_damage_is_conserved(toy_root, tmp_path_factory.mktemp("damage"), seed)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\0"]),
)
def test_no_bytes_make_the_decoder_raise_anything_but_bad_image(data, magic):
    try:
        decode_image(magic + data, "x")
    except BadImage as error:
        assert "x is not a readable image" in str(error)


@pytest.mark.parametrize("convention", ["xyxy", "xywh"])
@given(st.tuples(*[st.integers(-(2**40), 2**40)] * 4))
def test_integer_boxes_go_to_a_convention_and_back_exactly(convention, corners):
    assert to_corners(from_corners(corners, convention), convention) == corners
    assert from_corners(to_corners(list(corners), convention), convention) == list(corners)
    assert from_corners(tuple(map(float, corners)), convention) == from_corners(corners, convention)


label = st.text("abc, ", min_size=1, max_size=12).map(str.strip).filter(lambda s: s and not s.startswith(","))


@given(st.lists(label, unique_by=str.lower, min_size=1, max_size=5))
def test_labels_with_commas_inside_survive_a_semicolon(labels):
    assert split_labels("; ".join(labels), ";", []) == labels


@given(
    st.lists(st.sampled_from(["Caries", "Crown", "Filling, Restoration, and More", "Root"]), unique=True, max_size=4)
)
def test_known_labels_with_commas_inside_survive_commas(labels):
    known = ["Caries", "Crown", "Filling, Restoration, and More", "Root"]
    assert split_labels(", ".join(labels), ",", known) == labels


option = st.text("abcdefg hij-/", min_size=1, max_size=12).map(lambda s: " ".join(s.split())).filter(bool)


@given(st.lists(option, min_size=2, max_size=11), st.sampled_from(").:"), st.sampled_from([" ", "\n", ", "]))
def test_options_up_to_k_are_read_in_every_style(options, mark, gap):
    listed = gap.join(f"{'ABCDEFGHIJK'[i]}{mark} {text}" for i, text in enumerate(options))
    assert list(options_in(f"What is it? Options: {listed}")) == [
        ("ABCDEFGHIJK"[i], text) for i, text in enumerate(options)
    ]
