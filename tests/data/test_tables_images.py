"""Images of a table's rows: where they are looked for, what is shown twice, and who they are of."""

import zipfile

import pytest

from tests.data.roots import converted, png
from tests.data.table_layouts import write_files
from tests.data.tables import CLOSED, lab, plain, table_of
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.case_groups import pixels_of
from workflow_scripts.data.conversion.rows import CASE
from workflow_scripts.data.split import EmptySplit, split_rows


def test_images_are_linked_and_never_copied(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0), plain(0, question="Is there a mass?"), plain(1)])
    done = table_of(tmp_path / "work", folder, task=CLOSED)
    links = [path for path in done.root.rglob("*") if path.suffix == ".png"]
    assert sorted(path.resolve() for path in links) == [folder / "scans/0.png", folder / "scans/1.png"]
    assert all(path.is_symlink() for path in links)


def test_a_folder_is_linked_to_as_a_whole_where_it_holds_the_images_of_rows_alone(tmp_path):
    folder = tmp_path / "lab"
    write_files(
        folder, {f"{place}/{n}.png": png(n) for place in ("whole", "more", "outer", "outer/inner") for n in (0, 1)}
    )
    write_files(folder, {"more/2.png": png(2), "outer/notes.txt": "no image"})
    paths = sorted(path for path in folder.rglob("[01].png"))
    lines = [f"{path.relative_to(folder).as_posix()},Is it {n}?,yes" for n, path in enumerate(paths)]
    write_files(folder, {"t.csv": "\n".join(["image,question,answer", *lines]) + "\n"})
    done = table_of(tmp_path / "work", folder, task=CLOSED)
    assert len(done.result.rows) == 8
    links = sorted(path for path in done.root.rglob("*") if path.is_symlink())
    below = done.root / "training/Image/mine"
    assert [path.relative_to(below).as_posix() for path in links] == [
        *("more/0.png", "more/1.png", "outer/0.png", "outer/1.png", "outer/inner", "whole")
    ]
    assert all(path.resolve() == folder / path.relative_to(below) for path in links)


@pytest.mark.parametrize("beside", ["notes.csv", ".hidden.png", "scan.dcm", "deeper/1.png", "itself"])
def test_a_folder_that_holds_anything_else_is_never_linked_to_as_a_whole(tmp_path, beside):
    folder = tmp_path / "lab"
    write_files(folder, {"scans/0.png": png(0), "t.csv": "image,question,answer\nscans/0.png,Is it?,yes\n"})
    if beside == "itself":
        (folder / "scans/itself").symlink_to("itself")
    else:
        write_files(folder, {f"scans/{beside}": "private"})
    done = table_of(tmp_path / "work", folder, task=CLOSED)
    assert len(done.result.rows) == 1
    [link] = [path for path in done.root.rglob("*") if path.is_symlink()]
    assert link.relative_to(done.root / "training/Image/mine").as_posix() == "scans/0.png"


def test_folders_of_images_may_lie_elsewhere(tmp_path):
    folder = lab(tmp_path / "lab", [plain(0, image="0.png"), plain(1, image=str(tmp_path / "lab/scans/1.png"))])
    done = table_of(tmp_path / "work", folder, task=CLOSED, images_in=[str(folder / "scans")])
    assert len(done.result.rows) == 2
    with pytest.raises(BadFile, match=r"there is no nowhere, where `images_in` says"):
        table_of(tmp_path / "other", folder, task=CLOSED, images_in=["nowhere"])


def test_a_prior_image_has_its_role_and_the_first_study_lacks_it(tmp_path):
    rows = [plain(0, prior=""), plain(1, prior="scans/0.png")]
    images = [{"column": "image", "role": "current"}, {"column": "prior", "role": "prior", "optional": True}]
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), task=CLOSED, images=images)
    assert [[image.role for image in row.images] for row in done.result.rows] == [["current"], ["current", "prior"]]


