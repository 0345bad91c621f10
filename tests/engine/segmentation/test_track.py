"""The weightless segmenter on scenes whose truth is known."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from helpers.memory_pictures import MemoryMattes, MemoryPictures, overlap
from void_client.errors import Cancelled, JobError

from void_engine.segmentation import Box, Click, Prompt
from void_engine.segmentation.interface import Picture
from void_engine.segmentation.track import TrackSegmenter

Truth = npt.NDArray[np.bool_]


def ground(height: int, width: int, seed: int = 1) -> Picture:
    """Soft grey-blue clouds with a fine grain."""
    random = np.random.default_rng(seed)
    cloud = cv2.resize(random.random((6, 9, 3), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    tone = np.array([70, 90, 120], np.float32) + 40 * cloud
    return np.clip(tone + random.normal(0, 2, tone.shape), 0, 255).astype(np.uint8)


def disc(frame: Picture, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> Truth:
    """Drawn into ``frame``; what of it is seen."""
    rows, columns = np.mgrid[0 : frame.shape[0], 0 : frame.shape[1]]
    mask = np.asarray(np.hypot(columns - x, rows - y) <= radius)
    shade = 0.8 + 0.2 * ((rows - y) / max(radius, 1))[..., None]
    frame[mask] = np.clip(np.array(colour) * shade, 0, 255).astype(np.uint8)[mask]
    return mask


def rolling(count: int = 9, height: int = 120, width: int = 160) -> tuple[MemoryPictures, list[Truth]]:
    """An orange disc that crosses a still ground."""
    frames, truths = [], []
    for index in range(count):
        frame = ground(height, width)
        truths.append(disc(frame, 40 + 9 * index, 60 + 2 * index, 20, (220, 120, 30)))
        frames.append(frame)
    return MemoryPictures(frames), truths


def run(clip: MemoryPictures, *prompts: Prompt, store: MemoryMattes | None = None) -> MemoryMattes:
    store = store or MemoryMattes()
    TrackSegmenter().segment(clip, prompts, store, lambda done, of, note: None)
    return store


def click(position: int, x: float, y: float, positive: bool = True) -> Click:
    return Click(position, x, y, positive)


def test_a_click_mid_clip_reaches_every_frame_both_ways() -> None:
    clip, truths = rolling()
    store = run(clip, Prompt("ball", (click(4, 76, 68),)))
    assert [overlap(store.read("ball", i), truth) > 0.9 for i, truth in enumerate(truths)] == [True] * 9
    assert min(store.sure.values()) > 0.5


@pytest.mark.parametrize("prompt", ["box", "matte"])
def test_a_box_or_a_matte_says_it_too(prompt: str) -> None:
    clip, truths = rolling(5)
    if prompt == "box":
        given = Prompt("ball", boxes=(Box(2, 30, 38, 86, 92),))
    else:
        given = Prompt("ball", mattes={2: truths[2].astype(np.float32)})
    store = run(clip, given)
    assert min(overlap(store.read("ball", i), truth) for i, truth in enumerate(truths)) > 0.9
    if prompt == "matte":
        assert np.array_equal(store.read("ball", 2), truths[2].astype(np.float32))


def test_one_click_is_neither_nothing_nor_everything() -> None:
    random = np.random.default_rng(3)
    noise = random.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for frame in (noise, np.full((60, 80, 3), 128, np.uint8), ground(60, 80)):
        matte = run(MemoryPictures([frame]), Prompt("thing", (click(0, 41, 22),))).read("thing", 0)
        assert matte[22, 41] == 1.0
        assert 0 < (matte > 0.5).mean() < 0.7


def test_a_negative_click_is_never_in_the_matte_and_takes_what_is_near() -> None:
    frame = ground(120, 160)
    left = disc(frame, 55, 60, 22, (220, 120, 30))
    right = disc(frame, 98, 60, 22, (210, 110, 40))
    clip = MemoryPictures([frame, frame.copy()])
    both = run(clip, Prompt("one", (click(0, 55, 60),))).read("one", 0)
    store = run(clip, Prompt("one", (click(0, 55, 60), click(0, 98, 60, False))))
    matte = store.read("one", 0)
    assert matte[60, 98] == 0.0
    assert matte[60, 55] == 1.0
    assert (matte > 0.5)[right & ~left].mean() < 0.3
    assert (matte > 0.5)[left].mean() > 0.8
    assert both[60, 55] == 1.0


def test_a_later_negative_click_corrects_what_was_carried() -> None:
    clip, truths = rolling(6)
    wide = truths[0] | np.roll(truths[0], 30, axis=1)
    store = run(clip, Prompt("ball", (click(3, 150, 20, False), click(3, 67, 66)), mattes={0: wide.astype(np.float32)}))
    assert store.read("ball", 3)[20, 150] == 0.0
    assert store.read("ball", 3)[66, 67] == 1.0


def test_two_clicks_far_apart_are_one_object() -> None:
    frame = ground(120, 160)
    one, other = disc(frame, 40, 60, 16, (220, 120, 30)), disc(frame, 115, 60, 16, (220, 120, 30))
    matte = run(MemoryPictures([frame]), Prompt("both", (click(0, 40, 60), click(0, 115, 60)))).read("both", 0)
    assert overlap(matte, one | other) > 0.8


def test_several_objects_keep_to_themselves() -> None:
    frames, truths = [], []
    for index in range(4):
        frame = ground(120, 160)
        truths.append((disc(frame, 40 + 4 * index, 40, 18, (220, 120, 30)), disc(frame, 110, 80, 18, (40, 200, 60))))
        frames.append(frame)
    steps: list[tuple[int, int]] = []
    store = MemoryMattes()
    prompts = Prompt("a", (click(0, 40, 40),)), Prompt("b", (click(3, 110, 80),))
    TrackSegmenter().segment(MemoryPictures(frames), prompts, store, lambda done, of, note: steps.append((done, of)))
    for index, (one, other) in enumerate(truths):
        assert overlap(store.read("a", index), one) > 0.9
        assert overlap(store.read("b", index), other) > 0.9
    assert steps[-1] == (8, 8)
    assert steps == sorted(steps)


def test_what_leaves_the_picture_is_gone_and_found_when_it_returns() -> None:
    frames, truths = [], []
    for x in (60, 35, 10, -15, -40, -40, -15, 10, 35, 60):
        frame = ground(100, 140)
        truths.append(disc(frame, x, 50, 20, (220, 120, 30)))
        frames.append(frame)
    store = run(MemoryPictures(frames), Prompt("ball", (click(0, 60, 50),)))
    for gone in (4, 5):
        assert not (store.read("ball", gone) > 0.5).any()
        assert store.confidence("ball", gone) < 0.2
    for seen in (0, 1, 2, 8, 9):
        assert overlap(store.read("ball", seen), truths[seen]) > 0.8


def test_between_two_prompted_frames_both_count() -> None:
    clip, truths = rolling()
    prompt = Prompt("ball", mattes={0: truths[0].astype(np.float32), 8: truths[8].astype(np.float32)})
    store = run(clip, prompt)
    assert min(overlap(store.read("ball", i), truth) for i, truth in enumerate(truths)) > 0.9


def test_the_same_bits_every_time_for_any_number_of_threads() -> None:
    clip, _ = rolling(4)
    prompt = Prompt("ball", (click(1, 49, 62), click(3, 67, 66)))
    first = run(clip, prompt)
    threads = cv2.getNumThreads()
    try:
        for count in (1, 2):
            cv2.setNumThreads(count)
            cv2.setRNGSeed(99)
            again = run(clip, prompt)
            assert again.sure == first.sure
            for key, matte in first.mattes.items():
                assert np.array_equal(matte, again.mattes[key])
    finally:
        cv2.setNumThreads(threads)


def _stop_at(limit: int) -> Callable[[int, int, str], None]:
    def tick(done: int, of: int, note: str) -> None:
        if done >= limit:
            raise Cancelled("The job was cancelled.")

    return tick


def test_a_cancelled_run_goes_on_where_it_was_and_gives_the_same_bits() -> None:
    clip, _ = rolling(6)
    prompt = Prompt("ball", (click(0, 40, 60), click(5, 85, 70)))
    whole = run(clip, prompt)
    store = MemoryMattes()
    with pytest.raises(Cancelled):
        TrackSegmenter().segment(clip, (prompt,), store, _stop_at(3))
    assert 2 <= len(store.mattes) < 6
    written = {position for _, position in store.mattes}
    clip.decoded.clear()
    run(clip, prompt, store=store)
    assert not written & set(clip.decoded)
    for key, matte in whole.mattes.items():
        assert np.array_equal(matte, store.mattes[key])
    clip.decoded.clear()
    run(clip, prompt, store=store)
    assert clip.decoded == []


@pytest.mark.parametrize("size", [(37, 53), (1, 1), (2, 3), (5, 200), (16, 16)])
def test_tiny_and_odd_sizes(size: tuple[int, int]) -> None:
    frames = [ground(*size, seed=4) for _ in range(3)]
    store = run(MemoryPictures(frames), Prompt("thing", (click(1, size[1] / 2, size[0] / 2),)))
    assert len(store.mattes) == 3
    assert store.read("thing", 1)[size[0] // 2, size[1] // 2] == 1.0


def test_an_object_of_one_pixel() -> None:
    frame = np.full((40, 60, 3), 60, np.uint8)
    frame[20, 30] = 250
    matte = run(MemoryPictures([frame, frame.copy()]), Prompt("dot", (click(0, 30.5, 20.5),))).read("dot", 0)
    assert matte[20, 30] == 1.0
    assert (matte > 0.5).mean() < 0.2


def test_a_large_plate_gets_a_clean_edge() -> None:
    frame = ground(900, 1400)
    truth = disc(frame, 700, 450, 200, (220, 120, 30))
    matte = run(MemoryPictures([frame]), Prompt("ball", (click(0, 700, 450),))).read("ball", 0)
    assert overlap(matte, truth) > 0.98
    assert ((matte > 0.02) & (matte < 0.98)).sum() < 12 * 2 * np.pi * 200  # soft within 12 pixels of the edge


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (Prompt("cup"), "'cup'"),
        (Prompt("cup", (click(0, 5, 5, False),)), "'cup'"),
        (Prompt("cup", (click(7, 5, 5),)), "frame 7"),
        (Prompt("cup", (click(-1, 5, 5),)), "frame -1"),
        (Prompt("cup", (click(1, 160, 5),)), "frame 1"),
        (Prompt("cup", (click(1, float("nan"), 5),)), "frame 1"),
        (Prompt("cup", boxes=(Box(2, 10, 10, 10, 20),)), "frame 2"),
        (Prompt("cup", boxes=(Box(2, 170, 10, 180, 20),)), "frame 2"),
        (Prompt("cup", mattes={1: np.zeros((3, 3), np.float32)}), "frame 1"),
    ],
)
def test_a_prompt_that_names_no_pixel_is_refused(prompt: Prompt, words: str) -> None:
    clip, _ = rolling(3)
    with pytest.raises(JobError, match=words) as raised:
        run(clip, prompt)
    assert "'cup'" in str(raised.value)
