"""A file is there whole, or not at all; a bad one is named."""

import dataclasses
import importlib
import inspect
import json
from collections import namedtuple
from types import UnionType
from typing import get_args, get_origin, get_type_hints

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import make_row
from workflow_scripts import PACKAGE, ROOT
from workflow_scripts.core.files import BadFile, atomic, indented_json, read_json, temporary_folder
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, read_table, rows_of, table_of, write_rows


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_table_returns_as_it_was_written(tmp_path, root):
    rows = [make_row(root, number) for number in range(3)]
    write_rows(tmp_path / "rows.parquet", rows, Row)
    assert read_rows(tmp_path / "rows.parquet", Row) == rows


FILES = [*sorted((ROOT / PACKAGE / "core").rglob("*rows.py")), ROOT / PACKAGE / "models/routing/rows.py"]
KINDS = [
    kind
    for module in (".".join(file.relative_to(ROOT).with_suffix("").parts) for file in FILES)
    for _, kind in inspect.getmembers(importlib.import_module(module), dataclasses.is_dataclass)
    if kind.__module__ == module
]
"""Of the rows of tables."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_row_is_frozen_and_has_slots(kind):
    assert set(kind.__slots__) == {field.name for field in dataclasses.fields(kind)}
    assert kind.__dataclass_params__.frozen


@dataclasses.dataclass(frozen=True, slots=True)
class Checked:
    """A row that its constructor checks."""

    name: str
    count: int = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(self.name)


def test_what_a_row_checks_of_itself_is_checked_when_it_is_read():
    table = pa.table({"name": ["a", "b"], "count": pa.array([1, -1], pa.int32())})
    assert rows_of(table[:1], Checked) == [Checked("a", 1)]
    with pytest.raises(ValueError, match="b"):
        rows_of(table, Checked)
    assert rows_of(table.select(["name"]), Checked) == [Checked("a"), Checked("b")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_rows_of_any_kind_return_from_arrow_as_they_went(kind, data):
    rows = data.draw(st.lists(st.builds(kind, **dict(fields_of(kind))), max_size=4))
    assert rows_of(table_of(rows, kind), kind) == rows


def fields_of(kind):
    """Values of each field that a table can hold: integers of 32 bits, finite numbers, text that is UTF-8."""
    for name, annotation in get_type_hints(kind).items():
        yield name, values_of(annotation)


def values_of(annotation):
    if get_origin(annotation) is UnionType:
        return st.none() | values_of(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return st.lists(values_of(get_args(annotation)[0]), max_size=3).map(tuple)
    if hasattr(annotation, "_fields"):
        return st.builds(annotation, **dict(fields_of(annotation)))
    return {
        str: st.text(st.characters(exclude_categories=["Cs"])),
        int: st.integers(-(2**31), 2**31 - 1),
        float: st.floats(allow_nan=False),
        bool: st.booleans(),
    }[annotation]


def test_a_table_refuses_a_null_where_a_value_is_required(tmp_path, root):
    with pytest.raises(ValueError, match="'question' has 1 null"):
        write_rows(tmp_path / "rows.parquet", [make_row(root, 1, question=None)], Row)
    assert not (tmp_path / "rows.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"PAR1" + b"\0" * 64 + b"PAR1"])
def test_a_damaged_table_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"rows\.parquet is not a readable Parquet file.*delete it and run again"):
        read_table(path, Row)


def test_a_table_of_other_columns_is_refused(tmp_path, root):
    write_rows(tmp_path / "a.parquet", [Prediction("1", "s", "", "stop")], Prediction)
    with pytest.raises(BadFile, match="expected the columns"):
        read_table(tmp_path / "a.parquet", Row)


def test_deeply_nested_json_is_a_bad_file(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(BadFile, match="not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_full_folder_for_temporary_files_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary_folder() == str(tmp_path)
    usage = namedtuple("usage", "total used free")(1 << 30, 1 << 30, 4096)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(BadFile, match=r"where temporary files go, is full: free some space, or set TMPDIR"):
        temporary_folder()


@pytest.mark.parametrize("place", ["nowhere", "a-file"])
def test_a_folder_for_temporary_files_that_is_none_is_named(tmp_path, monkeypatch, place):
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("TMPDIR", str(tmp_path / place))
    with pytest.raises(BadFile, match=rf"{place} cannot be written to \(.*\): set TMPDIR to a folder that can"):
        temporary_folder()


@pytest.mark.parametrize(
    "value",
    [
        *({}, [], "ü\n", None, 1.5, float("nan"), [1, "a"], {"b": [], "a": {}}, [[], {}], ("a", (1, 2))),
        *({"b": [1, True, None, "é\n,  : x"], "a": {"z": 1e-9, "y": [{"k": "v"}, 3]}}, {"x": {2: "a", 10: ["b"]}}),
        {"half": "\ud800", "deep": [[[[{"a": [1]}]]]]},
    ],
)
def test_indented_json_is_what_the_standard_library_writes(value):
    assert indented_json(value) == json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
