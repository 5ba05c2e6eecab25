"""Judges in the configuration: presets of CRIMSON's and GREEN's own models, names, and revisions."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.workflow.runs import ROOT
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration

BASE = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())


def judges(**sections):
    return load_configuration(BASE | {"judges": sections}, "here").judges


def test_one_line_names_crimsons_or_greens_own_judge():
    both = judges(crimson={"backend": "crimson"}, green={"backend": "green"})
    assert both["crimson"].checkpoint == "rajpurkarlab/medgemma-4b-it-crimson"
    assert both["green"].checkpoint == "StanfordAIMI/GREEN-radllama2-7b"
    for name, judge in both.items():
        assert (judge.metric, judge.revision, judge.guidelines, judge.gpus) == (name, "main", False, 1)


def test_every_key_of_a_preset_can_be_set_and_a_folder_has_no_revision(tmp_path):
    section = {"backend": "green", "checkpoint": str(tmp_path), "max_new_tokens": 200, "shards": 4}
    judge = judges(green=section)["green"]
    assert (judge.checkpoint, judge.revision, judge.max_new_tokens, judge.shards) == (str(tmp_path), None, 200, 4)
    assert judges(green={"backend": "green", "revision": "a" * 40})["green"].revision == "a" * 40


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            {"backend": "transformers", "metric": "green", "checkpoint": "some/model"},
            "needs its full commit, or `main`",
        ),
        ({"backend": "green", "revision": "v2"}, "judges.mine.revision"),
        ({"backend": "crimson", "checkpoint": "./absent"}, "./absent is not a directory"),
        ({"backend": "crimsom"}, "'crimsom' is not known; allowed: "),
        ({"backend": "crimson", "shard": 2}, "unknown key; did you mean 'shards'?"),
    ],
)
def test_a_wrong_section_is_named_with_what_is_allowed(section, sentence):
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        judges(mine=section)


@pytest.mark.parametrize("name", ["medgemma-flare", "minicourse", "flare25-medgemma"])
def test_shipped_configurations_for_real_data_score_with_both(name):
    raw = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    metrics = {section.get("backend") for section in raw["judges"].values()}
    assert {"crimson", "green", "rule_based"} <= metrics


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}", fullmatch=True))
def test_a_judge_may_be_called_by_letters_digits_underscores_and_hyphens(name):
    assert set(judges(**{name: {"backend": "rule_based"}})) == {name}


@given(st.text(min_size=1, max_size=12).filter(lambda name: not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name)))
def test_any_other_name_is_refused(name):
    with pytest.raises(ConfigurationError):
        judges(**{name: {"backend": "rule_based"}})
