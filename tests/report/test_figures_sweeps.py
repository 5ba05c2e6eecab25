"""Figures of training: a sweep's settings with the chosen one, and answers to held-out rows beside the curves."""

import pytest

from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.report.palette import system_colours
from workflow_scripts.report.plots.render import write_drawings
from workflow_scripts.report.plots.training import settings_of, sweep_plot, training_curves

NAMES = [f"study-b{batch}-lr{rate}e-5" for batch in (8, 16) for rate in (5, 15, 50)] + ["study-b16-lr10e-5-last"]
LOSSES = {name: [2.0 / (1 + place) + 0.1 * number for place in range(4)] for number, name in enumerate(NAMES)}
HOSTILE = "<script>alert(1)</script> & \u202eturned"


def history(losses):
    steps = [TrainingStep(n, n / 8, 2.0 / n, None, 1e-4, None, None, None) for n in range(1, 9)]
    return steps + [TrainingStep(2 * n, n / 4, None, None, None, None, None, loss) for n, loss in enumerate(losses, 1)]


@pytest.fixture(scope="module")
def histories():
    return {name: history(losses) for name, losses in LOSSES.items()}


def selection(metric="loss"):
    settings = [
        {"name": name, "step": 8, "loss": losses[-1], "row_score": number / 10, "keep": "best"}
        for number, (name, losses) in enumerate(LOSSES.items())
    ]
    return {"sweep": "study", "chosen": NAMES[0], "metric": metric, "settings": settings}


def test_a_sweep_is_one_figure_that_states_every_setting_and_the_choice(histories, tmp_path):
    (drawing,) = sweep_plot("study", settings_of(NAMES, histories, selection()), "loss", NAMES[0])
    assert drawing.name == "sweep-study" and drawing.description.startswith("7 settings; loss of the published")
    assert f"{NAMES[0]} 0.50 at step 8; {NAMES[1]} 0.60 at step 8" in drawing.description
    assert f"Chosen: {NAMES[0]}." in drawing.description
    (figure,) = write_drawings(tmp_path, [drawing])
    svg = (tmp_path / figure.svg).read_text()
    assert all(name.removeprefix("study-") in svg for name in NAMES) and "0.50, chosen" in svg


def test_what_a_sweep_chooses_by_is_what_is_compared(histories):
    (drawing,) = sweep_plot("study", settings_of(NAMES, histories, selection("row_score")), "row_score", NAMES[0])
    assert f"{NAMES[6]} 0.60 at step 8" in drawing.description and "mean score of held-out answers" in drawing.caption


def test_a_sweep_without_a_selection_shows_each_settings_least_loss(histories):
    (drawing,) = sweep_plot("study", settings_of(NAMES, histories, {}), "loss", None)
    assert f"Best: {NAMES[0]}." in drawing.description and "chosen" not in drawing.caption
    assert sweep_plot("study", settings_of(["x"], {"x": history([])}, {}), "loss", None) == []


def test_answers_to_held_out_rows_stand_beside_the_curves_of_their_system(histories, tmp_path):
    name = NAMES[0]
    samples = [
        SampleAnswer(
            step, f"row/{number}", f"How many? {HOSTILE}", "17", "17" if step == 8 and number else f"step {step}"
        )
        for step in (2, 4, 6, 8)
        for number in range(2)
    ]
    shown = {system: histories[system] for system in NAMES[:2]}
    drawings = training_curves(shown, system_colours(NAMES), {name: samples})
    assert [drawing.name for drawing in drawings] == [f"training-{name}", f"samples-{name}", f"training-{NAMES[1]}"]
    assert drawings[1].description == (
        "2 rows, 4 evaluations, the last after step 8: 1 of 2 answers are then the reference's text."
    )
    figure = write_drawings(tmp_path, drawings[1:2])[0]
    svg = (tmp_path / figure.svg).read_text()
    assert "<script>" not in svg and "&lt;script" in svg and "\u202e" not in svg and "step 6" in svg
