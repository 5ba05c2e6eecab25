"""Values of tokens lie on exactly the pixels that the tokens saw: the inverse of every preparation of images."""

import io

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags

from tests.models.tiny import build
from workflow_scripts.core.images import decode_image
from workflow_scripts.core.saliency.grids import (
    TokenGrid,
    finest,
    pixel_map,
    tile_grids,
    token_values,
    whole_image,
    window_values,
    windows_of,
)
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.images.size import with_squares
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record

FAMILIES = ("gemma3", "paligemma2", "llava", "idefics3", "internvl", "qwen2_5_vl", "qwen3_vl", "chexagent")
SIZES = ((112, 112), (120, 77), (57, 131), (40, 33))


def unmixed(hidden_states, *arguments, **options):
    """A layer that mixes nothing: patches stay apart, and each token tells what it sees."""
    return hidden_states


@pytest.fixture(scope="module")
def sighted(tiny, tmp_path_factory):
    """A function that gives a loaded model of a family whose tower mixes no patches."""
    loaded = {}

    def of(name):
        if name not in loaded:
            record = tiny
            if name != "gemma3":
                folder = tmp_path_factory.mktemp(name) / "model"
                build(name, folder)
                record = folder.with_suffix(".json")
                write_record(record, name, name, folder, None)
            model = load(record)
            for module in model.family.vision_tower(model.base).modules():
                if isinstance(module, torch.nn.ModuleList):
                    for place in range(len(module)):
                        if any(kind in type(module[place]).__name__ for kind in ("Layer", "Block")):
                            module[place].forward = unmixed
            loaded[name] = model
        return loaded[name]

    return of


def changed_tokens(model, family, image, x, y):
    """Tokens whose features become others when one pixel of the original image does."""
    other = image.copy()
    other.putpixel((x, y), tuple(255 - value for value in image.getpixel((x, y))))

    def features(shown):
        with torch.no_grad():
            return family.features(model.base, model.processor, family.pixels(model.processor, shown), [image.size])

    return set(torch.nonzero((features(image) - features(other)).abs().amax(-1) > 1e-6)[:, 0].tolist())


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("side", "pad"), [(None, False), (None, True), (64, False), (64, True)])
def test_a_pixel_changes_the_tokens_that_see_it_and_none_beyond_the_filters_reach(sighted, name, side, pad):
    model = sighted(name)
    family = with_squares(model.family, side, pad)
    rng = np.random.default_rng(3)
    for size in SIZES:
        grids = family.token_grids(model.processor, size)
        assert sum(grid.tokens for grid in grids) == family.image_tokens(model.processor, size)
        image = PIL.Image.fromarray(rng.integers(60, 196, (size[1], size[0], 3), dtype=np.uint8))
        # Each resampling to smaller sides reaches over its support times the ratio of the sides.
        margin = 3 * (1 + (side is not None)) * (max(size) / 24 + 1)
        for _ in range(3):
            x, y = int(rng.integers(size[0])), int(rng.integers(size[1]))
            changed, first, seen = changed_tokens(model, family, image, x, y), 0, set()
            for grid in grids:
                for token in range(grid.tokens):
                    x1, y1, x2, y2 = grid.box(token)
                    if x1 <= x and x + 1 <= x2 and y1 <= y and y + 1 <= y2:
                        seen.add(first + token)
                    near = x1 - margin < x + 1 and x < x2 + margin and y1 - margin < y + 1 and y < y2 + margin
                    assert near or first + token not in changed, (size, x, y, token)
                first += grid.tokens
            assert seen <= changed, (size, (x, y), seen, changed)


