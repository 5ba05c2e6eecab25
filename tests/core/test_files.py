"""A file is there whole, or not at all; a bad one is named."""

import pytest

from tests.conftest import make_row
from workflow_scripts.core.files import BadFile, atomic, read_json
from workflow_scripts.core.tables import ROWS, read_table, write_table


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
    write_table(tmp_path / "rows.parquet", rows, ROWS)
    read = read_table(tmp_path / "rows.parquet", ROWS).to_pylist()
    assert [row["images"] for row in read] == [row["images"] for row in rows]
    assert read[0]["boxes"] is None


def test_a_table_refuses_a_null_where_a_value_is_required(tmp_path, root):
    with pytest.raises(ValueError, match="'question' has 1 null"):
        write_table(tmp_path / "rows.parquet", [make_row(root, 1, question=None)], ROWS)
    assert not (tmp_path / "rows.parquet").exists()


@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b"PAR1" + b"\0" * 64 + b"PAR1"])
def test_a_damaged_table_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"rows\.parquet is not a readable Parquet file.*delete it and run again"):
        read_table(path, ROWS)


def test_a_table_of_other_columns_is_refused(tmp_path, root):
    from workflow_scripts.core.tables import PREDICTIONS

    write_table(tmp_path / "a.parquet", [{"uid": "1", "system": "s", "text": "", "finish": "stop"}], PREDICTIONS)
    with pytest.raises(BadFile, match="expected the columns"):
        read_table(tmp_path / "a.parquet", ROWS)


def test_deeply_nested_json_is_a_bad_file(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(BadFile, match="not valid JSON"):
        read_json(tmp_path / "a.json")
