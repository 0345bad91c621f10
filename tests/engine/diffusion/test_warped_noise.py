"""Warped noise: white in every latent frame whatever the flow, and carried as far as white noise can be.

Channels are independent draws of the same field, so with thousands of them the covariance of every
cell with every other is measured, not only its mean over a frame. Limits are in deviations of what
is measured, and the seeds are fixed: what passes once passes always.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from helpers.shots import shots_folder
from void_client.errors import Cancelled

from void_engine.diffusion.flow import DisFlow, Flow
from void_engine.diffusion.particles import ParticleNoise
from void_engine.diffusion.warped_noise import warped_latent_noise

Array = npt.NDArray[np.float64]
Frames = list[npt.NDArray[np.uint8]]
SIGMAS = 5.0


def similarity(pan: tuple[float, float] = (0, 0), zoom: float = 1, degrees: float = 0) -> Array:
    """Old place to new, about the frame's middle; ``pan`` in latent cells. (3, 3)."""
    c, s = zoom * np.cos(np.deg2rad(degrees)), zoom * np.sin(np.deg2rad(degrees))
    return np.array([[c, -s, 8 * pan[0]], [s, c, 8 * pan[1]], [0, 0, 1]])


def flow_of(matrix: Array, height: int, width: int) -> Flow:
    y, x = np.mgrid[:height, :width] + 0.5 - np.array([height, width]).reshape(2, 1, 1) / 2
    place = np.stack([x, y, np.ones_like(x)], axis=-1)
    return ((place @ matrix.T)[..., :2] - place[..., :2]).astype(np.float32)


@dataclass
class Overlaps:
    """``area`` (in old cells) is what the cell ``new`` takes of the cell ``old``; ``total`` what each takes in all."""

    new: npt.NDArray[np.intp]
    old: npt.NDArray[np.intp]
    area: Array
    total: Array

    def bound(self) -> Array:
        squares = np.bincount(self.new, self.area**2, len(self.total))
        return np.sqrt(squares / self.total)

    def inside(self) -> npt.NDArray[np.bool_]:
        """Cells that come from within the old frame."""
        return np.bincount(self.new, self.area, len(self.total)) > 0.999 * self.total

    def foretold(self, old: Array) -> Array:
        """The best linear combination of old cells, (C, cells)."""
        sums = [np.bincount(self.new, self.area * channel[self.old], len(self.total)) for channel in old]
        return np.stack(sums)


