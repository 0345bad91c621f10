"""The clip in eight bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.memory_clip import CountingClip

from void_engine.colour.shaper import Shaper
from void_engine.segmentation import ClipPictures
from void_engine.segmentation.pictures import proxy_size


def clip(count: int = 12) -> CountingClip:
    plates = [np.full((40, 60, 3), 0.1 * index, np.float32) for index in range(count)]
    return CountingClip(plates, [np.full((40, 60), 255, np.uint8)] * count)


def test_pictures_are_display_referred_codes_of_the_canvas(tmp_path: Path) -> None:
    pictures = ClipPictures(clip(), tmp_path)
    assert len(pictures) == 12
    assert pictures.size == (40, 60)
    codes = pictures.rgb(5)
    assert codes.dtype == np.uint8
    assert codes[0, 0, 0] == round(float(Shaper().to_display(np.array([0.5], np.float32))[0]) * 255)


def test_a_proxy_is_made_once_and_kept_on_disk(tmp_path: Path) -> None:
    source = clip()
    pictures = ClipPictures(source, tmp_path)
    first = [pictures.proxy(position, 30).copy() for position in range(12)]
    assert first[0].shape == (20, 30, 3)
    assert source.decoded == 12
    again = ClipPictures(source, tmp_path)
    assert all(np.array_equal(again.proxy(position, 30), first[position]) for position in range(12))
    assert source.decoded == 12
    assert source.most_alive <= 2


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [((2160, 3840), 640, (360, 640)), ((37, 53), 640, (37, 53)), ((1, 4000), 640, (1, 640)), ((50, 20), 25, (25, 10))],
)
def test_a_proxy_is_never_larger_nor_empty(size: tuple[int, int], long_side: int, expected: tuple[int, int]) -> None:
    assert proxy_size(size, long_side) == expected
