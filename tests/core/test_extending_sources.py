"""The recipe of a source in docs/extending.md does what the page says; the entries in docs/data.md are valid."""

import json
import re
import shutil

import pytest
import yaml

from tests.core.test_extending import PAGE, applied, block, identities, step
from tests.data.roots import png
from workflow_scripts import ROOT
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.config.sources.joined import JoinedDataset
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.manifest import read_manifest
from workflow_scripts.core.rows import QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows

CODE = "workflow_scripts"
CONFIGURED, MODULE = f"{CODE}/core/config/sources/captions.py", f"{CODE}/data/sources/captions.py"
CHANGED = (f"{CODE}/core/config/datasets.py", f"{CODE}/data/prepare.py")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """The package with the page's source in it."""
    folder = tmp_path_factory.mktemp("sources")
    shutil.copytree(ROOT / CODE, folder / CODE, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (CONFIGURED, MODULE):
        (folder / name).write_text(block(name))
    for name in CHANGED:
        changes = [text for written, language, text in blocks() if written == name and language == "diff"]
        text = (folder / name).read_text()
        for change in changes:
            if "captions" in change or "Captions" in change:
                text = applied(text, change)
        (folder / name).write_text(text)
    return folder


def blocks():
    return re.findall(r"^`([^`\n]+)`:\n\n```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_a_source_of_the_page_goes_from_its_folder_to_rows_and_quarantine(checkout, tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    for number in range(3):
        (folder / f"p{number}.png").write_bytes(png(number))
    for number in range(2):
        (folder / f"p{number}.txt").write_text(f"Finding {number}.\n")
    spec = json.dumps({"source": "captions", "path": str(folder)})
    names = ("rows", "quarantine", "images", "conventions")
    tables = [flag for name in names for flag in (f"--{name}", tmp_path / f"{name}.parquet")]
    root, manifest = tmp_path / "root", tmp_path / "manifest.json"
    said = step(
        *("data.prepare", "--spec", spec, "--source", folder, "--out", root, "--manifest", manifest),
        *("--name", "mine", "--seen", tmp_path / "seen.json"),
        path=[checkout],
    )
    assert "prepare: 3 records, 4 files" in said
    assert [path.rpartition("/")[2] for path in read_manifest(manifest)][:3] == ["p0.png", "p1.png", "p2.png"]
    flags = ("--root", root, "--manifest", manifest, "--policies", "{}", "--workdir", tmp_path / "work")
    step("data.convert", *flags, *tables, path=[checkout])
    rows = read_rows(tmp_path / "rows.parquet", Row)
    assert [(row.answer, row.task, row.modality) for row in rows] == [
        ("Finding 0.", "report", "Xray"),
        ("Finding 1.", "report", "Xray"),
    ]
    [lost] = read_rows(tmp_path / "quarantine.parquet", QuarantinedRow)
    assert (lost.reason, lost.detail) == ("no_answer", "p2.txt is missing")


def test_an_edited_source_prepares_its_own_datasets_again_and_no_others(checkout):
    modules = ("data.sources.captions", "data.sources.table", "data.prepare", "data.convert")
    before, file = identities([checkout], *modules), checkout / MODULE
    text = file.read_text()
    file.write_text(text + "\n# a line\n")
    after = identities([checkout], *modules)
    file.write_text(text)
    assert [module for module in modules if before[module] != after[module]] == ["data.sources.captions"]


def test_the_entries_on_the_page_of_the_data_are_valid():
    page = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    kinds = {"table": TableDataset, "joined": JoinedDataset}
    entries = 0
    for text in re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        raw = yaml.safe_load(text)
        for entry in raw.get("datasets", {}).values() if isinstance(raw.get("datasets"), dict) else ():
            if entry.get("source") in kinds:
                kinds[entry["source"]].model_validate(entry)
                entries += 1
        for split in raw.get("splits", {}).values():
            Split.model_validate(split)
    assert entries >= 5
