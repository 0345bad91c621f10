"""A solve's way without Nuke: from an ordered shot to the placed version, against a real server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from small_shots import FIRST, HEIGHT, LAST, Server, centre, wait_until, write_plate
from void_client.job import ClickSpec
from void_client.result_store import NodeStore, Pending
from void_nuke import solving, states
from void_nuke.clicks import Clicks
from void_nuke.order import NodeSettings, Order, Sources, shot_of
from void_nuke.sessions import Desk, Job, Report


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("server") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def plate(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_plate(tmp_path_factory.mktemp("plate"))


def settings_in(project: Path, **changes: object) -> NodeSettings:
    x, y = centre(1003)
    click = Clicks((ClickSpec(1003, x, y),))
    made = NodeSettings("uuid-1", "VOID1", str(project / "a.nk"), project, "sh", clicks=click, review=False)
    return replace(made, **changes)  # type: ignore[arg-type]


def order_of(settings: NodeSettings, plate: str, server: Server, review: bool = False) -> Order:
    frames = tuple(range(FIRST, LAST + 1))
    store = NodeStore.of(settings.project, settings.shot, settings.uuid)
    shot = shot_of(settings, Sources(plate, frames, frames))
    return Order(settings, shot, store, server.settings, looked="print", review=review)


class Office:
    """A desk whose reports are kept, as the main thread would take them."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.ended = threading.Event()
        self.desk = Desk(self._post)

    def _post(self, job: Job, report: Report) -> None:
        self.reports.append(report)
        if report.last:
            self.desk.finish(job)
            self.ended.set()

    def solve(self, order: Order) -> Job:
        self.ended.clear()
        return self.desk.start("uuid-1", order.server, lambda job, tell: solving.solve(order, job, tell))

    def last(self) -> Report:
        assert self.ended.wait(60)
        return self.reports[-1]

    def states(self) -> list[str]:
        names: list[str] = []
        for report in self.reports:
            if not names or names[-1] != report.state.name:
                names.append(report.state.name)
        return names


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.desk.forget_all()


def test_a_solve_ends_with_a_version_and_tells_its_way(office, server, plate, tmp_path):
    order = order_of(settings_in(tmp_path), plate, server)
    office.solve(order)
    report = office.last()
    assert report.error is None
    assert report.state.text() == "ready v001"
    assert report.version.first == FIRST
    assert report.looked == "print"
    told = office.states()
    assert [told[0], told[-1]] == [states.EXPORTING, states.READY]
    assert states.REASONING in told
    assert states.GENERATING in told
    assert order.store.pending() == ()
    assert office.desk.jobs == {}


def test_the_same_solve_again_brings_the_same_version_without_a_job(office, server, plate, tmp_path):
    order = order_of(settings_in(tmp_path), plate, server)
    office.solve(order)
    first = office.last()
    office.solve(order)
    again = office.last()
    assert again.version == first.version
    assert again.state.job_id == first.state.job_id
    jobs = [job for job in first_client(office).status() if job.job_id == first.state.job_id]
    assert len(jobs) == 1


def first_client(office: Office):
    return next(iter(office.desk._lines.values())).client()


def test_review_stops_at_the_quadmask_and_approval_goes_on(office, server, plate, tmp_path):
    order = order_of(settings_in(tmp_path, seed=5), plate, server, review=True)
    office.solve(order)
    report = office.last()
    assert report.state.name == states.MASKS_READY
    assert report.masks.pattern.endswith("/quadmask.%04d.exr")
    (pending,) = order.store.pending()
    followed = solving.Followed(pending, order.store)
    office.ended.clear()
    office.desk.start(
        "uuid-1", order.server, lambda job, tell: solving.approve(followed, job, solving.Progress(tell, job))
    )
    done = office.last()
    assert done.version.name == "v001"
    assert order.store.pending() == ()


def test_cancelling_says_who_it_was(office, server, plate, tmp_path):
    order = order_of(settings_in(tmp_path, seed=6), plate, server, review=True)
    office.solve(order)
    report = office.last()
    office.ended.clear()
    (pending,) = order.store.pending()
    job = office.desk.start(
        "uuid-1",
        order.server,
        lambda job, tell: solving.follow(solving.Followed(pending, order.store), job, solving.Progress(tell, job)),
    )
    with_client = first_client(office)
    assert office.last().masks is not None
    with_client.cancel(report.state.job_id)
    office.ended.clear()
    office.desk.start(
        "uuid-1",
        order.server,
        lambda job, tell: solving.follow(solving.Followed(pending, order.store), job, solving.Progress(tell, job)),
    )
    told = office.last().error
    assert told.key == "cancelled"
    assert told.state == states.CANCELLED
    assert "elsewhere" in told.what
    assert order.store.pending() == ()
    assert job.stop.is_set() is False


def test_missing_frames_are_named(office, server, tmp_path):
    pattern = write_plate(tmp_path / "plate", range(1001, 1004))
    write_plate(tmp_path / "plate", range(1005, 1007))
    office.solve(order_of(settings_in(tmp_path), pattern, server))
    told = office.last().error
    assert told.state == states.FAILED
    assert "1004" in told.what
    assert "Render what is missing" in told.do


def test_a_server_that_is_away_is_waited_for(office, server, plate, tmp_path):
    server.kill()
    try:
        order = order_of(settings_in(tmp_path, seed=9), plate, server)
        office.solve(order)
        wait_until(lambda: states.OFFLINE in office.states(), "the news that the server is away")
        offline = next(r for r in office.reports if r.state.name == states.OFFLINE)
        assert "Nothing is lost" in offline.state.text()
    finally:
        server.start()
    assert office.last().version is not None


def test_a_job_on_record_is_followed_and_not_sent_again(office, server, plate, tmp_path):
    order = order_of(settings_in(tmp_path, seed=10), plate, server, review=True)
    office.solve(order)
    first = office.last().state.job_id
    office.solve(replace(order, review=False))
    assert office.last().state.job_id == first
    assert office.last().version.name == "v001"


def test_a_job_that_the_server_forgot_is_told(office, server, plate, tmp_path):
    order = order_of(settings_in(tmp_path), plate, server)
    pending = Pending("nobody", server.endpoint)
    order.store.remember(pending)
    office.desk.start(
        "uuid-1",
        order.server,
        lambda job, tell: solving.follow(solving.Followed(pending, order.store), job, solving.Progress(tell, job)),
    )
    assert office.last().error.key == "unknown_job"
    assert order.store.pending() == ()
    assert HEIGHT
