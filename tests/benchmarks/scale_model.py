"""A studio's night on paper: shots, GPUs, hosts, storage and a vision-language model, as a discrete event simulation.

Promises: the same seed gives the same night; every second that a device is held, and every byte that crosses the
storage, is counted. Must not: know about tables or pictures (`scale.py`). What is simulated is this project's own way:
one worker a device, a job's stages one after the other on it, stages cached, idle devices of a host lent for windows.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Optional

import simpy

Process = Generator[simpy.Event, Any, Any]

WINDOW_FRAMES, OVERLAP_LATENTS = 85, 4  # the model's window in time (docs/model.md)


@dataclass(frozen=True)
class Times:
    """What a stage costs. ``*_s``: seconds, ``*_mb``: megabytes; per frame of a 4K plate unless said otherwise."""

    frame_mb: float = 34.4  # a 4K half RGBA EXR, ZIP (measured)
    decode_s: float = 0.11  # (measured, 2 threads)
    encode_s: float = 0.39  # (measured, 2 threads)
    segment_s: float = 0.10  # sam2 on the device (assumed)
    reason_s: float = 40.0  # one answer of a vision-language model for a shot (assumed)
    window_tflop: float = 173.7  # one window and step at 384 x 672 x 85 (counted, docs/performance.md)
    device_tflops: float = 300.0  # what the card reaches in it (assumed: about a third of an H100's peak)
    steps_pass1: int = 30
    steps_pass2: int = 0  # 50, with guidance: twice the work each
    codec_frame_s: float = 0.05  # VAE in and out, at the model's size (assumed)
    load_s: float = 75.0  # start of a worker: 22 GB of weights from a local disk (assumed)
    dispatch_s: float = 4.0  # a farm manager's start of a task (assumed)
    spread_loss: float = 0.10  # of each step, where windows are spread over devices (assumed)

    @property
    def window_step_s(self) -> float:
        return self.window_tflop / self.device_tflops


@dataclass(frozen=True)
class Studio:
    """``storage_mb_s``: what the shared storage gives to all together; ``link_mb_s``: to one host.

    ``reasons_at_once``: answers that the vision-language model works on at a time. ``overlap``: a device's next job
    reads and masks while this one generates.
    """

    hosts: int = 1
    devices: int = 1
    codecs: int = 8  # clips that a host reads or writes at a time, two threads each
    storage_mb_s: float = 4000.0
    link_mb_s: float = 1100.0
    reasons_at_once: int = 20
    warm: bool = True
    cache: bool = True
    spread: bool = False
    overlap: bool = False
    device_hour: float = 2.5  # price of one device for an hour


@dataclass(frozen=True)
class Night:
    """``arrive_h``: shots come evenly spread over so many hours (0: all at once). ``again``: how often a shot is solved
    again on average, with another seed or a retouched mask, after ``look_s`` seconds."""

    shots: int
    arrive_h: float = 4.0
    length_median: float = 96.0
    length_spread: float = 0.6
    longest: int = 900
    again: float = 0.7
    look_s: float = 900.0
    seed: int = 1


@dataclass
class Done:
    """What a night came to. Seconds, one a solve: ``waits`` in the queue for a device, ``whole`` until delivered."""

    waits: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    cached: int = 0
    held_s: float = 0.0  # device seconds
    busy_s: float = 0.0  # of these, in diffusion
    storage_mb: float = 0.0
    loads: int = 0
    end_s: float = 0.0


def windows(frames: int) -> int:
    """How many windows a clip has (docs/model.md)."""
    padded = max(WINDOW_FRAMES, math.ceil((frames - 5) / 8) * 8 + 5)
    return 1 + math.ceil((_latents(padded) - _latents(WINDOW_FRAMES)) / (_latents(WINDOW_FRAMES) - OVERLAP_LATENTS))


def _latents(frames: int) -> int:
    return (frames - 1) // 4 + 1


def generate_s(frames: int, times: Times, devices: int = 1) -> float:
    """Seconds in diffusion, with a clip's windows on so many devices; the codec runs on one."""
    count = windows(frames)
    used = min(devices, count)
    rounds = math.ceil(count / used)
    step = times.window_step_s * (1.0 + (times.spread_loss if used > 1 else 0.0))
    passes = times.steps_pass1 + 2 * times.steps_pass2
    return rounds * passes * step + frames * times.codec_frame_s


def run(night: Night, studio: Studio, times: Times) -> Done:
    """One night to its end: until the last shot is delivered."""
    return _Night(night, studio, times).run()


class _Host:
    """One machine: its devices, its line to the storage, and how many of its devices hold the weights."""

    def __init__(self, env: simpy.Environment, studio: Studio) -> None:
        self.devices = simpy.PriorityResource(env, studio.devices)
        self.link = simpy.Resource(env, 1)
        self.codecs = simpy.Resource(env, studio.codecs)
        self.warmed = 0

    @property
    def load(self) -> float:
        return self.devices.count + len(self.devices.queue)


