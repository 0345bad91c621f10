"""The queue: the artist's jobs of all scripts and Nukes, as rows and as a panel."""

from __future__ import annotations

import os
from typing import Any

import pytest
from small_shots import wait_until
from void_client.client import Client
from void_nuke import artist_jobs, office, queue_model, states
from void_nuke.artist_jobs import ArtistJob


def rows() -> tuple[queue_model.Row, ...]:
    return queue_model.look(os.environ)


def test_jobs_of_two_scripts_are_listed_with_what_can_be_done(artist, server, plate, no_swallowed):
    nuke = artist.nuke
    node = artist.void(artist.read(plate))
    node["review"].setValue(False)
    artist.click(node)
    artist.solve(node)
    result = node["result_file"].value()
    nuke.scriptClear()
    artist.script("sh020_comp_v001.nk")
    other = artist.void(artist.read(plate))
    other["seed"].setValue(61)
    artist.click(other)
    artist.solve(other, "masks ready")
    second, first = rows()
    assert first.cells()[:3] == ("VOID1", "sh010_comp", "sh010_comp_v001.nk")
    assert (first.state.text(), first.result, first.can_cancel) == ("ready v001", result, False)
    assert second.cells()[2:] == (
        "sh020_comp_v001.nk",
        "masks ready. Look at the quadmask in its node.",
        server.endpoint,
    )
    assert second.can_cancel
    assert queue_model.summary((second, first)) == "0 under way, 1 waiting for your review, 1 ready"
    queue_model.cancel(second)
    assert rows()[0].state.name == states.CANCELLED


def test_a_result_that_came_while_nuke_was_closed(artist, server, plate, no_swallowed):
    node = artist.void(artist.read(plate))
    node["seed"].setValue(62)
    artist.click(node)
    artist.solve(node, "masks ready")
    job = node["job_id"].value()
    office.close()
    with Client(server.settings) as client:
        client.approve(job)
        wait_until(lambda: client.status(job)[0].state == "done", "the job")
    assert rows()[0].state.text() == "ready. Open its script: the result is fetched then."


def test_a_server_that_is_away_is_a_state(tmp_path, monkeypatch, server):
    from small_shots import point_at

    point_at(monkeypatch, server, tmp_path)
    folder = artist_jobs.folder_of(os.environ)
    monkeypatch.setattr(queue_model, "_ASK_S", 0.3)
    monkeypatch.setenv("VOID_NUKE_ENDPOINT", "tcp://127.0.0.1:9")
    artist_jobs.note(ArtistJob("a", "tcp://127.0.0.1:9", "VOID1", "/s/a.nk", "sh", submitted=1.0), folder)
    (row,) = rows()
    assert row.state.name == states.OFFLINE
    assert "cannot be reached" in row.state.text()


def test_the_list_is_swept_and_never_fails(tmp_path):
    folder = tmp_path / "jobs"
    for number in range(3):
        artist_jobs.note(ArtistJob(f"job-{number}", "tcp://h:1", submitted=float(number)), folder)
    (folder / "broken.json").write_text("{")
    old = folder / "job-0.json"
    os.utime(old, (1, 1))
    artist_jobs.note(ArtistJob("job-3", "tcp://h:1", submitted=3.0), folder)
    assert [job.job_id for job in artist_jobs.noted(folder)] == ["job-3", "job-2", "job-1"]
    artist_jobs.forget("job-3", folder)
    artist_jobs.forget("job-3", folder)
    assert len(artist_jobs.noted(folder)) == 2
    (tmp_path / "file").write_text("")
    artist_jobs.note(ArtistJob("x", "tcp://h:1"), tmp_path / "file")
    assert artist_jobs.noted(tmp_path / "file") == ()


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    widgets = pytest.importorskip("PySide6.QtWidgets", reason="Qt comes with Nuke")
    return widgets.QApplication.instance() or widgets.QApplication([])


def until(application: Any, condition: Any, what: str) -> None:
    def reached() -> bool:
        application.processEvents()
        return bool(condition())

    wait_until(reached, what)


def test_the_panel_shows_cancels_and_opens(artist, plate, application, monkeypatch, no_swallowed):
    from void_nuke import queue_panel

    node = artist.void(artist.read(plate))
    node["seed"].setValue(63)
    artist.click(node)
    artist.solve(node, "masks ready")
    panel = queue_panel.QueuePanel()
    panel.show()
    until(application, lambda: panel.rows, "the rows")
    assert panel.table.item(0, 3).text().startswith("masks ready")
    assert not panel.cancel_button.isEnabled()
    panel.table.selectRow(0)
    assert panel.cancel_button.isEnabled()
    assert not panel.open_button.isEnabled()
    panel.cancel_button.click()
    until(application, lambda: panel.rows[0].state.name == states.CANCELLED, "the end of the job")
    assert [panel.table.horizontalHeaderItem(i).text() for i in range(5)] == list(queue_model.COLUMNS)
    assert panel.timer.isActive()
    panel.hide()
    assert not panel.timer.isActive()
    panel.deleteLater()
    application.processEvents()
    opened: list[str] = []
    monkeypatch.setattr(queue_panel.QtGui.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    done = ArtistJob("z", "tcp://h:1", "VOID9", result="/r/v001_0123456789ab/plate.%04d.exr")
    other = queue_panel.QueuePanel()
    other._show((queue_model.Row(done, states.State(states.READY, version="v001")),))
    other.table.selectRow(0)
    other.open_button.click()
    assert opened == ["/r/v001_0123456789ab"]
    other.deleteLater()
    application.processEvents()


def test_the_menu_docks_it(nuke, application):
    from standin.state import S
    from void_nuke import queue_panel, startup

    queue_panel.show()
    assert S.panels[startup.QUEUE_ID]["shown"]
    made = S.panels[startup.QUEUE_ID]["knob"].makeUI()
    assert isinstance(made, queue_panel.QueuePanel)
    made.deleteLater()
    application.processEvents()
