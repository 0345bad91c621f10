"""Where a model works: what must change lies inside, at one size, and things far apart are worked on apart."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.memory_clip import MemoryClip
from hypothesis import given, settings
from hypothesis import strategies as st

from void_engine.diffusion.options import Options
from void_engine.restore.regions import Region, RegionClip, find_regions


def marked(
    height: int, width: int, boxes: list[list[tuple[int, int, int, int]]], pixel_aspect: float = 1.0
) -> MemoryClip:
    """A clip whose quadmask is 0 in each frame's boxes (x0, y0, x1, y1, the last two excluded)."""
    masks = []
    for frame in boxes:
        mask = np.full((height, width), 255, np.uint8)
        for x0, y0, x1, y1 in frame:
            mask[y0:y1, x0:x1] = 0
        masks.append(mask)
    plate = np.zeros((height, width, 3), np.float32)
    clip = MemoryClip([plate] * len(boxes), masks)
    clip.pixel_aspect = pixel_aspect
    return clip


def found(clip: MemoryClip) -> tuple[Region, ...]:
    return find_regions(clip, Options().size_for, lambda _: None)


def covered(clip: MemoryClip, regions: tuple[Region, ...]) -> None:
    """Every pixel to replace is in the crop of exactly the region that owns it."""
    size = clip.canvas.height, clip.canvas.width
    for position in range(len(clip.numbers)):
        owners = np.zeros(size, np.uint8)
        for region in regions:
            owners[region.window(position)] += region.owned(position, size)
        assert (owners[clip.quadmask(position) != 255] == 1).all(), position


def test_a_small_thing_in_4k_keeps_its_pixels() -> None:
    clip = marked(2160, 3840, [[(1000, 900, 1100, 960)]] * 5)
    (region,) = found(clip)
    assert region.size == region.model_size == (384, 672)
    assert region.scale == 1
    assert not region.moves
    covered(clip, (region,))


def test_a_large_thing_takes_the_whole_plate_at_its_aspect() -> None:
    clip = marked(1080, 1920, [[(100, 100, 1700, 1000)]] * 3)
    (region,) = found(clip)
    assert region.size == (1080, 1920)
    assert abs(region.model_size[1] / region.model_size[0] / (1920 / 1080) - 1) < 0.03


def test_a_thing_that_travels_is_followed_smoothly() -> None:
    boxes = [[(40 + 60 * i, 900, 240 + 60 * i, 1100)] for i in range(56)]
    clip = marked(2160, 3840, boxes)
    (region,) = found(clip)
    assert region.moves
    assert region.size[0] < 700
    covered(clip, (region,))
    steps = np.diff(region.corners[:, 0])
    assert steps.max() <= 62  # no faster than the thing
    assert np.abs(np.diff(steps)).max() <= 12  # and no jerk
    assert region.corners[:, 1].std() < 2


def test_a_thing_that_trembles_is_not_followed() -> None:
    rng = np.random.default_rng(3)
    shifts = rng.integers(-20, 21, (40, 2))
    boxes = [[(1500 + int(x), 900 + int(y), 2100 + int(x), 1400 + int(y))] for x, y in shifts]
    (region,) = found(marked(2160, 3840, boxes))
    assert not region.moves


def test_things_far_apart_are_worked_on_apart_and_near_ones_together() -> None:
    far = marked(2160, 3840, [[(300, 300, 500, 500), (3300, 1700, 3500, 1900)]] * 4)
    assert len(found(far)) == 2
    covered(far, found(far))
    near = marked(2160, 3840, [[(300, 300, 500, 500), (560, 300, 700, 500)]] * 4)
    assert len(found(near)) == 1


def test_more_things_than_are_worth_a_run_each_share_crops() -> None:
    boxes = [(300 + 700 * i, 200 + 600 * j, 330 + 700 * i, 230 + 600 * j) for i in range(5) for j in range(3)]
    clip = marked(2160, 3840, [boxes] * 2)
    regions = found(clip)
    assert 1 <= len(regions) <= 4
    covered(clip, regions)


def test_nothing_to_replace_is_no_region() -> None:
    assert found(marked(200, 300, [[], []])) == ()


def test_frames_without_the_thing_hold_the_crop_between_those_with_it() -> None:
    boxes = [[(100, 900, 200, 1000)]] + [[]] * 20 + [[(3500, 900, 3600, 1000)]]
    clip = marked(2160, 3840, boxes)
    regions = found(clip)
    covered(clip, regions)
    for region in regions:
        assert np.abs(np.diff(region.corners[:, 0])).max() < 700


def test_an_anamorphic_plate_is_cropped_for_the_models_square_pixels() -> None:
    clip = marked(1556, 1828, [[(800, 700, 900, 800)]] * 3, pixel_aspect=2.0)
    (region,) = found(clip)
    height, width = region.size
    assert width * 2.0 / height == pytest.approx(region.model_size[1] / region.model_size[0], rel=0.02)


def test_a_region_is_a_clip_of_its_own() -> None:
    clip = marked(2160, 3840, [[(1000, 900, 1100, 960)]] * 2)
    (region,) = found(clip)
    crop = RegionClip(clip, region)
    assert (crop.canvas.height, crop.canvas.width) == region.size == crop.quadmask(1).shape == crop.plate(0).shape[:2]
    assert (crop.quadmask(0) == 0).sum() == 100 * 60


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.lists(
        st.lists(st.tuples(*[st.floats(0, 1)] * 4), max_size=3),
        min_size=1,
        max_size=9,
    ),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_any_clip_is_covered(height: int, width: int, shares, aspect: float) -> None:
    boxes = [
        [
            (
                int(min(a, c) * (width - 1)),
                int(min(b, d) * (height - 1)),
                int(max(a, c) * (width - 1)) + 1,
                int(max(b, d) * (height - 1)) + 1,
            )
            for a, b, c, d in frame
        ]
        for frame in shares
    ]
    clip = marked(height, width, boxes, aspect)
    regions = found(clip)
    covered(clip, regions)
    for region in regions:
        corners = region.corners
        assert (corners >= 0).all()
        assert (corners + np.array([region.size[1], region.size[0]]) <= np.array([width, height])).all()
        assert len({RegionClip(clip, region).plate(p).shape for p in range(len(boxes))}) == 1
