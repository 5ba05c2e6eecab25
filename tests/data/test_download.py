"""A download ends complete and verified, or in one sentence with the remedy."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.data.hub_server import REPO, REVISION, Fault, Hub
from tests.workflow import step_server
from workflow_scripts.core.files import sha256_of

STEP = [sys.executable, "-m", "workflow_scripts.data.download"]
BIG = "training/Xray/IU_XRay/imagesTr.zip"
QUESTIONS = "training/Xray/IU_XRay/IU_XRay_all_train.json"
OTHER = "validation-public/Dermatology/bcn20000/imagesVal.zip"
EMPTY = "training/Xray/IU_XRay/notes.txt"


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    rng = random.Random(3)
    return {
        ".gitattributes": b"*.zip filter=lfs\n",
        BIG: rng.randbytes(3_000_000),
        QUESTIONS: b'[{"TaskType": "Report_Generation"}]',
        OTHER: rng.randbytes(400_000),
        EMPTY: b"",
    }


def environment(hub: Hub, token: str | None = None) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if k not in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY")}
    env |= {"HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    env["HF_TOKEN_PATH"] = "/nowhere/token"  # what this machine's user is logged in with is no affair of a test's
    return env | ({"HF_TOKEN": token} if token else {})


def spec(**changes: object) -> str:
    return json.dumps({"source": "hub", "repo": REPO, "revision": REVISION} | changes)


def run(
    hub: Hub, place: Path, token: str | None = None, env: dict[str, str] | None = None, **changes: object
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [step_server.python(), *STEP[1:], "--spec", spec(**changes), "--out", place / "root"]
        + ["--manifest", place / "manifest.json"],
        env=env or environment(hub, token),
        capture_output=True,
        text=True,
        timeout=120,
    )


def manifest(place: Path) -> dict:
    return json.loads((place / "manifest.json").read_text())


def assert_complete(place: Path, files: dict[str, bytes]) -> None:
    """Every visible file is there byte for byte, the manifest says so, and nothing half lies about."""
    expected = [
        {"path": path, "size": len(data), "sha256": sha256_of(data)}
        for path, data in sorted(files.items())
        if not path.startswith(".")
    ]
    assert manifest(place)["files"] == expected
    for path, data in files.items():
        assert (place / "root" / path).read_bytes() == data
    assert not list((place / "root").rglob("*.part"))


def assert_one_sentence(result: subprocess.CompletedProcess, *words: str) -> None:
    lines = [line for line in result.stderr.splitlines() if line.strip() and "download:" not in line.split("\r")[-1]]
    assert result.returncode == 1, result.stderr
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


def test_a_download_is_complete_and_names_its_commit(files, tmp_path):
    with Hub(files) as hub:
        result = run(hub, tmp_path, revision="main")
    assert result.returncode == 0, result.stderr
    assert_complete(tmp_path, files)
    assert manifest(tmp_path)["source"]["revision"] == REVISION
    assert "5 files, 3.4 MB" in result.stdout


def test_patterns_choose_what_is_downloaded(files, tmp_path):
    with Hub(files) as hub:
        assert run(hub, tmp_path, include=["training/Xray/IU_XRay/**"]).returncode == 0
        assert_complete(tmp_path, {k: v for k, v in files.items() if "IU_XRay" in k})
        assert not any("bcn20000" in path for _, path, _ in hub.seen)


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "without ranges"])
def test_connections_that_break_lose_nothing(files, tmp_path, ranges):
    with Hub(files, ranges=ranges) as hub:
        hub.faults = {BIG: [Fault(cut=n) for n in ((600_000, 900_000) if ranges else (0, 2_000_000))]}
        result = run(hub, tmp_path)
        assert result.returncode == 0, result.stderr
        assert_complete(tmp_path, files)
        ranges_sent = [header for _, path, header in hub.seen if path.endswith("imagesTr.zip")]
        assert len(ranges_sent) == 3
        assert ranges_sent[-1] not in (None, "bytes=0-")


PASSING = {
    "500 and 503": [Fault(status=500), Fault(status=503)],
    "429": [Fault(status=429, headers={"Retry-After": "1"})],
    "416": [Fault(cut=500_000), Fault(status=416)],
    "damage after a break": [Fault(cut=500_000), Fault(damage=True)],
    "damage": [Fault(damage=True)],
}


@pytest.fixture(scope="module")
def passing(files, tmp_path_factory):
    """By fault: the folder, and the run that met it. Each waits before it tries again: they wait at the same time."""

    def meet(faults, place):
        with Hub(files) as hub:
            hub.faults = {BIG: list(faults)}
            return place, run(hub, place)

    with ThreadPoolExecutor() as threads:
        runs = {name: threads.submit(meet, PASSING[name], tmp_path_factory.mktemp("passing")) for name in PASSING}
    return {name: running.result() for name, running in runs.items()}


@pytest.mark.parametrize("name", PASSING)
def test_passing_faults_are_overcome(files, passing, name):
    place, result = passing[name]
    assert result.returncode == 0, result.stderr
    assert_complete(place, files)


def test_a_file_that_goes_on_behind_its_end_is_not_taken(files, tmp_path):
    with Hub(files) as hub:
        hub.faults = {OTHER: [Fault(more=100 * len(files[OTHER]))]}
        result = run(hub, tmp_path)
        assert result.returncode == 0, result.stderr
        assert hub.sent < sum(map(len, files.values())) + 40 * len(files[OTHER])  # what buffers hold was on its way
    assert_complete(tmp_path, files)


LASTING = {
    "500": (Fault(status=500), "(500)", "what is there is kept"),
    "breaks": (Fault(cut=0), "cannot be reached", "what is there is kept"),
    "damage": (Fault(damage=True), "damaged", "run again"),
}


@pytest.fixture(scope="module", autouse=True)
def lasting(files, tmp_path_factory):
    """By fault, as a future: the folder, the run that met it at every try, how many, and the run after it had passed.

    A download waits between tries, 15 s in all: the three do so at the same time, while the tests before them run.
    """

    def meet(fault, place):
        with Hub(files) as hub:
            hub.faults = {BIG: [fault] * 50}
            first = run(hub, place)
            tries = sum(path.endswith("imagesTr.zip") for _, path, _ in hub.seen)
            hub.faults = {}
            return place, first, tries, run(hub, place)

    with ThreadPoolExecutor() as threads:
        yield {name: threads.submit(meet, LASTING[name][0], tmp_path_factory.mktemp(name)) for name in LASTING}


@pytest.mark.slow
@pytest.mark.parametrize("name", LASTING)
def test_lasting_faults_end_in_a_sentence_and_not_in_endless_tries(files, lasting, name):
    place, first, tries, after = lasting[name].result()
    assert_one_sentence(first, *LASTING[name][1:])
    assert tries <= 6
    assert after.returncode == 0
    assert_complete(place, files)


def test_a_gated_dataset_says_where_to_accept_the_terms(files, tmp_path):
    with Hub(files, token="right") as hub:
        assert_one_sentence(run(hub, tmp_path), "gated", f"{hub.endpoint}/datasets/{REPO}", "HF_TOKEN")


def test_a_bad_token_is_named_and_not_shown(files, tmp_path):
    with Hub(files, token="right") as hub:
        result = run(hub, tmp_path, token="hf_secretsecret")
        assert_one_sentence(result, "refuses the token", "401")
        assert "secretsecret" not in result.stdout + result.stderr


def test_a_right_token_opens_the_gate(files, tmp_path):
    with Hub(files, token="right") as hub:
        assert run(hub, tmp_path, token="right").returncode == 0


def test_the_token_that_the_hubs_own_login_stored_opens_the_gate(files, tmp_path):
    (tmp_path / "token").write_text("right")
    with Hub(files, token="right") as hub:
        env = environment(hub) | {"HF_TOKEN_PATH": str(tmp_path / "token")}
        assert run(hub, tmp_path, env=env).returncode == 0
        (tmp_path / "token").write_text("hf_secretsecret")
        result = run(hub, tmp_path / "again", env=env)
        assert_one_sentence(result, "refuses the token", "hf auth login", "401")
        assert "secretsecret" not in result.stdout + result.stderr


def test_a_forbidden_file_ends_at_once(files, tmp_path):
    with Hub(files) as hub:
        hub.faults = {BIG: [Fault(status=403)]}
        assert_one_sentence(run(hub, tmp_path), "403", "terms")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repo": "toy/nothing"}, ("does not exist",)),
        ({"revision": "f" * 40}, ("no revision",)),
        ({"include": ["testing/**"]}, ("no file", "testing/**")),
    ],
    ids=["repository", "revision", "patterns"],
)
def test_what_is_not_there_is_said(files, tmp_path, changes, words):
    with Hub(files) as hub:
        assert_one_sentence(run(hub, tmp_path, **changes), *words)


def test_no_network_is_said(files, tmp_path):
    with Hub(files) as hub:
        pass
    assert_one_sentence(run(hub, tmp_path), "cannot be reached", "HF_ENDPOINT")


def test_a_listing_that_leaves_its_folder_is_refused(files, tmp_path):
    with Hub(files | {"../outside.txt": b"x"}) as hub:
        assert_one_sentence(run(hub, tmp_path), "outside its folder")
    assert not (tmp_path / "outside.txt").exists()


def test_a_full_disk_is_said_before_the_first_byte(files, tmp_path, monkeypatch):
    from workflow_scripts.core.config.datasets import HubDataset
    from workflow_scripts.data import download
    from workflow_scripts.data.downloading.hub import DownloadFailed, Plan, Remote

    plan = Plan(REVISION, (Remote(BIG, 10**18, "0" * 64),))
    monkeypatch.setattr(download, "_plan_of_hub", lambda spec, root: plan)
    with pytest.raises(DownloadFailed, match=r"is full: .* MB are missing and .* are free; make space"):
        download.download_files(HubDataset(repo=REPO), tmp_path / "root", 1)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 5 MB, where this machine lets a test mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting a small file system needs rights that this machine does not give")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_too_small_is_said(files, small_disk):
    with Hub(files | {"training/Xray/x/imagesTr.zip": bytes(3_000_000)}) as hub:
        assert_one_sentence(run(hub, small_disk), "is full", "MB are missing", "make space")
        assert not any("/resolve/" in path for _, path, _ in hub.seen)


def test_a_disk_that_fills_up_on_the_way_is_said_and_what_is_there_stays(files, small_disk):
    with Hub(files) as hub:
        hub.pause = 0.02
        process = subprocess.Popen(
            [*STEP, "--spec", spec(), "--out", small_disk / "root", "--manifest", small_disk / "manifest.json"],
            env=environment(hub),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not list(small_disk.rglob("*.part")):
            time.sleep(0.01)
        (small_disk / "filler").write_bytes(bytes(3_000_000))
        stderr = process.communicate(timeout=60)[1]
        assert process.returncode == 1
        assert "is full" in stderr and "what is there is kept" in stderr and "Traceback" not in stderr
        (small_disk / "filler").unlink()
        hub.pause = 0.0
        assert run(hub, small_disk).returncode == 0
        assert any(header for _, _, header in hub.seen), "the part was not continued"
    assert_complete(small_disk, files)


def test_a_complete_download_is_not_repeated(files, tmp_path):
    with Hub(files) as hub:
        run(hub, tmp_path)
        before = manifest(tmp_path)
        hub.seen.clear()
        assert run(hub, tmp_path).returncode == 0
        assert manifest(tmp_path) == before
        assert not any("/resolve/" in path for _, path, _ in hub.seen)


def test_a_file_that_changed_on_disk_is_had_again(files, tmp_path):
    with Hub(files) as hub:
        run(hub, tmp_path)
        spoilt = bytearray(files[BIG])
        spoilt[7] ^= 1
        (tmp_path / "root" / BIG).write_bytes(bytes(spoilt))
        assert run(hub, tmp_path).returncode == 0
    assert_complete(tmp_path, files)


def test_an_interrupted_download_of_main_goes_on_with_its_commit(files, tmp_path):
    with Hub(files) as hub:
        hub.faults = {OTHER: [Fault(status=403)]}
        assert run(hub, tmp_path, revision="main").returncode == 1
        hub.seen.clear()
        assert run(hub, tmp_path, revision="main").returncode == 0
        resolved = [path for _, path, _ in hub.seen if "/revision/" in path]
    assert all(REVISION in path for path in resolved)
    assert resolved


def test_a_folder_serves_as_a_mirror(files, tmp_path):
    for path, data in files.items():
        (tmp_path / "mirror" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mirror" / path).write_bytes(data)
    with Hub({}) as hub:
        result = run(hub, tmp_path, mirror=str(tmp_path / "mirror"), include=["training/**"])
        assert hub.seen == []
    assert result.returncode == 0, result.stderr
    assert_complete(tmp_path, {k: v for k, v in files.items() if k.startswith("training/")})
    assert "mirror" not in (tmp_path / "manifest.json").read_text()


def test_a_second_download_to_the_same_folder_is_refused(files, tmp_path):
    with Hub(files) as hub:
        hub.pause = 1.0  # the first is at work until the second has ended, however slow the machine
        first = subprocess.Popen(
            [*STEP, "--spec", spec(), "--out", tmp_path / "root", "--manifest", tmp_path / "manifest.json"],
            env=environment(hub),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not list((tmp_path / "root").rglob("*.part")):
            time.sleep(0.02)
        second = run(hub, tmp_path)
        hub.pause = 0.0
        assert_one_sentence(second, "another process downloads")
        assert first.wait(60) == 0
    assert_complete(tmp_path, files)


@pytest.mark.slow
@pytest.mark.parametrize("times", [4, pytest.param(10, marks=pytest.mark.extended)])
def test_a_download_killed_at_random_moments_resumes_to_the_same_manifest(files, tmp_path, times):
    rng = random.Random(11)
    with Hub(files) as hub:
        run(hub, tmp_path / "whole")
        hub.pause = 0.02  # about four seconds for the large file
        killed = 0
        for _ in range(times):
            process = subprocess.Popen(
                [*STEP, "--spec", spec(), "--out", tmp_path / "root", "--manifest", tmp_path / "manifest.json"],
                env=environment(hub),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            start, before = time.monotonic(), len(hub.seen)
            while len(hub.seen) == before and time.monotonic() < start + 30:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 1.5))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        assert killed >= times // 3
        assert any(header for _, _, header in hub.seen), "no part was continued"
        hub.pause = 0.0
        assert run(hub, tmp_path).returncode == 0
    assert_complete(tmp_path, files)
    assert manifest(tmp_path) == manifest(tmp_path / "whole")
