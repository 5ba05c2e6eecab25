"""Measures of faithfulness equal what they are defined as, written anew here."""

import numpy as np
import pytest

from workflow_scripts.core.saliency.rows import SaliencyFact
from workflow_scripts.saliency.filling import filled, filler_of, moved, region_of_boxes
from workflow_scripts.saliency.measures import (
    centred_map,
    curve_places,
    deletion_and_insertion,
    mass_in_box,
    middles_inside,
    pointing_game,
    rank_correlation,
)
from workflow_scripts.saliency.table import bootstrap, values_of, wilson


def areas_anew(values, probability, steps):
    """Deletion and insertion areas by the definition: one window set after the other, trapezoids added up."""
    order = sorted(range(len(values)), key=lambda window: -values[window])
    places = sorted({round(step * len(values) / steps) for step in range(steps + 1)})
    deleted = [probability(set(order[:count])) for count in places]
    inserted = [probability(set(order) - set(order[:count])) for count in places]
    return [
        sum((curve[i] + curve[i + 1]) / 2 * (places[i + 1] - places[i]) for i in range(len(places) - 1)) / len(values)
        for curve in (deleted, inserted)
    ]


@pytest.mark.parametrize(("windows", "steps"), [(16, 4), (16, 16), (13, 5), (3, 3)])
def test_deletion_and_insertion_equal_areas_that_are_computed_anew(windows, steps):
    rng = np.random.default_rng(windows)
    values, weights = rng.permutation(windows).astype(float), rng.random(windows)

    def probability(filled_windows):
        return float(np.exp(-weights[sorted(filled_windows)].sum()))

    def probabilities(sets):
        return np.array([probability(set(chosen.tolist())) for chosen in sets])

    areas = deletion_and_insertion(values, probabilities, steps, np.random.default_rng(0))
    assert np.allclose(areas, areas_anew(values, probability, steps))


def test_a_faithful_map_deletes_sooner_and_inserts_sooner_than_the_reverse():
    weights = np.arange(20.0)

    def probabilities(sets):
        return np.array([np.exp(-weights[chosen].sum() / 20) for chosen in sets])

    one, other = (deletion_and_insertion(m, probabilities, 10, np.random.default_rng(0)) for m in (weights, -weights))
    assert one[0] < other[0] and one[1] > other[1]


def test_curves_begin_with_nothing_and_end_with_all():
    assert curve_places(16, 4) == [0, 4, 8, 12, 16]
    assert curve_places(3, 10) == [0, 1, 2, 3]


def test_the_pointing_game_asks_for_the_middle_of_the_highest_window():
    labels = np.kron(np.arange(4).reshape(2, 2), np.ones((5, 5), dtype=int))
    inside = middles_inside(labels, region_of_boxes([(4, 0, 10, 5)], 10, 10))
    assert inside.tolist() == [False, True, False, False]
    assert pointing_game(np.array([1.0, 2.0, 0.0, -9.0]), inside) == 1
    assert pointing_game(np.array([3.0, 2.0, 0.0, 0.0]), inside) == 0
    assert pointing_game(np.array([2.0, 2.0, 0.0, 0.0]), inside) == 0.5
    assert pointing_game(np.zeros(4), inside) == 0.25  # a flat map gives what chance does


def test_mass_counts_what_speaks_for_the_answer():
    values = np.array([[3.0, -5.0], [1.0, 0.0]])
    assert mass_in_box(values, np.array([[True, True], [False, False]])) == 0.75
    assert mass_in_box(-np.abs(values), np.ones((2, 2), dtype=bool)) is None


def test_the_centred_map_is_highest_in_the_middle_and_symmetric():
    values = centred_map(9, 5)
    assert values.shape == (5, 9) and values.argmax() == 22
    assert np.allclose(values, values[::-1, ::-1])


def test_ranks_correlate_whatever_the_scale_and_flat_maps_do_not():
    one = np.array([3.0, 1.0, 2.0, 9.0])
    assert rank_correlation(one, np.exp(one)) == pytest.approx(1)
    assert rank_correlation(one, -one) == pytest.approx(-1)
    assert rank_correlation(one, np.ones(4)) is None


def test_a_box_holds_the_pixels_whose_middle_lies_in_it():
    region = region_of_boxes([(1.5, 0, 3.4, 2), (4, 4, 99, 99)], 6, 5)
    assert region.sum() == 2 * 2 + 1 * 2 and region[0, 1:3].all() and region[4, 4:].all()


def test_a_moved_region_has_the_area_of_the_first():
    region, rng = region_of_boxes([(2, 3, 6, 5)], 12, 10), np.random.default_rng(0)
    places = {moved(region, rng).tobytes() for _ in range(50)}
    assert all(np.frombuffer(place, dtype=bool).sum() == region.sum() for place in places) and len(places) > 30


def test_a_filled_region_is_of_the_mean_colour_and_the_rest_stays():
    import PIL.Image

    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[:2] = (100, 200, 40)
    image = PIL.Image.fromarray(pixels)
    region = region_of_boxes([(0, 0, 1, 1)], 4, 4)
    changed = np.asarray(filled(image, filler_of(image, "mean"), region))
    assert changed[0, 0].tolist() == [50, 100, 20] and (changed[~region] == pixels[~region]).all()
    assert (np.asarray(image) == pixels).all()


def fact(row, case, measure, value):
    return SaliencyFact(f"row/{row}", case, "tuned", "", "own", measure, value)


def test_shares_have_wilsons_interval_over_cases_and_others_a_bootstrap_of_cases():
    assert wilson(1.0, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
    assert wilson(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    rows = [fact(n, f"case-{n // 2}", "pointing_game", 1.0) for n in range(40)]
    rows += [fact(n, f"case-{n // 2}", "mass_in_box", float(n % 2)) for n in range(40)]
    pointing, mass = values_of("maps", rows)
    assert (pointing.value, pointing.rows, pointing.clusters) == (1.0, 40, 20)
    assert pointing.low == pytest.approx(0.8389, abs=1e-4)
    assert (mass.low, mass.value, mass.high) == (0.5, 0.5, 0.5)  # each case has one of either
    low, high = bootstrap(np.arange(30.0), np.arange(30), 30)
    assert 10 < low < 14.5 < high < 19


def test_the_change_at_a_region_stands_beside_that_elsewhere_row_by_row():
    rows = [fact(n, f"c{n}", "changed_box", float(n < 9)) for n in range(10)]
    rows += [fact(n, f"c{n}", "changed_box_random", 0.25) for n in range(10)]
    by_measure = {value.measure: value for value in values_of("maps", rows)}
    assert by_measure["changed_box_difference"].value == pytest.approx(0.65)
    assert by_measure["changed_box"].value == 0.9
