"""The page says what each image of a case is, where the row does."""

from dataclasses import replace

from tests.conftest import make_row
from tests.report.pages import cases_of, page_of


def test_images_have_their_roles_and_others_say_nothing(tmp_path, root):
    plain, other = make_row(root, 0), make_row(root, 2)
    images = tuple(image._replace(role=role) for image, role in zip(other.images, ("prior", "current"), strict=True))
    page = page_of(tmp_path, root, rows=[plain, replace(other, images=images)])
    shown = [case["images"] for case in cases_of(page)]
    assert sorted(len(image) for image in shown[0]) == [3, 3]
    assert [image[3] for image in shown[1]] == ["prior", "current"]
