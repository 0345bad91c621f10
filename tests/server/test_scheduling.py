"""Which job runs on which device: by what it needs, in the queue's order, and nobody waits for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from void_client.frame_ref import FrameRef
from void_client.job import ClickSpec, EngineSpec, JobSpec, MaskSpec, PlateSpec, QuadmaskSpec
from void_server import needs
from void_server.journal import SCHEMA_VERSION, Journal
from void_server.scheduler import Scheduler
from void_server.settings import ServerSettings
from void_server.supervisor import Worker

FRAME = FrameRef(1001, "a" * 64, 5)


class Standing(Worker):
    """A worker without a process: it takes what it is given, and is told when it has ended."""

    def run(self, job_id: str, spec: dict[str, Any], approved: bool = False) -> None:
        self.state, self.job_id = "busy", job_id


def spec(engine: str = "cleanplate", stop: str = "", segmenter: str = "", **options: Any) -> JobSpec:
    plate = PlateSpec((FRAME,))
    job = JobSpec(plate, QuadmaskSpec((FRAME,)), EngineSpec(engine, options))
    if segmenter or stop:
        masks = MaskSpec(clicks=(ClickSpec(1001, 1.0, 1.0),), segmenter=segmenter or "track")
        job = replace(job, quadmask=None, masks=masks, stop=stop)
    return job


class Hall:
    """A scheduler with devices that stand still."""

    def __init__(self, folder: Path, *devices: str, spread: str = "off") -> None:
        self.journal = Journal(folder / "journal.sqlite")
        self.journal.put_frame(FRAME.sha256, FRAME.size)
        self.workers = [Standing(device, folder, state="ready") for device in devices]
        settings = ServerSettings(data=str(folder), devices=devices, spread=spread)
        self.scheduler = Scheduler(self.journal, list(self.workers), settings)

    def submit(self, name: str, job: JobSpec, priority: int = 50, client: str = "anna") -> None:
        self.scheduler.submit(name, job.to_wire(), priority, client)

    def dispatch(self) -> dict[str, str]:
        """Device → its job."""
        self.scheduler.dispatch()
        return {worker.device: worker.job_id for worker in self.workers if worker.job_id is not None}

    def end(self, device: str) -> None:
        worker = next(each for each in self.workers if each.device == device)
        self.scheduler.hear(worker, {"kind": "done", "job_id": worker.job_id, "data": {}})


@pytest.fixture
def hall(tmp_path: Path) -> Iterator[Any]:
    made: list[Hall] = []

    def make(*devices: str, **settings: str) -> Hall:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(Hall(folder, *devices, **settings))
        return made[-1]

    yield make
    for each in made:
        each.journal.close()


@pytest.mark.parametrize(
    ("job", "approved", "expected"),
    [
        (spec("void"), False, "cuda"),
        (spec("cleanplate"), False, "cpu"),
        (spec("void", stop="masks"), False, "cpu"),
        (spec("void", stop="review"), False, "cpu"),
        (spec("void", stop="review"), True, "cuda"),
        (spec("void", stop="masks", segmenter="sam2"), False, "either"),
        (spec("cleanplate", segmenter="sam2"), False, "either"),
        (spec("void", segmenter="sam2"), False, "cuda"),
    ],
)
def test_what_a_job_wants(job, approved, expected):
    assert needs.wanted(job, approved) == expected


@pytest.mark.parametrize(
    ("options", "large"),
    [
        ({}, False), ({"area": 1.0}, False), ({"area": 2.0}, True), ({"window_frames": 85}, False),
        ({"window_frames": 93}, True), ({"height": 384, "width": 672}, False), ({"height": 720, "width": 1280}, True),
        ({"batch_windows": 2}, True), ({"batch_windows": "many"}, False),
    ],
)  # fmt: skip
def test_a_job_is_large_where_it_asks_for_more_than_the_model_learned(options, large):
    assert needs.is_large(spec("void", **options)) is large


def test_a_model_waits_for_the_gpu_and_the_rest_goes_to_the_cpu(hall):
    place = hall("cuda:0", "cpu")
    place.submit("first", spec("void"))
    place.submit("second", spec("void"))
    place.submit("plate", spec("cleanplate"))
    assert place.dispatch() == {"cuda:0": "first", "cpu": "plate"}
    place.end("cpu")
    assert place.dispatch() == {"cuda:0": "first"}  # the second does not take the idle CPU
    place.end("cuda:0")
    assert place.dispatch() == {"cuda:0": "second"}


def test_the_plate_falls_back_to_an_idle_gpu_that_nobody_waits_for(hall):
    place = hall("cpu", "cuda:0", "cuda:1")
    place.submit("plate 1", spec())
    place.submit("plate 2", spec(), priority=90)
    place.submit("plate 3", spec())
    place.submit("model", spec("void"), priority=1)
    # The most urgent gets the CPU; one GPU is the model's, however low; the other is spare.
    assert place.dispatch() == {"cpu": "plate 2", "cuda:0": "model", "cuda:1": "plate 1"}
    assert place.scheduler.info("plate 3").state == "queued"


@pytest.mark.parametrize("devices", [("cpu",), ("cuda:0",), ("cpu:0", "cpu:1")])
def test_where_there_is_one_kind_of_device_the_queue_is_one(hall, devices):
    place = hall(*devices)
    order = []
    jobs = [("a", spec("void"), 50), ("b", spec(), 70), ("c", spec("void", stop="masks"), 50), ("d", spec("void"), 90)]
    for name, job, priority in jobs:
        place.submit(name, job, priority)
    while place.journal.count("queued") or any(worker.job_id for worker in place.workers):
        for device, name in place.dispatch().items():
            order.append(name)
            place.end(device)
    assert order == ["d", "b", "a", "c"]


def test_masks_by_a_network_take_the_gpu_first_and_the_cpu_where_it_is_busy(hall):
    place = hall("cpu", "cuda:0")
    place.submit("masks 1", spec(stop="masks", segmenter="sam2"))
    place.submit("masks 2", spec(stop="masks", segmenter="sam2"))
    assert place.dispatch() == {"cuda:0": "masks 1", "cpu": "masks 2"}


def test_a_review_is_made_on_the_cpu_and_goes_on_on_the_gpu(hall):
    place = hall("cuda:0", "cpu")
    place.submit("shot", spec("void", stop="review"))
    assert place.dispatch() == {"cpu": "shot"}
    place.scheduler.hear(place.workers[1], {"kind": "review", "job_id": "shot", "data": {"frames": 1}})
    place.scheduler.approve("shot")
    assert place.dispatch() == {"cuda:0": "shot"}


def test_large_jobs_get_the_largest_card_and_leave_it_free_for_each_other(hall):
    place = hall("cuda:0", "cuda:1", "cuda:2")
    for worker, memory in zip(place.workers, (48, 80, 24), strict=True):
        worker.memory = memory
    place.submit("small", spec("void"))
    place.submit("large", spec("void", area=4.0))
    assert place.dispatch() == {"cuda:1": "large", "cuda:2": "small"}


def test_a_cpu_worker_that_never_comes_up_keeps_no_job_waiting(hall):
    place = hall("cpu", "cuda:0")
    place.workers[0].state, place.workers[0]._quick_deaths = "down", 4
    place.submit("plate", spec())
    assert place.dispatch() == {"cuda:0": "plate"}


def test_a_model_does_not_go_to_the_cpu_because_the_gpu_is_down(hall):
    place = hall("cpu", "cuda:0")
    place.workers[1].state, place.workers[1]._quick_deaths = "down", 4
    place.submit("model", spec("void"))
    assert place.dispatch() == {}


# --- lending


class Lending:
    """A hall of GPUs with one long shot at work on the first."""

    def __init__(self, place: Hall) -> None:
        self.place = place
        for worker in place.workers:
            worker.card, worker.engines = "card" if worker.kind == "cuda" else "", {"void": "3", "cleanplate": "1"}
        place.submit("long", spec("void"))
        assert place.dispatch() == {place.workers[0].device: "long"}

    def borrow(self, count: int) -> list[str]:
        """Who is lent then."""
        message = {"kind": "borrow", "job_id": "long", "engine": "void", "count": count}
        self.place.scheduler.hear(self.place.workers[0], message)
        return [worker.device for worker in self.place.workers if worker.state == "lent"]

    def free(self, place: int) -> None:
        self.place.scheduler.hear(self.place.workers[place], {"kind": "free"})


def test_idle_devices_are_lent_as_many_as_can_be_used(hall):
    lending = Lending(hall("cuda:0", "cuda:1", "cuda:2", "cuda:3", "cpu", spread="auto"))
    assert lending.borrow(1) == ["cuda:1"]
    assert lending.borrow(1) == ["cuda:1"]  # in all, however often it is asked
    assert lending.borrow(2) == ["cuda:1", "cuda:2"]
    lending.free(1)
    assert lending.place.workers[1].state == "ready"
    assert lending.borrow(9) == ["cuda:1", "cuda:2", "cuda:3"]  # the CPU is no GPU


def test_nothing_is_lent_where_the_setting_is_off(hall):
    assert Lending(hall("cuda:0", "cuda:1")).borrow(1) == []


@pytest.mark.parametrize("changed", [{"card": "another"}, {"card": ""}, {"engines": {"cleanplate": "1"}}])
def test_only_a_device_that_computes_the_same_bits_is_lent(hall, changed):
    lending = Lending(hall("cuda:0", "cuda:1", spread="auto"))
    for worker in lending.place.workers if changed.get("card") == "" else lending.place.workers[1:]:
        for name, value in changed.items():
            setattr(worker, name, value)
    assert lending.borrow(1) == []


def test_a_device_that_a_queued_job_could_use_is_not_lent(hall):
    lending = Lending(hall("cuda:0", "cuda:1", spread="auto"))
    lending.place.submit("next", spec("void"))
    assert lending.borrow(1) == []
    lending = Lending(hall("cuda:0", "cuda:1", "cpu", spread="auto"))
    lending.place.submit("model", spec("void"))
    lending.place.dispatch()
    lending.place.end("cuda:1")
    assert lending.borrow(1) == ["cuda:1"]


def test_a_queued_job_takes_a_device_back_one_at_a_time(hall):
    lending = Lending(hall("cuda:0", "cuda:1", "cuda:2", "cpu", spread="auto"))
    place = lending.place
    assert lending.borrow(2) == ["cuda:1", "cuda:2"]
    place.submit("plate", spec())
    assert place.dispatch() == {"cuda:0": "long", "cpu": "plate"}
    place.submit("second plate", spec())  # would rather have the CPU, and is quicker on its own turn
    place.dispatch()
    assert [worker.reclaimed for worker in place.workers] == [False, False, False, False]
    place.submit("urgent", spec("void"))
    for _ in range(2):
        place.dispatch()
        assert [worker.reclaimed for worker in place.workers] == [False, False, True, False]
    assert lending.borrow(2) == ["cuda:1", "cuda:2"]
    lending.free(2)
    assert place.dispatch() == {"cuda:0": "long", "cuda:2": "urgent", "cpu": "plate"}
    assert place.workers[2].overdue(60.0) is None  # it came in time: nobody kills it


@pytest.mark.parametrize("seed", range(3))
def test_nobody_starves_and_equals_go_by_age(hall, seed):
    """Two artists, one of whom never stops submitting; each job ends after a random while. Of jobs that want the same,
    none overtakes one that is as urgent and older, whoever sent it."""
    draw = np.random.default_rng(seed)
    place = hall("cuda:0", "cuda:1", "cpu:0", "cpu:1")
    kinds = [spec("void"), spec(), spec(stop="masks", segmenter="sam2")]
    started: list[str] = []
    urgency: dict[str, tuple[str, int, int]] = {}

    def submit(number: int) -> None:
        kind, priority = int(draw.integers(3)), int(draw.choice([10, 50]))
        name = f"job{number}"
        urgency[name] = (needs.wanted(kinds[kind], False), -priority, number)
        place.submit(name, kinds[kind], priority, "anna" if number % 5 else "bert")

    for turn in range(150):
        if turn < 70:
            submit(turn)
        before = {worker.device: worker.job_id for worker in place.workers}
        queued = {name for name in urgency if place.scheduler.info(name).state == "queued"}
        for device, name in place.dispatch().items():
            if before[device] != name:
                started.append(name)
                queued.discard(name)
                older = [other for other in queued if urgency[other][0] == urgency[name][0]]
                assert all(urgency[other] > urgency[name] for other in older if other not in started)
        for worker in place.workers:
            if worker.job_id is not None and draw.random() < 0.7:
                place.end(worker.device)
    assert sorted(started) == sorted(urgency)


def test_a_journal_of_an_older_server_is_sorted_when_it_is_opened(tmp_path):
    before = Hall(tmp_path, "cuda:0", "cpu")
    before.submit("model", spec("void"))
    before.submit("plate", spec())
    before.journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        database.execute("DROP INDEX jobs_by_wants")
        database.execute("ALTER TABLE jobs DROP COLUMN wants")
        database.execute("PRAGMA user_version=2")
    database.close()
    after = Hall(tmp_path, "cuda:0", "cpu")
    assert after.dispatch() == {"cuda:0": "model", "cpu": "plate"}
    after.journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite") as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    database.close()


@pytest.mark.parametrize("device", ["gpu", "cuda", "cpu:", "cpu:x", "cuda:0 "])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises(ValueError, match="neither cpu, cpu:NUMBER nor cuda:NUMBER"):
        ServerSettings(devices=(device,))
