"""The commits that a run recorded go into its configuration, in the place of `main`, and nothing else changes."""

import json

import pytest
import yaml

from workflow_scripts.cli.pin import pin, pinned
from workflow_scripts.core.command import Refused

COMMIT, OTHER = "a" * 40, "b" * 40
TEXT = """\
results: {results}
# what is compared
datasets:
  flare:
    source: hub
    repo: FLARE-MedFM/FLARE-MLLM-2D
    revision: main  # resolved once
splits:
  train: {{dataset: flare, folder: training}}
  validation: {{dataset: flare, folder: validation-public}}
models:
  med: {{source: hub, family: gemma3, checkpoint: org/med, revision: main}}
systems:
  base: {{model: med}}
  theirs: {{model: med, adapter: some/lora@main}}
judges:
  crimson: {{backend: crimson}}
  green:  # GREEN's own
    backend: green
    retries: 1
  rule_based: {{backend: rule_based}}
evaluate: [validation]
"""


@pytest.fixture
def configuration(tmp_path):
    file = tmp_path / "flare.yaml"
    file.write_text(TEXT.format(results=tmp_path / "results"))
    return file


def record(tmp_path, name, content):
    path = tmp_path / "results" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_the_recorded_commits_take_the_place_of_main_and_comments_stay(tmp_path, configuration):
    record(tmp_path, "data/flare/manifest.json", {"source": {"revision": COMMIT}, "files": []})
    record(tmp_path, "models/med.json", {"revision": OTHER})
    record(tmp_path, "models/adapters/theirs.json", {"revision": COMMIT})
    record(tmp_path, "models/judges/crimson.json", {"revision": COMMIT})
    record(tmp_path, "models/judges/green.json", {"revision": OTHER})
    before = configuration.read_text()
    assert pin(configfile=configuration).splitlines() == [
        f"datasets.flare.revision: {COMMIT}",
        f"models.med.revision: {OTHER}",
        f"systems.theirs.adapter: …@{COMMIT}",
        f"judges.crimson.revision: {COMMIT}",
        f"judges.green.revision: {OTHER}",
    ]
    after = configuration.read_text()
    assert f"    revision: {COMMIT}  # resolved once\n" in after
    assert f"  crimson: {{backend: crimson, revision: {COMMIT}}}\n" in after
    expected = yaml.safe_load(before)
    expected["datasets"]["flare"]["revision"] = expected["judges"]["crimson"]["revision"] = COMMIT
    expected["judges"]["green"]["revision"] = expected["models"]["med"]["revision"] = OTHER
    expected["systems"]["theirs"]["adapter"] = f"some/lora@{COMMIT}"
    assert yaml.safe_load(after) == expected
    assert [line for line in before.splitlines() if line.startswith("#") or "GREEN" in line] == [
        line for line in after.splitlines() if line.startswith("#") or "GREEN" in line
    ]
    assert pin(configfile=configuration) == f"{configuration}: no revision is `main`"


def test_what_was_not_fetched_is_named_with_the_command_and_nothing_is_written(tmp_path, configuration):
    record(tmp_path, "data/flare/manifest.json", {"source": {"revision": COMMIT}, "files": []})
    record(tmp_path, "models/med.json", {"revision": OTHER})
    record(tmp_path, "models/adapters/theirs.json", {"revision": COMMIT})
    before = configuration.read_text()
    with pytest.raises(Refused, match=r"judges\.crimson, judges\.green: .*crimson\.json is missing.*--until"):
        pin(configfile=configuration)
    assert configuration.read_text() == before


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  b:\n    x: 1\n", f"a:\n  b:\n    revision: {COMMIT}\n    x: 1\n"),
        ("a:\n  b: {x: [1, 2]}\n", f"a:\n  b: {{x: [1, 2], revision: {COMMIT}}}\n"),
        ("a: {b: {revision: main, x: 1}}\n", f"a: {{b: {{revision: {COMMIT}, x: 1}}}}\n"),
        ("a:\n  b:\n    revision: 'main'\n", f"a:\n  b:\n    revision: {COMMIT}\n"),
    ],
)
def test_a_revision_is_replaced_or_added_in_the_style_of_its_section(text, expected):
    assert pinned(text, ("a", "b"), COMMIT) == expected
