"""A split never shares an image or a case with another side; ranges of one seed are disjoint and make a whole."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.roots import convert_rows, converted, png, row, write_subset
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.rows import ExpectedFormat, Image, Row
from workflow_scripts.data.case_groups import group_rows, positions, ties
from workflow_scripts.data.split import EmptySplit, leaks, select

THIRDS = ((0.0, 0.8), (0.8, 0.9), (0.9, 1.0))


def bare(uid: str, case: str, images: list[str], task: str = "report") -> Row:
    """A row of nothing but what choosing rows looks at."""
    shown = tuple(Image(f"{image}.png", image, 1, 1) for image in images)
    return Row(uid, "ds", "", "training", task, "", case, "", ExpectedFormat(), shown, "", "A", "", "", 0)


def split(**changes: object) -> Split:
    return Split(**{"dataset": "toy", "folder": "training"} | changes)


def uids(rows: list[Row]) -> set[str]:
    return {r.uid for r in rows}


def all_ties(rows: list[Row]) -> set:
    return {tie for r in rows for tie in ties(r, {})}


def parts(rows: list[Row], seed: int = 7, **changes: object) -> list[list[Row]]:
    ranges = ({"seed": seed, "start": start, "stop": stop} for start, stop in THIRDS)
    return [select(rows, split(part=part, **changes), {}) for part in ranges]


rows_strategy = st.lists(
    st.tuples(st.integers(0, 40), st.lists(st.integers(0, 60), min_size=1, max_size=3), st.sampled_from("ab")),
    min_size=30,
    max_size=80,
)


@settings(deadline=None)
@given(rows_strategy, st.integers(0, 99))
def test_80_10_10_is_disjoint_by_image_and_case_and_loses_nothing(drawn, seed):
    rows = [bare(str(i), f"c{c}", [f"i{x}" for x in xs], task) for i, (c, xs, task) in enumerate(drawn)]
    groups, sides = group_rows(rows, {}), []
    places = positions(groups, seed)
    assert all(0 < place < 1 for place in places)
    for start, stop in THIRDS:
        sides.append([r for g, p in zip(groups, places, strict=True) for r in g if start <= p < stop])
    assert sum(map(len, sides)) == len(rows)
    for i, one in enumerate(sides):
        for other in sides[i + 1 :]:
            assert not all_ties(one) & all_ties(other)


def test_tasks_chosen_alone_are_in_the_same_parts_as_among_all(toy):
    whole, some = parts(toy.rows), parts(toy.rows, tasks=("counting", "report"))
    for every, chosen in zip(whole, some, strict=True):
        assert uids(chosen) == {r.uid for r in every if r.task in ("counting", "report")}
    assert {r.task for side in some for r in side} == {"counting", "report"}


def test_the_toy_training_folder_splits_80_10_10_within_each_subset_and_task(toy):
    training = [r for r in toy.rows if r.folder == "training"]
    sides = parts(toy.rows)
    assert uids(training) == set().union(*map(uids, sides))
    assert sum(map(len, sides)) == len(training)
    assert not all_ties(sides[0]) & (all_ties(sides[1]) | all_ties(sides[2]))
    for subset, task in {(r.subset, r.task) for r in training}:
        whole, share = (sum((r.subset, r.task) == (subset, task) for r in s) for s in (training, sides[0]))
        assert abs(share / whole - 0.8) < 0.15


def test_a_split_depends_on_its_rows_and_its_seed_alone(toy):
    assert [uids(s) for s in parts(toy.rows)] == [uids(s) for s in parts(toy.rows[::-1])]
    assert [uids(s) for s in parts(toy.rows)] != [uids(s) for s in parts(toy.rows, seed=8)]


def test_choosing_subsets_moves_no_row_between_sides(toy):
    whole, some = parts(toy.rows), parts(toy.rows, only=("cells", "moles"))
    for all_rows, chosen in zip(whole, some, strict=True):
        assert uids(chosen) == {r.uid for r in all_rows if r.subset in ("cells", "moles")}


def test_rows_of_one_image_in_two_tasks_stay_together(toy):
    fetal = [r for r in toy.rows if r.subset == "fetal" and r.folder == "training"]
    sides = parts(toy.rows, only=("fetal",))
    assert {r.task for r in fetal} == {"detection", "classification"}
    for side in sides:
        assert {r.images[0].sha256 for r in side}.isdisjoint(
            r.images[0].sha256 for r in fetal if r.uid not in uids(side)
        )


def test_a_limit_takes_whole_cases_of_every_subset(toy):
    chosen = select(toy.rows, split(limit=60), {})
    training = [r for r in toy.rows if r.folder == "training"]
    assert 50 <= len(chosen) <= 60
    assert {r.subset for r in chosen} == {r.subset for r in training}
    left = [r for r in training if r.uid not in uids(chosen)]
    assert not all_ties(chosen) & all_ties(left)


def test_rows_that_leak_by_image_case_or_company_are_left_out(toy):
    evaluated = [bare("e", "c1", ["i1"])]
    rows = [
        bare("image", "c2", ["i1"]),
        bare("case", "c1", ["i3"]),
        bare("company", "c2", ["i4"]),
        bare("safe", "c5", ["i5"]),
    ]
    assert {f.uid: f.reason for f in leaks(rows, evaluated, {})} == {
        "image": "leaked_image", "case": "leaked_case", "company": "leaked_group",
    }  # fmt: skip


def test_nothing_of_the_evaluated_folder_is_left_in_training(toy):
    training, evaluated = select(toy.rows, split(), {}), select(toy.rows, split(folder="validation-public"), {})
    left_out = {f.uid for f in leaks(training, evaluated, {})}
    safe = [r for r in training if r.uid not in left_out]
    assert len(left_out) == 3
    assert not all_ties(safe) & all_ties(evaluated)


def test_the_real_root_splits_without_a_leak(real_root, tmp_path):
    rows = converted(real_root, tmp_path).rows
    evaluated = select(rows, split(folder="validation-public"), {})
    training = select(rows, split(), {})
    left_out = {f.uid for f in leaks(training, evaluated, {})}
    assert not all_ties([r for r in training if r.uid not in left_out]) & all_ties(evaluated)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"folder": "testing"}, "no row of toy is in folder 'testing'; folders there: training. Name another `folder`"),
        ({"only": ("IU_XRay",)}, "no row of IU_XRay is in folder 'training'; subsets there: ds"),
        ({"tasks": ("counting",)}, "no counting row is in folder 'training'; tasks there: classification"),
        ({"part": {"start": 0.0, "stop": 0.1}}, "widen it"),
    ],
)
def test_an_empty_split_says_what_there_is(tmp_path, changes, said):
    rows = convert_rows(tmp_path, [row("imagesTr/0.png")]).rows
    with pytest.raises(EmptySplit, match=said):
        select(rows, split(**changes), {})


def test_a_split_of_a_dataset_without_rows_leads_to_the_audit():
    with pytest.raises(EmptySplit, match=r"no row of toy is in folder 'training'; it has no rows at all.*the audit"):
        select([], split(), {})


@pytest.mark.parametrize(
    ("paths", "one_case"),
    [
        (("CXR12_frontal.png", "CXR12_lateral.png"), True),
        (("CXR12_IM-1.png", "CXR123_IM-1.png"), False),
        (("CXR7_IM-2/0.png", "CXR7_IM-2/1.png"), True),
        (("CXR7_IM-2/0.png", "CXR8_IM-2/0.png"), False),
        # names of FLARE's public validation split
        (("IU-XRay_CXR3030_IM-1405-0.png", "IU-XRay_CXR3030_IM-1405-1.png"), True),
        (("IU-XRay_CXR3030_IM-1405-0.png", "IU-XRay_CXR303_IM-1405-0.png"), False),
        (("CMMD_D1-0002-1.png", "CMMD_D1-0002-2.png"), True),
        (("CMMD_D1-0002-1.png", "CMMD_D2-0002-1.png"), False),
        (("BUS-UCLM_00003-000.png", "BUS-UCLM_00003-014.png"), True),
        (("BUS-UCLM_00003-000.png", "BUS-UCLM_00034-000.png"), False),
        (("NeoJaundice_00672-1.jpg", "NeoJaundice_00672-3.jpg"), True),
        (("BCN20000_03396-1.jpg", "BCN20000_03396-2.jpg"), True),
        (("Endo_00072-1.png", "Endo_00066-1.png"), False),
        (("ChestDR_04222.png", "ChestDR_04643.png"), False),
        (("D1-0001_1-1.png", "D1-0001_1-2.png"), True),
        (("D1-0001_CC.png", "D1-0002_CC.png"), False),
        (("0001-1.jpg", "0001-3.jpg"), True),
        (("ALWI_000.png", "ALWI_017.png"), True),
        (("COVID-00013a.jpg", "COVID-00013b.jpg"), True),
        (("COVID-00013.jpg", "COVID-00014.jpg"), False),
        (("case0001_frame1.png", "case0001_frame5.png"), True),
        (("nuclei_000_064.png", "nuclei_000_128.png"), False),
        (("ISIC_0012345.png", "ISIC_0012346.png"), False),
    ],
)
def test_a_case_is_read_from_the_names_of_its_images(tmp_path, paths, one_case):
    images = {f"imagesTr/{path}": png(i) for i, path in enumerate(paths)}
    write_subset(tmp_path / "root", [row(name) for name in images], images)
    cases = {r.case_id for r in converted(tmp_path / "root", tmp_path).rows}
    assert (len(cases) == 1) == one_case


def test_a_bare_number_is_a_case_in_its_own_folder_alone(tmp_path):
    root = tmp_path / "root"
    write_subset(root, [row("imagesTr/0007.png")], {"imagesTr/0007.png": png(0)})
    write_subset(root, [row("imagesVal/0007.png")], {"imagesVal/0007.png": png(1)}, folder="validation-public")
    rows = converted(root, tmp_path).rows
    assert len({r.case_id for r in rows}) == 2


def test_the_configuration_can_say_what_a_case_is(tmp_path):
    images = {f"imagesTr/p1_visit{i}.png": png(i) for i in range(2)}
    write_subset(tmp_path / "root", [row(name) for name in images], images)
    rows = converted(tmp_path / "root", tmp_path, cases={"ds": r"/(p\d+)_visit"}).rows
    assert {r.case_id for r in rows} == {"ds/p1"}
