"""The store hands out what was stored or nothing, whoever writes at a time, is killed, or damages a file."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore, RecordStore, fault_of_file


def flip(path, place=-1):
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def publish(folder, key="k", content="content"):
    with EntryStore(folder).put(key, {"made": "of this"}) as entry:
        (entry / "below").mkdir()
        (entry / "a.txt").write_text(content)
        (entry / "below/b.bin").write_bytes(bytes(range(256)))


def visible(folder):
    """Names in a store's folder, its lock aside."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def in_processes(*runs):
    """Run `(function, *arguments)` at a time, each in a process of its own; their exit codes."""
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=function, args=arguments) for function, *arguments in runs]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


# keys


def test_a_key_follows_from_kind_names_and_values_alone():
    key = cache_key("answer", model="m", device="cpu")
    assert len(key) == 32 and int(key, 16)
    assert key == cache_key("answer", device="cpu", model="m")
    others = [
        cache_key("judge", model="m", device="cpu"),
        cache_key("answer", model="m", device="cuda 9.0"),
        cache_key("answer", model="mcpu", device=""),
        cache_key("answer", model="m"),
        cache_key("answer", model="m", device="cpu", adapter=None),
        cache_key("answer", parts={"model": "m", "device": "cpu"}),
    ]
    assert len({key, *others}) == 7


def test_a_part_that_json_cannot_hold_is_an_error():
    with pytest.raises(TypeError):
        cache_key("answer", model=object())


# records


def test_what_is_put_is_read_by_key_in_another_process(tmp_path):
    values = {"a": {"text": "é\u2028\n", "n": [1, None, 0.1]}, "b": "\ud800", "c": []}
    with RecordStore(tmp_path / "store") as store:
        for key, value in values.items():
            store.put(key, value)
    assert RecordStore(tmp_path / "store").read() == values
    assert RecordStore(tmp_path / "store").read({"c", "d"}) == {"c": []}
    assert RecordStore(tmp_path / "nowhere").read() == {}


def test_every_record_is_on_the_disk_when_put_returns(tmp_path):
    store = RecordStore(tmp_path)
    store.put("a", 1)
    assert RecordStore(tmp_path).read() == {"a": 1}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_kill_cut_short_is_skipped_in_silence(tmp_path, capsys, cut):
    with RecordStore(tmp_path) as store:
        store.put("a", 1)
        store.put("b", 2)
    (file,) = tmp_path.glob("*.jsonl")
    file.write_bytes(file.read_bytes()[:-cut])
    assert RecordStore(tmp_path).read() == {"a": 1}
    assert capsys.readouterr().err == ""


def test_each_flipped_bit_of_a_line_is_reported_with_its_place_or_does_no_harm(tmp_path, capsys):
    with RecordStore(tmp_path) as store:
        store.put("a", {"text": "yes"})
        store.put("b", {"text": "no"})
    (file,) = tmp_path.glob("*.jsonl")
    whole = file.read_bytes()
    first = whole.index(b"\n")
    for place in range(first):
        flip(file, place)
        assert RecordStore(tmp_path).read() == {"b": {"text": "no"}}, place
        said = capsys.readouterr().err
        assert said.startswith(f"{file}, line 1 is not what was stored: it is ignored") and said.count("\n") == 1
        file.write_bytes(whole)


@pytest.mark.parametrize(
    "line", ["[]", "1", "{}", '{"key": "a", "value": 1}', '{"key": ["a"], "value": 1, "sha256": 1}']
)
def test_a_strange_line_is_reported(tmp_path, capsys, line):
    (tmp_path / "x.jsonl").write_text(line + "\n")
    assert RecordStore(tmp_path).read() == {}
    assert "x.jsonl, line 1 is not what was stored" in capsys.readouterr().err


def test_what_the_records_share_is_written_once_for_readers(tmp_path):
    with RecordStore(tmp_path, {"judge": "x"}) as store:
        store.put("a", 1)
    assert json.loads((tmp_path / "about.json").read_text()) == {"judge": "x"}


def write_records(folder, name, count):
    with RecordStore(folder, {"shared": True}) as store:
        for number in range(count):
            store.put(f"{name}/{number}", {"text": name * 1000, "number": number})


def test_four_writers_at_a_time_lose_nothing(tmp_path, capfd):
    assert in_processes(*[(write_records, tmp_path, name, 200) for name in "abcd"]) == [0] * 4
    assert len(RecordStore(tmp_path).read()) == 800
    assert capfd.readouterr().err == ""


def test_a_killed_writer_leaves_whole_records(tmp_path, capfd):
    context = multiprocessing.get_context("fork")
    for _ in range(5):
        process = context.Process(target=write_records, args=(tmp_path, "a", 20_000))
        before = len(list(tmp_path.glob("*.jsonl")))
        process.start()
        while len(list(tmp_path.glob("*.jsonl"))) == before:
            time.sleep(0.01)
        time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    values = RecordStore(tmp_path).read()
    assert values and all(value == {"text": "a" * 1000, "number": int(key[2:])} for key, value in values.items())
    assert capfd.readouterr().err == ""


# entries


def test_an_entry_is_what_was_put_and_says_what_it_was_made_of(tmp_path):
    store = EntryStore(tmp_path / "store")
    assert store.get("k") is None and store.stored_keys() == []
    publish(tmp_path / "store")
    place = store.get("k")
    assert place == store.path("k")
    assert (place / "a.txt").read_text() == "content" and len((place / "below/b.bin").read_bytes()) == 256
    assert store.stored_keys() == ["k"] and store.parts("k") == {"made": "of this"}
    assert visible(tmp_path / "store") == ["k"]


