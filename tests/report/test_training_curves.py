"""What the figures of a training draw: means, thinned logs, panels, and labels that say the value."""

import re
from dataclasses import replace

import numpy as np
import pytest

from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.report.palette import system_colours
from workflow_scripts.report.plots.render import svg_of
from workflow_scripts.report.plots.training import SERIES, smoothed, thinned, training_curves

COLOURS = system_colours(["base", "tuned"])


def test_the_smooth_line_is_a_centred_mean():
    values = list(np.random.default_rng(4).uniform(0, 1, 50))
    assert smoothed(values, 5)[10:40] == pytest.approx(list(np.convolve(values, np.ones(5) / 5, "valid"))[8:38])
    assert smoothed(values, 1) == pytest.approx(values) and len(smoothed(values, 9)) == 50


def test_long_logs_are_thinned_evenly_and_keep_both_ends():
    places = thinned(4001, 101)
    assert places == [40 * place for place in range(101)] and thinned(3, 101) == [0, 1, 2]


def test_a_quantity_that_a_log_does_not_hold_has_no_panel():
    steps = [TrainingStep(place + 1, 0.1, 1.0 / (place + 1), None, 1e-4, None, None, None) for place in range(30)]
    (drawing,) = training_curves({"tuned": steps}, COLOURS)
    assert {series.field for series in SERIES if series.title in drawing.description} == {"loss", "learning_rate"}
    assert training_curves({"tuned": []}, COLOURS) == []


@pytest.mark.parametrize("count", [8, 64])
@pytest.mark.parametrize(("field", "most"), [("learning_rate", 2e-3), ("learning_rate", 2e-4), ("loss", 0.008)])
def test_the_labels_of_an_axis_of_training_differ(field, most, count):
    steps = [TrainingStep(step, 0.1, None, None, None, None, None, None) for step in range(1, count + 1)]
    steps = [replace(step, **{field: most * step.step / count}) for step in steps]
    (drawing,) = training_curves({"tuned": steps}, COLOURS)
    labels = re.findall(r">(\d[0-9.e+\u2212-]*)</text>", svg_of(drawing))
    of_y = [label for label in labels if label not in {str(step) for step in range(1, 65)}]  # those of steps are whole
    of_y.remove("0")  # of the axis of steps
    assert "0" in of_y and len(of_y) > 3 and len(set(of_y)) == len(of_y)


def test_the_axis_of_two_steps_has_each_step_once():
    steps = [TrainingStep(step, 0.1, 1.0, None, 1e-4, None, None, None) for step in (1, 2)]
    (drawing,) = training_curves({"tuned": steps}, COLOURS)
    of_loss = svg_of(drawing).partition(">step</text>")[0]
    assert re.findall(r">([0-9])</text>", of_loss)[:3] == ["0", "1", "2"]


@pytest.mark.parametrize(("steps", "said"), [(30, "a window of 1 step."), (50, "a window of 2 steps.")])
def test_the_caption_of_training_counts_its_window(steps, said):
    log = [TrainingStep(place + 1, 0.1, 1.0, None, 1e-4, None, None, None) for place in range(steps)]
    (drawing,) = training_curves({"tuned": log}, COLOURS)
    assert drawing.caption.endswith(said)
