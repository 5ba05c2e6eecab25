"""A damaged answer or judgement is reported, and asked for again; whole ones are not."""

import pytest

from tests.cache.test_store import flip
from workflow_scripts.core.requests import Request, RequestImage, Response
from workflow_scripts.infer.questions.answer_cache import Progress, key_of
from workflow_scripts.judges.judgements import Judgement, Pair, Store, judge_pairs

PAIRS = [Pair(f"reference {number}", "hypothesis") for number in range(3)]


class Counting:
    """A judge that counts the pairs it is asked about."""

    def __init__(self):
        self.identity = {"backend": "counting"}
        self.pairs = []

    def ask(self, pairs, attempt):
        self.pairs += pairs
        for pair in pairs:
            yield pair, Judgement("valid", f"reply to {pair.reference}")


def test_a_damaged_judgement_is_reported_and_asked_for_again(tmp_path, capsys):
    judge = Counting()
    before = judge_pairs(PAIRS, Store(tmp_path, judge.identity), judge, 0)
    (file,) = tmp_path.rglob("*.jsonl")
    flip(file, file.read_bytes().index(b"reply to reference 1"))
    again = Counting()
    assert judge_pairs(PAIRS, Store(tmp_path, judge.identity), again, 0) == before
    assert again.pairs == [PAIRS[1]]
    assert f"{file}, line 2 is not what was stored" in capsys.readouterr().err
    third = Counting()
    assert judge_pairs(PAIRS, Store(tmp_path, judge.identity), third, 0) == before
    assert third.pairs == []


def test_judgements_of_another_judge_are_not_taken(tmp_path):
    judge = Counting()
    judge_pairs(PAIRS, Store(tmp_path, judge.identity), judge, 0)
    judge_pairs(PAIRS, Store(tmp_path, {"backend": "counting", "revision": "2"}), judge, 0)
    assert len(judge.pairs) == 6


REQUESTS = [Request(f"row/{number}", [{"role": "user", "content": str(number)}], (), 8) for number in range(3)]


def progress(store, requests=REQUESTS, **answerer):
    return Progress(store, "code", {"model": "m", "device": "cpu"} | answerer, requests)


def test_a_damaged_answer_is_reported_and_asked_for_again(tmp_path, capsys):
    with progress(tmp_path) as first:
        first.keep(
            [Response(request.uid, f"text {request.uid}", "stop", 1, 1, "0") for request in REQUESTS], engine="e"
        )
    assert progress(tmp_path).rows == first.rows and len(first.rows) == 3
    (file,) = tmp_path.rglob("*.jsonl")
    flip(file, file.read_bytes().index(b"text row/2"))
    assert sorted(progress(tmp_path).rows) == [("row/0", 0), ("row/1", 0)]
    assert f"{file}, line 3 is not what was stored" in capsys.readouterr().err


@pytest.mark.parametrize("part", [{"device": "cuda 9.0"}, {"model": "n"}, {"libraries": {"torch": "1"}}])
def test_answers_of_another_answerer_are_not_taken(tmp_path, part):
    with progress(tmp_path) as first:
        first.keep([Response("row/0", "text", "stop", 1, 1, "0")], engine="e")
    assert progress(tmp_path, **part).rows == {}


def test_a_request_is_its_words_images_limit_and_grammar():
    request = Request("row/0", [{"role": "user", "content": "?"}], (RequestImage("a" * 64, "a.png", 8, 8),), 8)
    same = Request("row/1", request.chat, (RequestImage("a" * 64, "elsewhere/b.png", 8, 8),), 8)
    others = [
        Request("row/0", [{"role": "user", "content": "!"}], request.images, 8),
        Request("row/0", request.chat, (RequestImage("b" * 64, "a.png", 8, 8),), 8),
        Request("row/0", request.chat, request.images * 2, 8),
        Request("row/0", request.chat, request.images, 9),
        Request("row/0", request.chat, request.images, 8, "start: /a/"),
    ]
    assert key_of(same) == key_of(request)
    assert len({key_of(request), *map(key_of, others)}) == 6