def test_a_block_that_fails_publishes_nothing(tmp_path):
    store = EntryStore(tmp_path)
    with pytest.raises(RuntimeError), store.put("k", {}) as entry:
        (entry / "a.txt").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.txt", "below/b.bin", "entry.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "removed", "emptied"])
def test_a_damaged_entry_is_reported_once_removed_and_may_be_put_again(tmp_path, capsys, name, damage):
    publish(tmp_path)
    file = tmp_path / "k" / name
    if damage == "flipped":
        flip(file, len(file.read_bytes()) // 2)
    elif damage == "removed":
        file.unlink()
    else:
        file.write_bytes(b"" if damage == "emptied" else file.read_bytes()[:-3])
    assert EntryStore(tmp_path).get("k") is None
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path / 'k'} is not what was stored (") and said.count("\n") == 1
    assert visible(tmp_path) == []
    publish(tmp_path)
    assert EntryStore(tmp_path).get("k")
    assert capsys.readouterr().err == ""


def test_an_added_file_is_damage_and_an_entry_answers_for_its_own_key_alone(tmp_path):
    publish(tmp_path)
    (tmp_path / "k").rename(tmp_path / "other")
    assert EntryStore(tmp_path).get("other") is None
    publish(tmp_path)
    (tmp_path / "k/c.txt").write_text("c")
    assert EntryStore(tmp_path).get("k") is None


def test_a_damaged_entry_is_not_put_back_by_whom_finds_it_in_the_way(tmp_path, capsys):
    publish(tmp_path)
    flip(tmp_path / "k/a.txt")
    publish(tmp_path, content="content")
    assert "a.txt has another checksum" in capsys.readouterr().err
    assert (EntryStore(tmp_path).get("k") / "a.txt").read_text() == "content"


def test_the_first_of_two_that_publish_the_same_stands(tmp_path):
    with EntryStore(tmp_path).put("k", {}) as slow:
        (slow / "a.txt").write_text("content")
        publish(tmp_path)
    assert (EntryStore(tmp_path).get("k") / "below/b.bin").is_file()
    assert visible(tmp_path) == ["k"]


def publish_at(barrier, folder, rounds):
    for number in range(rounds):
        barrier.wait(60)
        publish(folder, f"k{number}")
        assert EntryStore(folder).get(f"k{number}")


def test_processes_that_publish_the_same_at_once_all_succeed(tmp_path, capfd):
    barrier = multiprocessing.get_context("fork").Barrier(3)
    assert in_processes(*[(publish_at, barrier, tmp_path, 30)] * 3) == [0] * 3
    assert len(EntryStore(tmp_path).stored_keys()) == 30 == len(visible(tmp_path))
    assert capfd.readouterr().err == ""


def mend_at(barrier, folder, rounds):
    for number in range(rounds):
        barrier.wait(60)
        if EntryStore(folder).get(f"k{number}") is None:
            publish(folder, f"k{number}")
        assert EntryStore(folder).get(f"k{number}")


def test_processes_that_find_the_same_damage_at_once_all_end_with_a_whole_entry(tmp_path):
    for number in range(30):
        publish(tmp_path, f"k{number}")
        flip(tmp_path / f"k{number}/a.txt")
    barrier = multiprocessing.get_context("fork").Barrier(3)
    assert in_processes(*[(mend_at, barrier, tmp_path, 30)] * 3) == [0] * 3
    assert all((tmp_path / f"k{number}/a.txt").read_text() == "content" for number in range(30))


def publish_slowly(folder):
    with EntryStore(folder).put("k", {}) as entry:
        (entry / "a.txt").write_text("half")
        time.sleep(60)


def test_a_killed_writer_publishes_nothing_and_is_cleared_away_in_time(tmp_path):
    process = multiprocessing.get_context("fork").Process(target=publish_slowly, args=(tmp_path,))
    process.start()
    while not list(tmp_path.glob(".k.*/a.txt")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    store = EntryStore(tmp_path)
    assert store.get("k") is None and store.stored_keys() == []
    publish(tmp_path)
    assert store.get("k")
    (left,) = tmp_path.glob(".k.*")  # it may be another's that is being filled
    os.utime(left, (1, 1))
    publish(tmp_path, "other")
    assert not list(tmp_path.glob(".k.*"))


@pytest.mark.parametrize(
    ("mask", "file", "folder"), [(0o022, 0o644, 0o755), (0o002, 0o664, 0o775), (0o077, 0o600, 0o700)]
)
def test_modes_follow_the_umask_whatever_the_writer_gave(tmp_path, mask, file, folder):
    before = os.umask(mask)
    try:
        with EntryStore(tmp_path / "store").put("k", {}) as entry:
            (entry / "below").mkdir(mode=0o700)
            for name in ("a.txt", "below/b.txt"):
                (entry / name).write_text("a")
                (entry / name).chmod(0o600)
        with RecordStore(tmp_path / "records", {}) as records:
            records.put("a", 1)
    finally:
        os.umask(before)
    for path in [*(tmp_path / "store").rglob("*"), *(tmp_path / "records").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (folder if path.is_dir() else file), path


def test_one_file_of_an_entry_is_checked_alone(tmp_path):
    publish(tmp_path)
    assert fault_of_file(tmp_path / "k/a.txt") is None
    flip(tmp_path / "k/a.txt")
    assert fault_of_file(tmp_path / "k/a.txt") == "a.txt has another checksum"
    assert "does not name c.txt" in fault_of_file(tmp_path / "k/c.txt")
    assert "missing" in fault_of_file(tmp_path / "nowhere/c.txt")