def test_the_first_folder_of_images_goes_first_whatever_was_read_before(tmp_path):
    folder = tmp_path / "lab"
    write_files(folder, {"a/0.png": png(0), "b/0.png": png(1), "b/1.png": png(2)})
    for name, order in (("one", "01"), ("other", "10")):
        lines = [f"{number}.png,Is it?,yes" for number in order]
        write_files(folder, {f"{name}.csv": "\n".join(["image,question,answer", *lines]) + "\n"})
        done = table_of(tmp_path / name, folder, task=CLOSED, images_in=["a", "b"], files=[f"{name}.csv"])
        paths = sorted(row.images[0].path.partition("/mine/")[2] for row in done.result.rows)
        assert paths == ["a/0.png", "b/1.png"]


def test_a_missing_image_is_not_replaced_by_one_whose_name_ends_alike(tmp_path):
    folder = write_files(tmp_path / "lab", {"p1/scan.png": png(0)})
    lines = ["image,question,answer", "p1/scan.png,Is it?,yes", "scan.png,Is it?,no", "q/p1/scan.png,Is it?,no"]
    write_files(folder, {"t.csv": "\n".join(lines) + "\n"})
    done = table_of(tmp_path / "work", folder, task=CLOSED)
    assert [row.images[0].path.partition("/mine/")[2] for row in done.result.rows] == ["p1/scan.png"]
    assert [reason for reason, _ in done.faults] == ["missing_image", "missing_image"]
    assert [row.images for row in done.result.quarantine] == [(), ()]


def test_a_missing_image_of_several_is_left_out_where_the_policy_says_so(tmp_path):
    rows = [plain(0, image='["scans/0.png", "scans/9.png"]')]
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), task=CLOSED)
    assert [reason for reason, _ in done.faults] == ["missing_image"]
    repaired = converted(done.root, tmp_path / "work", missing_image="repair")
    assert [len(row.images) for row in repaired.rows] == [1]


@pytest.mark.parametrize("packed", [False, True])
def test_shared_images_are_found_by_their_bytes_and_not_by_their_names(tmp_path, packed):
    files = {"train/0.png": png(0), "test/a.png": png(0), "test/b.png": png(1)}
    lines = ["image,question,answer,split", "train/0.png,Is it?,yes,training"]
    lines += [f"test/{name}.png,Is it?,yes,testing" for name in ("a", "b", "none")]
    folder = write_files(tmp_path / "lab", {"t.csv": "\n".join(lines) + "\n"})
    if packed:
        with zipfile.ZipFile(folder / "scans.zip", "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        write_files(folder / "scans", files)
    keys = {"split": {"column": "split"}, "mark_shared_images": True, "images_in": ["scans*"]}
    done = table_of(tmp_path / "work", folder, task=CLOSED, **keys)
    marks = {row.images[0].path.rpartition("/")[2]: dict(row.groups) for row in done.result.rows}
    assert marks == {"0.png": {}, "a.png": {"image_in_training": "yes"}, "b.png": {"image_in_training": "no"}}


def test_a_patient_of_two_subsets_is_one_case(tmp_path):
    rows = [plain(n, patient="P7", kind=("CT", "X-ray")[n], split=("training", "testing")[n]) for n in range(2)]
    keys = {"case": "patient", "subset": {"column": "kind"}, "split": {"column": "split"}}
    done = table_of(tmp_path / "work", lab(tmp_path / "lab", rows), task=CLOSED, **keys)
    assert len({row.subset for row in done.result.rows}) == 2
    assert {row.case_id for row in done.result.rows} == {f"{CASE}P7"}
    protected = [row for row in done.result.rows if row.folder == "testing"]
    with pytest.raises(EmptySplit):  # its one row is left out
        split_rows(done.result.rows, Split(dataset="mine", folder="training"), protected, pixels_of(done.result.images))


def test_images_as_datasets_writes_them_are_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    rows = {"image": [{"bytes": png(n), "path": f"{n}.png"} for n in range(2)], "question": ["a?", "b?"]}
    text = datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "question": text, "answer": text})
    written = datasets.Dataset.from_dict(rows | {"answer": ["yes", "no"]}, features)
    (tmp_path / "hub").mkdir()
    written.to_parquet(str(tmp_path / "hub/train-00000-of-00001.parquet"))
    done = table_of(tmp_path / "work", tmp_path / "hub", task=CLOSED)
    assert len(done.result.rows) == 2 and not done.faults
