"""Every page is one frame: its policy, its data, and its drawings."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.report.splits import HOSTILE
from workflow_scripts.core.pages import inline_svg, render_page, script_json, visible_directions


@pytest.fixture
def template(tmp_path) -> Path:
    (tmp_path / "t.jinja").write_text(
        '{% extends "base.html.jinja" %}{% block title %}{{ title }}{% endblock %}'
        '{% block content %}<p>{{ title }}</p><script type="application/json">{{ value | script_json }}</script>'
        "{% endblock %}"
    )
    return tmp_path


def test_a_page_forbids_every_script_but_its_own(template):
    text = render_page(template, "t.jinja", script="run();", title=HOSTILE, value=[HOSTILE])
    own = re.search(r"<script>(.*?run\(\);)</script>", text, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert "unsafe-eval" not in policy and "http" not in policy
    assert text.count("<script") == 2
    assert json.loads(re.search(r'json">(.*?)</script>', text)[1]) == [HOSTILE]
    without = render_page(template, "t.jinja", title="", value=1)
    assert "script-src &#39;none&#39;;" in without


def test_a_control_of_direction_is_shown_and_turns_nothing(template):
    text = render_page(template, "t.jinja", title="a\u202eb\u2066c", value=1)
    assert "<p>a[U+202E]b[U+2066]c</p>" in text
    assert visible_directions("\u061ca\u200f\n") == "[U+061C]a[U+200F]\n"


def test_a_script_that_would_end_its_element_is_an_error(template):
    with pytest.raises(ValueError, match="would end its element"):
        render_page(template, "t.jinja", script="'</SCRIPT>'", title="", value=1)


def test_data_in_a_page_hold_no_character_that_ends_or_breaks_a_script():
    text = script_json({"a": HOSTILE, "b": "\u2028\u2029"})
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == {"a": HOSTILE, "b": "\u2028\u2029"}


def test_a_drawing_brings_no_script_and_its_names_are_its_own():
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" onload="run()">'
        '<script>run()</script><foreignObject/><clipPath id="c"/><g clip-path="url(#c)" fill="#1B1F24"/>'
        '<a xlink:href="javascript:run()"><use xlink:href="#c"/></a><text>&lt;b&gt;</text><SCRIPT>run()</SCRIPT>'
        '<style>@import "http://x/run()"</style><animateMotion onbegin="run()"/></svg>'
    )
    svg = inline_svg(drawing, name="one", title='"<words>"', colours={"#1b1f24": "var(--ink)"})
    assert "run()" not in svg and "foreignObject" not in svg and "animate" not in svg
    assert 'id="one-c"' in svg and "url(#one-c)" in svg and '"#one-c"' in svg
    assert 'fill="var(--ink)"' in svg and "&lt;b&gt;" in svg and 'role="img"' in svg
    with pytest.raises(ValueError, match="is not SVG"):
        inline_svg("<p>", name="two", title="")