class _Night:
    def __init__(self, night: Night, studio: Studio, times: Times) -> None:
        self.night, self.studio, self.times = night, studio, times
        self.env = simpy.Environment()
        self.random = random.Random(night.seed)
        self.done = Done()
        self.hosts = [_Host(self.env, studio) for _ in range(studio.hosts)]
        # As many clips at a time as the storage serves at about a host's full speed; the others wait for their turn.
        streams = max(1, round(studio.storage_mb_s / studio.link_mb_s))
        self.streams = simpy.Resource(self.env, streams)
        self.stream_mb_s = min(studio.link_mb_s, studio.storage_mb_s / streams)
        self.reasoner = simpy.Resource(self.env, studio.reasons_at_once)

    def run(self) -> Done:
        for _ in range(self.night.shots):
            start = self.random.uniform(0.0, self.night.arrive_h * 3600.0)
            length = min(
                self.night.longest,
                round(self.night.length_median * self.random.lognormvariate(0.0, self.night.length_spread)),
            )
            more = 0
            while self.random.random() < self.night.again / (1.0 + self.night.again):
                more += 1
            self.env.process(self._shot(start, max(8, length), more))
        self.env.run()
        self.done.end_s = self.env.now
        return self.done

    def _shot(self, start: float, frames: int, more: int) -> Process:
        yield self.env.timeout(start)
        home: Optional[_Host] = None
        for attempt in range(1 + more):
            if attempt:
                yield self.env.timeout(self.night.look_s)
            home = yield self.env.process(self._solve(frames, home))

    def _solve(self, frames: int, home: Optional[_Host]) -> Process:
        asked = self.env.now
        known = home is not None and self.studio.cache
        host = home if known and home is not None and home.load <= self.studio.devices else self._least_loaded()
        if self.studio.overlap:
            yield self.env.process(self._before(host, frames, known))
        queued = self.env.now
        with host.devices.request(priority=0) as held:
            yield held
            got = self.env.now
            self.done.waits.append(got - queued)
            yield self.env.timeout(self.times.dispatch_s)
            if not self.studio.warm or host.warmed < self.studio.devices:
                host.warmed += 1
                self.done.loads += 1
                yield self.env.timeout(self.times.load_s)
            if not self.studio.overlap:
                yield self.env.process(self._before(host, frames, known))
            if known:
                self.done.cached += 1
            else:
                yield self.env.timeout(frames * self.times.segment_s)
            yield self.env.process(self._generate(host, frames))
            if not self.studio.overlap:
                yield self.env.process(self._after(host, frames))
            self.done.held_s += self.env.now - got
        if self.studio.overlap:
            yield self.env.process(self._after(host, frames))
        self.done.whole.append(self.env.now - asked)
        return host

    def _before(self, host: _Host, frames: int, known: bool) -> Process:
        """Plate in and decoded, and the reasoner asked: nothing of it where the caches have it."""
        if known:
            return
        yield self.env.process(self._move(host, frames))
        yield self.env.process(self._code(host, frames * self.times.decode_s))
        with self.reasoner.request() as asked:
            yield asked
            yield self.env.timeout(self.times.reason_s)

    def _generate(self, host: _Host, frames: int) -> Process:
        lent = []
        if self.studio.spread:
            # Only what is idle this moment, and never before a job that waits.
            wanted = (
                min(windows(frames) - 1, host.devices.capacity - host.devices.count) if not host.devices.queue else 0
            )
            lent = [host.devices.request(priority=-1) for _ in range(max(0, wanted))]
        took = generate_s(frames, self.times, 1 + len(lent))
        yield self.env.timeout(took)
        for each in lent:
            host.devices.release(each)
        self.done.held_s += took * len(lent)
        self.done.busy_s += generate_s(frames, self.times)

    def _after(self, host: _Host, frames: int) -> Process:
        yield self.env.process(self._code(host, frames * (self.times.decode_s + self.times.encode_s)))
        yield self.env.process(self._move(host, frames))

    def _code(self, host: _Host, seconds: float) -> Process:
        with host.codecs.request() as threads:
            yield threads
            yield self.env.timeout(seconds)

    def _move(self, host: _Host, frames: int) -> Process:
        """A clip over the host's line, one at a time, while the storage has a stream for it."""
        size = frames * self.times.frame_mb
        self.done.storage_mb += size
        with host.link.request() as line:
            yield line
            with self.streams.request() as stream:
                yield stream
                yield self.env.timeout(size / self.stream_mb_s)

    def _least_loaded(self) -> _Host:
        low = min(host.load for host in self.hosts)
        return self.random.choice([host for host in self.hosts if host.load == low])
