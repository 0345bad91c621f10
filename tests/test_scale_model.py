"""The simulated night (tests/benchmarks/scale_model.py) against what can be worked out by hand."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from void_engine.diffusion.geometry import even_windows, latent_frames, padded_length

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from scale_model import Night, Studio, Times, generate_s, run, windows

ENDLESS = Studio(storage_mb_s=1e12, link_mb_s=1e12, reasons_at_once=10_000)
EQUAL = Night(24, arrive_h=0.0, length_spread=0.0, again=0.0)
LOADED = replace(Times(), load_s=0.0)


def by_hand(times: Times, frames: int) -> float:
    masks = frames * times.decode_s + times.reason_s + frames * times.segment_s
    return times.dispatch_s + masks + generate_s(frames, times) + frames * (times.decode_s + times.encode_s)


@pytest.mark.parametrize("frames", [1, 8, 85, 86, 93, 154, 155, 197, 400, 901])
def test_a_clip_has_as_many_windows_as_the_engine_gives_it(frames: int) -> None:
    length = padded_length(frames, 85)
    assert windows(frames) == len(even_windows(latent_frames(length), 22, 4))


@pytest.mark.parametrize(("hosts", "devices"), [(1, 1), (1, 4), (3, 1), (6, 4)])
def test_equal_shots_end_when_arithmetic_says(hosts: int, devices: int) -> None:
    done = run(EQUAL, replace(ENDLESS, hosts=hosts, devices=devices), LOADED)
    rounds = -(-EQUAL.shots // (hosts * devices))
    assert done.end_s == pytest.approx(rounds * by_hand(LOADED, 96), rel=1e-6)
    assert done.held_s == pytest.approx(EQUAL.shots * by_hand(LOADED, 96), rel=1e-6)


def test_weights_are_loaded_once_a_device_where_servers_stay_warm() -> None:
    studio = replace(ENDLESS, hosts=2, devices=3)
    assert run(EQUAL, studio, Times()).loads == 6
    assert run(EQUAL, replace(studio, warm=False), Times()).loads == EQUAL.shots


def test_what_the_storage_gives_bounds_the_night() -> None:
    studio = Studio(hosts=12, devices=2, storage_mb_s=100.0, link_mb_s=100.0, reasons_at_once=1000)
    done = run(EQUAL, studio, LOADED)
    moved = EQUAL.shots * 96 * LOADED.frame_mb * 2
    assert done.storage_mb == pytest.approx(moved)
    assert done.end_s > moved / 100.0


def test_a_second_solve_reads_and_reasons_nothing_where_caches_are() -> None:
    night = replace(EQUAL, again=1.0)
    with_caches, without = (run(night, replace(ENDLESS, cache=cache), LOADED) for cache in (True, False))
    again = len(with_caches.waits) - night.shots
    assert again > 0
    assert with_caches.cached == again
    assert without.cached == 0
    assert with_caches.held_s < without.held_s


def test_spreading_shortens_a_long_shot_alone_and_never_takes_from_one_that_waits() -> None:
    alone = replace(EQUAL, shots=1, length_median=400.0)
    host = replace(ENDLESS, devices=4)
    assert run(alone, replace(host, spread=True), LOADED).end_s < run(alone, host, LOADED).end_s
    crowd = replace(alone, shots=40)
    spread, plain = (run(crowd, replace(host, spread=each), LOADED) for each in (True, False))
    assert spread.end_s <= plain.end_s * 1.01


def test_the_same_seed_gives_the_same_night() -> None:
    night = Night(60)
    assert run(night, Studio(hosts=2, devices=2), Times()) == run(night, Studio(hosts=2, devices=2), Times())
