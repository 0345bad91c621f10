"""Lengths and windows in time."""

from __future__ import annotations

import numpy as np
import pytest
from void_client.errors import JobError

from void_engine.diffusion import geometry
from void_engine.diffusion.geometry import Window, even_windows, latent_frames, mirrored, padded_length, ramps
from void_engine.diffusion.geometry import upstream_windows as upstream


@pytest.mark.parametrize(
    ("frames", "window", "most", "padded"),
    [(1, 85, None, 85), (9, 13, 197, 13), (27, 13, 197, 29), (85, 85, None, 85), (86, 85, None, 93),
     (197, 85, 197, 197), (300, 85, 197, 197), (1000, 85, None, 1005), (5, 5, None, 5), (6, 5, None, 13)],
)  # fmt: skip
def test_lengths_snap_to_8k_plus_5(frames, window, most, padded):
    assert padded_length(frames, window, most) == padded


@pytest.mark.parametrize("frames", range(1, 400, 7))
def test_padded_clips_have_an_even_number_of_latents(frames):
    assert latent_frames(padded_length(frames, 85)) % 2 == 0


def test_padding_mirrors_and_shows_the_ends_twice():
    assert [mirrored(i, 3) for i in range(10)] == [0, 1, 2, 2, 1, 0, 0, 1, 2, 2]
    assert [mirrored(i, 1) for i in range(4)] == [0, 0, 0, 0]


def test_upstreams_last_window_may_be_short():
    assert upstream(24, 22, 4) == (Window(0, 22), Window(18, 24))
    assert upstream(50, 22, 4) == (Window(0, 22), Window(18, 40), Window(36, 50))
    assert upstream(22, 22, 4) == (Window(0, 22),)


@pytest.mark.parametrize("latents", [2, 4, 20, 22, 24, 26, 40, 42, 50, 64, 252, 1000])
@pytest.mark.parametrize(("window", "overlap"), [(22, 4), (22, 10), (12, 4), (4, 2), (4, 1)])
def test_productions_windows_are_full_cover_all_and_overlap_enough(latents, window, overlap):
    windows = even_windows(latents, window, overlap)
    assert windows[0].start == 0
    assert windows[-1].stop == latents
    if latents <= window:
        assert windows == (Window(0, latents),)
        return
    assert all(each.length == window for each in windows)
    assert all(each.start % 2 == 0 for each in windows)
    assert all(after.start > before.start for before, after in zip(windows, windows[1:], strict=False))
    assert len(windows) == -(-(latents - window) // ((window - overlap) // 2 * 2)) + 1  # no more than it takes
    shared = [before.stop - after.start for before, after in zip(windows, windows[1:], strict=False)]
    assert min(shared) >= overlap


@pytest.mark.parametrize("latents", [8, 22, 24, 50, 252])
@pytest.mark.parametrize("lay", [upstream, even_windows])
def test_blend_weights_are_positive_and_add_up_to_one(latents, lay):
    windows = lay(latents, 22, 4)
    total = np.zeros(latents)
    for window, weight in zip(windows, ramps(windows), strict=True):
        assert weight.min() > 0
        total[window.start : window.stop] += weight
    assert total == pytest.approx(1.0, abs=1e-6)


def test_the_blend_of_two_windows_is_upstreams_linear_ramp():
    """Recorded: in an overlap of two latents the later window has a third, then two thirds."""
    first, second = ramps((Window(0, 4), Window(2, 6)))
    assert second[:2] == pytest.approx([1 / 3, 2 / 3])
    assert first[2:] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(("window", "overlap"), [(84, 16), (13, 6), (3, 4), (85, 0), (85, -4)])
def test_windows_that_do_not_fit_the_model_are_refused(window, overlap):
    with pytest.raises(JobError, match="frames"):
        geometry.check_windows(window, overlap)


def test_windows_that_would_not_move_on_are_refused():
    with pytest.raises(JobError, match="overlap"):
        geometry.check_overlap(85, 84)


@pytest.mark.parametrize(("height", "width"), [(380, 672), (384, 670), (0, 672), (8, 16), (-16, 672)])
def test_sizes_that_are_not_multiples_of_16_are_refused(height, width):
    with pytest.raises(JobError, match="multiple of 16"):
        geometry.check_size(height, width)