def overlaps(y: Array, x: Array, density: Array, size: tuple[int, int], fine: int) -> Overlaps:
    """``y`` and ``x``: where samples of the new frame, ``fine`` along a pixel's edge, lie in the old one.

    ``density``: the area in the old frame that one pixel of the new comes from.
    """
    height, width = size
    cells, across = height * width // 64, width // 8
    rows, columns = (np.arange(n * fine) // (8 * fine) for n in size)
    new = (rows[:, None] * across + columns).ravel()
    y, x, density = y.ravel(), x.ravel(), density.ravel() / (8 * fine) ** 2
    inside = (y >= 0) & (x >= 0) & (y < height) & (x < width)
    old = (y[inside] // 8).astype(np.intp) * across + (x[inside] // 8).astype(np.intp)
    pair, which = np.unique(new[inside] * cells + old, return_inverse=True)
    area = np.bincount(which, density[inside])
    return Overlaps(pair // cells, pair % cells, area, np.bincount(new, density, cells))


def overlaps_of(matrix: Array, height: int, width: int, fine: int = 4) -> Overlaps:
    back = np.linalg.inv(matrix)
    rows, columns = (np.arange(n * fine) / fine - n / 2 for n in (height, width))
    y, x = np.meshgrid(rows, columns, indexing="ij")
    # A regular grid would round each overlap to its spacing.
    y, x = np.stack([y, x]) + np.random.default_rng(0).random((2, *y.shape)) / fine
    old_x, old_y = (back[i, 0] * x + back[i, 1] * y + back[i, 2] + (width, height)[i] / 2 for i in (0, 1))
    density = np.full(x.shape, np.linalg.det(back))
    return overlaps(old_y, old_x, density, (height, width), fine)


def correlation(one: Array, other: Array) -> float:
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))


def flat(latent: npt.NDArray[np.float32]) -> Array:
    return latent.reshape(len(latent), -1).astype(np.float64)


def covariances(one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Array:
    """Of each cell with each, over the channels, in deviations from none (the diagonal of a frame's own: from 1)."""
    a, b = flat(one), flat(other)
    found = a.T @ b / len(a)
    if one is other:
        np.fill_diagonal(found, (np.diag(found) - 1) / np.sqrt(2))
    return np.asarray(found * np.sqrt(len(a)))


def departures(latent: npt.NDArray[np.float32]) -> dict[str, float]:
    """How far a frame (C, h, w) is from unit white Gaussian noise, in deviations of each measure."""
    z = latent.astype(np.float64)

    def mean(values: Array) -> float:
        return float(values.mean() * np.sqrt(values.size))

    return {
        "mean": mean(z),
        "variance": mean((z**2 - 1) / np.sqrt(2)),
        "right": mean(z[..., 1:] * z[..., :-1]),
        "below": mean(z[:, 1:] * z[:, :-1]),
        "diagonal": mean(z[:, 1:, 1:] * z[:, :-1, :-1]),
        "other diagonal": mean(z[:, 1:, :-1] * z[:, :-1, 1:]),
        "two right": mean(z[..., 2:] * z[..., :-2]),
        "next channel": mean(z[1:] * z[:-1]),
        "skewness": mean((z**3 - 3 * z) / np.sqrt(6)),
        "kurtosis": mean((z**4 - 6 * z**2 + 3) / np.sqrt(24)),
    }


def assert_white(latent: npt.NDArray[np.float32]) -> None:
    wrong = {name: value for name, value in departures(latent).items() if not abs(value) < SIGMAS}
    assert not wrong


def carried(matrix: Array, steps: int, channels: int = 64) -> tuple[float, float]:
    """The correlation reached after ``steps``, and the bound, both over the cells that come from the old frame."""
    height, width = 192, 256
    noise = ParticleNoise(height, width, seed=1, channels=channels)
    before = flat(noise.latent())
    for _ in range(steps):
        noise.advance(flow_of(matrix, height, width))
    whole = overlaps_of(np.linalg.matrix_power(matrix, steps), height, width)
    here = whole.inside()
    bound = whole.bound()[here]
    # Cells with different bounds are made comparable before they are averaged.
    foretold = whole.foretold(before)[:, here] / np.sqrt(whole.total[here]) / bound
    return correlation(foretold, flat(noise.latent())[:, here]), float(bound.mean())


PANS = [(0.5, 0.5), (0.25, 0.75), (0.1, 0.0), (0.13, 0.13), (0.0625, 0.0625), (0.3, 0.45), (0.375, 0.375), (1.6, -2.3)]


@pytest.mark.parametrize("pan", PANS)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_pan_keeps_what_can_be_kept(pan: tuple[float, float], steps: int) -> None:
    reached, bound = carried(similarity(pan), steps)
    fractions = [abs(steps * part) % 1 for part in pan]
    assert bound == pytest.approx(np.sqrt(np.prod([f**2 + (1 - f) ** 2 for f in fractions])), abs=0.005)
    assert reached > 0.95 * bound
    assert reached < 1.06 * bound + 0.02  # the dither is a little less than a fine cell


ZOOMS = [
    *((1.02, 0, 1), (1.1, 0, 1), (0.9, 0, 1), (1.02, 0, 8), (1.1, 0, 4), (1.1, 0, 8), (0.9, 0, 4), (0.9, 0, 8)),
    *((1.5, 0, 2), (1, 5, 1), (1, 2, 8), (1.05, 3, 5), (0.95, -3, 5)),
]


@pytest.mark.parametrize(
    ("zoom", "degrees", "steps"),
    ZOOMS,
)
def test_zooms_and_rotations_keep_what_can_be_kept(zoom: float, degrees: float, steps: int) -> None:
    reached, bound = carried(similarity(zoom=zoom, degrees=degrees), steps)
    assert reached > 0.95 * bound
    assert reached < 1.05 * bound + 0.02


@pytest.mark.parametrize("pan", [(1, 0), (-2, 3), (0, 0)])
@pytest.mark.parametrize("steps", [1, 3])
def test_a_pan_by_whole_cells_keeps_everything(pan: tuple[int, int], steps: int) -> None:
    noise = ParticleNoise(128, 192, seed=3, channels=4)
    before = noise.latent()
    for _ in range(steps):
        noise.advance(flow_of(similarity(pan), 128, 192))
    dx, dy = steps * pan[0], steps * pan[1]
    after = noise.latent()
    moved = np.roll(before, (dy, dx), axis=(1, 2))
    y, x = (slice(max(d, 0), n + min(d, 0)) for d, n in ((dy, 16), (dx, 24)))
    np.testing.assert_allclose(after[:, y, x], moved[:, y, x], atol=1e-5)
    fresh = np.ones((16, 24), dtype=bool)
    fresh[y, x] = False
    assert np.count_nonzero(np.isclose(after[:, fresh], moved[:, fresh], atol=1e-3)) <= 0.02 * after[:, fresh].size


def test_two_pans_by_half_a_cell_are_one_by_a_cell() -> None:
    """A field that was resampled in each frame would have lost half by then."""
    noise = ParticleNoise(64, 64, seed=4)
    before = noise.latent()
    for _ in range(2):
        noise.advance(flow_of(similarity((0.5, 0.5)), 64, 64))
    np.testing.assert_allclose(noise.latent()[:, 1:, 1:], before[:, :-1, :-1], atol=1e-5)


def test_the_bound_is_what_least_squares_finds() -> None:
    """Noise in pieces of an eighth of a cell, panned by (3, 5) of them; the old 3 x 3 cells foretell the new one."""
    fine = np.random.default_rng(1).standard_normal((20000, 24, 24))
    cells = fine.reshape(-1, 3, 8, 3, 8).sum(axis=(2, 4)).reshape(-1, 9) / 8
    new = fine[:, 3:11, 5:13].sum(axis=(1, 2)) / 8
    weights = np.linalg.lstsq(cells, new, rcond=None)[0]
    expected = np.sqrt(((3 / 8) ** 2 + (5 / 8) ** 2) ** 2)
    assert correlation(cells @ weights, new) == pytest.approx(expected, abs=0.01)


def test_the_bound_is_one_of_carried_noise_only() -> None:
    """The module's docstring says so: a frame shifted by half a cell in frequency is white, and wholly foretold."""
    unit = np.eye(15)
    phase = np.exp(-2j * np.pi * np.fft.fftfreq(15) * 0.5)
    shift = np.fft.ifft(np.fft.fft(unit, axis=0) * phase[:, None], axis=0)
    np.testing.assert_allclose(shift.imag, 0, atol=1e-12)
    np.testing.assert_allclose(shift.real @ shift.real.T, unit, atol=1e-12)


def rubbish(height: int, width: int, seed: int) -> Flow:
    return np.random.default_rng(seed).normal(0, 12, (height, width, 2)).astype(np.float32)


def waves(height: int, width: int, seed: int) -> Flow:
    rough = np.random.default_rng(seed).normal(0, 8, (height // 16, width // 16, 2)).astype(np.float32)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC))


MOTIONS: dict[str, Callable[[int, int, int], Flow]] = {
    "pan": lambda h, w, step: flow_of(similarity((0.21, -0.37)), h, w),
    "zoom in": lambda h, w, step: flow_of(similarity(zoom=1.13), h, w),
    "zoom out": lambda h, w, step: flow_of(similarity(zoom=0.87), h, w),
    "rotation": lambda h, w, step: flow_of(similarity(degrees=7), h, w),
    "waves": waves,
    "rubbish": rubbish,
    "all to one place": lambda h, w, step: flow_of(similarity(zoom=0.02), h, w),
}


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("subdivision", [1, 4])
def test_every_cell_is_white_with_every_other_under_any_motion(motion: str, subdivision: int) -> None:
    noise = ParticleNoise(48, 64, seed=5, channels=2500, subdivision=subdivision)
    for step in range(4):
        backward = waves(48, 64, step + 50) / 8 if motion in ("waves", "rubbish") else None
        noise.advance(MOTIONS[motion](48, 64, step), backward)
        latent = noise.latent()
        assert np.abs(covariances(latent, latent)).max() < SIGMAS
        assert_white(latent)


def test_bilinear_warping_fails_the_same_tests() -> None:
    """Else they could not fail."""
    latent = np.random.default_rng(6).standard_normal((64, 48, 84)).astype(np.float32)
    assert_white(latent)
    x, y = np.meshgrid(np.arange(84, dtype=np.float32) - 0.5, np.arange(48, dtype=np.float32) - 0.5)
    naive = np.stack([cv2.remap(channel, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP) for channel in latent])
    found = departures(naive)
    assert naive.var() == pytest.approx(0.25, abs=0.01)
    assert min(abs(found[name]) for name in ("variance", "right", "below", "diagonal")) > 4 * SIGMAS
    unit = departures(naive / naive.std())
    assert min(abs(unit[name]) for name in ("right", "below", "diagonal")) > 4 * SIGMAS
    with pytest.raises(AssertionError):
        assert_white(naive)


def test_what_is_uncovered_is_fresh_and_the_object_keeps_its_own() -> None:
    """An object of 4 x 4 cells moves right by its width over a ground that stands."""
    forward, backward = np.zeros((2, 64, 96, 2), dtype=np.float32)
    forward[16:48, 16:48, 0] = 32
    backward[16:48, 48:80, 0] = -32
    noise = ParticleNoise(64, 96, seed=7, channels=3000)
    old = noise.latent()
    noise.advance(forward, backward)
    new = noise.latent()
    uncovered, object_now = new[:, 2:6, 2:6], new[:, 2:6, 6:10]
    assert np.abs(covariances(uncovered, old)).max() < SIGMAS
    np.testing.assert_allclose(object_now, old[:, 2:6, 2:6], atol=1e-5)
    # What the object covered now is nowhere in the frame.
    assert np.abs(covariances(old[:, 2:6, 6:10], new)).max() < SIGMAS
    standing = np.ones((8, 12), dtype=bool)
    standing[2:6, 2:10] = False
    np.testing.assert_allclose(new[:, standing], old[:, standing], atol=1e-5)
    assert np.abs(covariances(new, new)).max() < SIGMAS


def test_memory_is_bounded_by_the_frame() -> None:
    noise = ParticleNoise(64, 96, seed=8, channels=2)
    cells = 16 * 8 * 12
    for step in range(60):
        noise.advance(flow_of(similarity(zoom=0.8 if step % 2 else 1.35), 64, 96))
        assert len(noise) <= 4 * cells
    for _ in range(30):
        noise.advance(flow_of(similarity(zoom=0.7), 64, 96))
        assert len(noise) <= 4 * cells
    for step in range(20):
        noise.advance(rubbish(64, 96, step))
        assert len(noise) <= 4 * cells


def test_a_flow_that_does_not_fit_is_refused() -> None:
    noise = ParticleNoise(32, 48, seed=9)
    good = np.zeros((32, 48, 2), dtype=np.float32)
    for forward, backward in ((good[:16], good[:16]), (good, good[:16])):
        with pytest.raises(ValueError, match="flow must be"):
            noise.advance(forward, backward)
    with pytest.raises(ValueError, match="not finite"):
        noise.advance(np.where(good == 0, np.float32(np.nan), good))


def picture(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    rough = np.random.default_rng(seed).random((height // 6 + 2, width // 6 + 2, 3), dtype=np.float32)
    return np.clip(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC) * 255, 0, 255).astype(np.uint8)


def warped(frames: Frames, *, seed: int = 1, channels: int = 16) -> npt.NDArray[np.float32]:
    height, width = frames[0].shape[:2]
    return warped_latent_noise(
        lambda i: frames[i], len(frames), height=height, width=width, seed=seed, channels=channels
    )


def panned(count: int, height: int, width: int, step: int) -> Frames:
    wide = picture(height, width + step * count)
    return [wide[:, step * i : width + step * i] for i in range(count)]


def test_a_still_clip_has_one_noise() -> None:
    latents = warped([picture(96, 160)] * 13)
    assert latents.shape == (4, 16, 12, 20)
    assert latents.dtype == np.float32
    assert all(latent.tobytes() == latents[0].tobytes() for latent in latents)


@pytest.mark.parametrize(("grain", "next_one", "last"), [(2, 0.98, 0.96), (6, 0.87, 0.75)])
def test_grain_on_a_still_clip_moves_little(grain: float, next_one: float, last: float) -> None:
    """On hardly any texture (13 codes of 255). Without the blur the latter has 0.81 and 0.58."""
    still = picture(96, 160).astype(np.float32) * 0.05 + 80
    rng = np.random.default_rng(2)
    frames = [np.clip(still + rng.normal(0, grain, still.shape), 0, 255).astype(np.uint8) for _ in range(17)]
    latents = warped(frames)
    assert correlation(flat(latents[0]), flat(latents[1])) > next_one
    assert correlation(flat(latents[0]), flat(latents[4])) > last


def test_footprints_stay_sound_over_a_long_clip_of_grain() -> None:
    """The derivative of a flow that is only jitter is wrong in every frame."""
    noise = ParticleNoise(64, 96, seed=2, channels=500)
    for step in range(200):
        jitter = waves(64, 96, step) / 16
        noise.advance(jitter, -jitter)
    latent = noise.latent()
    assert 0.7 * 1536 < len(noise) < 1.5 * 1536
    assert np.abs(covariances(latent, latent)).max() < SIGMAS


@pytest.mark.parametrize("agree", [True, False])
def test_the_flow_is_asked_there_and_back(agree: bool) -> None:
    """Frames hold their number. Where the way back is another, everything is occluded."""

    def method(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> Flow:
        steps = int(other[0, 0, 0]) - int(one[0, 0, 0])
        assert abs(steps) == 1
        right = 2.0 * steps if agree or steps > 0 else 2.0
        return np.broadcast_to(np.array([right, 0], dtype=np.float32), (*one.shape[:2], 2))

    old, new = warped_latent_noise(
        lambda i: np.full((64, 96, 3), i, np.uint8), 5, height=64, width=96, seed=1, method=method
    )
    if agree:
        np.testing.assert_allclose(new[:, :, 1:], old[:, :, :-1], atol=1e-5)
    else:
        for shift in range(3):
            found = correlation(flat(new[:, :, shift:]), flat(old[:, :, : old.shape[2] - shift]))
            assert abs(found) < SIGMAS / np.sqrt(old.size * 0.7)


def test_a_pan_in_pictures_is_followed() -> None:
    """4 pixels a frame: two cells a latent."""
    latents = warped(panned(13, 96, 160, 4))
    for one, other in zip(latents, latents[1:], strict=False):
        assert correlation(flat(one[:, 1:-1, 3:-2]), flat(other[:, 1:-1, 1:-4])) > 0.9
        assert abs(correlation(flat(one), flat(other))) < 0.1
        assert_white(other)


def test_noise_stays_white_over_a_cut_and_does_not_leak_through_it() -> None:
    frames = panned(5, 96, 160, 3) + [picture(96, 160, seed) for seed in range(50, 54)]
    latents = warped(frames, channels=64)
    for latent in latents:
        assert_white(latent)
    assert len(latents) == 3


def test_seeds_repeat_and_differ() -> None:
    frames = panned(5, 64, 96, 2)
    one, again, other = warped(frames, seed=4), warped(frames, seed=4), warped(frames, seed=5)
    assert one.tobytes() == again.tobytes()
    for a, b in zip(one, other, strict=True):
        assert abs(correlation(flat(a), flat(b))) < SIGMAS / np.sqrt(a.size)
    # Another user of the same seed must not draw the same numbers.
    fine = np.random.Generator(np.random.Philox(4)).standard_normal((8, 4, 12, 4, 16), dtype=np.float32)
    plain = fine.sum(axis=(1, 3)).transpose(2, 0, 1) / 4
    assert abs(correlation(flat(one[0]), flat(plain))) < SIGMAS / np.sqrt(plain.size)


@pytest.mark.parametrize("size", [(16, 16), (16, 80), (48, 16)])
def test_the_smallest_frames(size: tuple[int, int]) -> None:
    frames = [np.roll(picture(*size), i, axis=1) for i in range(9)]
    latents = warped(frames, channels=3000)
    assert latents.shape == (3, 3000, size[0] // 8, size[1] // 8)
    for latent in latents:
        assert np.abs(covariances(latent, latent)).max() < SIGMAS


def test_one_frame_has_one_latent() -> None:
    latents = warped([picture(64, 96)])
    assert latents.shape == (1, 16, 8, 12)
    assert_white(latents[0])


@pytest.mark.parametrize("count", [-3, 0, 2, 4, 86])
def test_another_count_is_refused_before_a_frame_is_read(count: int) -> None:
    with pytest.raises(ValueError, match=rf"4k \+ 1, not {count}"):
        warped_latent_noise(lambda i: pytest.fail("read"), count, height=16, width=16, seed=0)


@pytest.mark.parametrize("size", [(0, 16), (24, 32), (32, 40), (-16, 16)])
def test_another_size_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="multiples of 16"):
        warped_latent_noise(lambda i: pytest.fail("read"), 1, height=size[0], width=size[1], seed=0)


def test_frames_of_another_size_or_type_are_refused() -> None:
    for bad in (picture(32, 32), picture(32, 48)[..., :1], picture(32, 48).astype(np.float32)):
        frames = [picture(32, 48), bad]
        with pytest.raises(ValueError, match=r"frame 1 must be \(32, 48, 3\) uint8"):
            warped_latent_noise(lambda i, f=frames: f[i], 5, height=32, width=48, seed=0)  # type: ignore[misc]


def test_each_frame_is_asked_for_once_in_order_and_ticked() -> None:
    asked: list[int] = []
    ticks: list[tuple[int, int]] = []

    def frame(index: int) -> npt.NDArray[np.uint8]:
        asked.append(index)
        return picture(32, 48)

    warped_latent_noise(frame, 9, height=32, width=48, seed=0, tick=lambda done, of: ticks.append((done, of)))
    assert asked == list(range(9))
    assert ticks == [(i, 9) for i in range(1, 10)]


def test_a_tick_may_stop_it() -> None:
    asked: list[int] = []

    def tick(done: int, of: int) -> None:
        if done == 3:
            raise Cancelled("stopped")

    def frame(index: int) -> npt.NDArray[np.uint8]:
        asked.append(index)
        return picture(32, 48)

    with pytest.raises(Cancelled):
        warped_latent_noise(frame, 9, height=32, width=48, seed=0, tick=tick)
    assert asked == [0, 1, 2]


def test_one_buffer_may_serve_all_frames() -> None:
    frames = panned(5, 64, 96, 3)
    buffer = np.empty_like(frames[0])

    def frame(index: int) -> npt.NDArray[np.uint8]:
        buffer[:] = frames[index]
        return buffer

    reused = warped_latent_noise(frame, 5, height=64, width=96, seed=1)
    np.testing.assert_array_equal(reused, warped(frames))


def test_memory_does_not_grow_with_the_clip() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        try:
            result = warped_latent_noise(
                lambda i: np.roll(still, 2 * i, axis=1), count, height=64, width=96, seed=1, channels=4
            )
            return tracemalloc.get_traced_memory()[1] - result.nbytes
        finally:
            tracemalloc.stop()

    still = picture(64, 96)
    peak(5)
    assert peak(41) < 1.2 * peak(9)


@pytest.fixture(scope="module", params=["lime", "moving_ball"])
def shot(request: pytest.FixtureRequest) -> Frames:
    folder = shots_folder()
    if folder is None:
        pytest.skip("the real shots are not here")
    with av.open(str(folder / request.param / "input_video.mp4")) as movie:
        movie.streams.video[0].thread_type = "AUTO"
        pictures = [picture for picture, _ in zip(movie.decode(video=0), range(13), strict=False)]
    return [p.reformat(width=672, height=384, format="rgb24").to_ndarray() for p in pictures]


def overlaps_seen(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> tuple[Overlaps, npt.NDArray[np.bool_]]:
    """From the flow measured directly between two latents' frames, and the cells where it is reliable."""
    forward, back = DisFlow()(one, other), DisFlow()(other, one)
    height, width = one.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    place = (x + back[..., 0], y + back[..., 1])
    there = cv2.remap(forward, *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    good = np.linalg.norm(back + there, axis=-1) < 0.5
    good &= (place[0] >= 0) & (place[1] >= 0) & (place[0] <= width - 1) & (place[1] <= height - 1)
    (uy, ux), (vy, vx) = (np.gradient(back[..., i]) for i in (0, 1))
    density = np.clip((1 + ux) * (1 + vy) - uy * vx, 0.1, 5).repeat(2, 0).repeat(2, 1)
    wide = cv2.resize(back, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
    rows, columns = ((np.arange(n * 2) + 0.5) / 2 for n in (height, width))
    seen = overlaps(rows[:, None] + wide[..., 1], columns + wide[..., 0], density, (height, width), 2)
    return seen, good.reshape(height // 8, 8, width // 8, 8).all(axis=(1, 3)).ravel()


def test_real_shots_are_followed_and_stay_white(shot: Frames) -> None:
    latents = warped(shot)
    for latent in latents:
        assert_white(latent)
    for k in range(len(latents) - 1):
        seen, good = overlaps_seen(shot[4 * k], shot[4 * k + 4])
        bound = seen.bound()[good]
        foretold = seen.foretold(flat(latents[k]))[:, good] / np.sqrt(seen.total[good]) / bound
        assert good.mean() > 0.5
        # The flow here is another than the one followed (four steps), and 16 channels have their spread.
        assert correlation(foretold, flat(latents[k + 1])[:, good]) > 0.95 * float(bound.mean())