def test_without_resampling_a_pixel_changes_exactly_the_token_on_whose_part_of_the_map_it_lies(sighted):
    model = sighted("gemma3")
    rng = np.random.default_rng(4)
    image = PIL.Image.fromarray(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8))
    grids = model.family.token_grids(model.processor, image.size)
    maps = [pixel_map(grids, np.eye(16)[token], 112, 112) for token in range(16)]
    for _ in range(12):
        x, y = (int(value) for value in rng.integers(112, size=2))
        assert changed_tokens(model, model.family, image, x, y) == {t for t in range(16) if maps[t][y, x] > 0}


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (61, 101)])
def test_of_a_padded_image_whole_pixels_stay_apart_as_the_tokens_do(sighted, size):
    # Padded to a square of 112 pixels: no resampling follows, so that the inverse is exact.
    model = sighted("gemma3")
    family = with_squares(model.family, None, True)
    width, height = (
        (112, round(112 * size[1] / size[0])) if size[0] > size[1] else (round(112 * size[0] / size[1]), 112)
    )
    rng = np.random.default_rng(5)
    image = PIL.Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    grids = family.token_grids(model.processor, image.size)
    for _ in range(8):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        expected = {t for t in range(16) if pixel_map(grids, np.eye(16)[t], width, height)[y, x] > 0}
        assert changed_tokens(model, family, image, x, y) == expected


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_image_that_exif_turns_is_explained_as_it_is_shown(sighted, turn):
    model = sighted("gemma3")
    stored = PIL.Image.fromarray(np.random.default_rng(turn).integers(0, 200, (112, 112, 3), dtype=np.uint8))
    pixels = np.asarray(stored).copy()
    pixels[5, 90] = 255
    exif = PIL.Image.Exif()
    exif[ExifTags.Base.Orientation] = turn

    def shown(image):
        stream = io.BytesIO()
        image.save(stream, "PNG", exif=exif)
        return decode_image(stream.getvalue(), "turned")

    plain, marked = shown(stored), shown(PIL.Image.fromarray(pixels))
    (y,), (x,) = np.nonzero((np.asarray(plain) != np.asarray(marked)).any(-1))
    grids = model.family.token_grids(model.processor, plain.size)
    expected = {t for t in range(16) if pixel_map(grids, np.eye(16)[t], 112, 112)[y, x] > 0}
    assert len(expected) == 1 and changed_tokens(model, model.family, plain, int(x), int(y)) == expected


def test_a_text_model_says_nothing_of_images():
    assert load_family("text").token_grids(None, (10, 10)) is None


side = st.integers(1, 70)
cells = st.integers(1, 9)


@settings(max_examples=150, deadline=None)
@given(side, side, cells, cells, st.floats(-40, 0), st.floats(-40, 0), st.floats(0, 40), st.floats(0, 40))
def test_a_token_lies_on_the_pixels_of_its_rectangle_and_keeps_its_value(w, h, rows, columns, left, top, right, below):
    grid = TokenGrid(rows, columns, left, top, w + right, h + below)
    for token in {0, grid.tokens // 2, grid.tokens - 1}:
        x1, y1, x2, y2 = grid.box(token)
        values = pixel_map([grid], np.eye(grid.tokens)[token], w, h)
        inside_x = np.minimum(np.arange(w) + 1, x2) - np.maximum(np.arange(w), x1)
        inside_y = np.minimum(np.arange(h) + 1, y2) - np.maximum(np.arange(h), y1)
        expected = np.clip(inside_y, 0, None)[:, None] * np.clip(inside_x, 0, None)[None] / ((x2 - x1) * (y2 - y1))
        assert np.allclose(values, expected, atol=1e-9)
        if left == top == right == below == 0:
            assert np.isclose(values.sum(), 1)


@settings(max_examples=100, deadline=None)
@given(side, side, cells, cells, st.integers(2, 5))
def test_windows_hold_each_pixel_once_and_carry_their_values_to_its_tokens(w, h, rows, columns, most):
    windows = windows_of([whole_image(rows, columns, (w, h))], w, h, most)
    assert windows.labels.shape == (h, w) and set(np.unique(windows.labels)) == set(range(windows.count))
    assert windows.count <= most**2
    tokens = np.concatenate(windows.tokens)
    assert len(set(tokens.tolist())) == len(tokens)
    values = np.arange(1.0, windows.count + 1)
    assert np.isclose(token_values(windows, values).sum(), values.sum())


def test_window_values_are_means_of_pixels():
    windows = windows_of([whole_image(2, 2, (4, 4))], 4, 4, 16)
    assert window_values(windows, np.arange(16.0).reshape(4, 4)).tolist() == [2.5, 4.5, 10.5, 12.5]


def test_tiles_and_the_whole_image_share_one_grid_of_the_finest_cells():
    grids = [*tile_grids(2, 3, 4, (90, 40)), whole_image(4, 4, (90, 40))]
    assert finest(grids) == TokenGrid(8, 12, 0, 0, 90, 40)
    assert grids[4].box(0) == (30, 20, 37.5, 25)
