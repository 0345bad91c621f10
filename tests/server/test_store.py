"""The frame store and the budgets: whole files only, least recently used first, never what a live job needs."""

from __future__ import annotations

import hashlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from void_client.errors import DigestMismatch, DiskFull, JobError, PathRefused, StoreFull
from void_client.job import FrameRef, JobSpec, PlateSpec, QuadmaskSpec
from void_server.housekeeping import enforce
from void_server.journal import Journal
from void_server.store import FrameStore


class Shelf:
    """A store on a real folder with a real journal."""

    def __init__(self, root: Path, **limits: object) -> None:
        root.mkdir(exist_ok=True)
        self.root = root
        self.journal = Journal(root / "journal.sqlite")
        self.executor = ThreadPoolExecutor(2)
        settings = {"max_bytes": 1000, "max_frame_bytes": 800, "reserve_bytes": 0, **limits}
        self.store = FrameStore(root / "store", self.journal, self.executor, **settings)  # type: ignore[arg-type]

    def put(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self.store.missing({digest: len(data)})
        assert self.store.append(digest, len(data), 0, data) == len(data)
        self.store.finish(digest, len(data)).result()
        self.store.adopt(digest, len(data), ok=True)
        return digest

    def close(self) -> None:
        self.executor.shutdown()
        self.journal.close()


@pytest.fixture
def shelf(tmp_path: Path):
    made = Shelf(tmp_path / "data")
    yield made
    made.close()


def job_with(*digests: str) -> JobSpec:
    frames = tuple(FrameRef(n, digest, 1) for n, digest in enumerate(digests, 1))
    return JobSpec(PlateSpec(frames), QuadmaskSpec(frames))


def test_a_frame_is_stored_under_its_digest(shelf):
    digest = shelf.put(b"pixels")
    assert shelf.store.path(digest).read_bytes() == b"pixels"
    assert shelf.store.missing({digest: 6}) == []
    assert list(shelf.store.incoming.iterdir()) == []


def test_pieces_that_do_not_fit_are_dropped_and_the_sender_told_where_to_go_on(shelf):
    data = b"0123456789"
    digest = hashlib.sha256(data).hexdigest()
    assert shelf.store.append(digest, 10, 4, data[4:8]) == 0
    assert shelf.store.append(digest, 10, 0, data[:4]) == 4
    assert shelf.store.append(digest, 10, 0, data[:4]) == 4
    assert shelf.store.append(digest, 10, 8, data[8:]) == 4
    assert shelf.store.append(digest, 10, 4, data[4:]) == 10
    with pytest.raises(JobError):
        shelf.store.append("f" * 64, 3, 0, data)


def test_an_upload_goes_on_after_a_restart(tmp_path):
    first = Shelf(tmp_path / "data")
    digest = hashlib.sha256(b"0123456789").hexdigest()
    first.store.append(digest, 10, 0, b"01234")
    first.close()
    second = Shelf(tmp_path / "data")
    assert second.store.received(digest) == 5
    second.close()


def test_bytes_that_were_all_there_when_the_server_was_killed_are_asked_for_again(tmp_path):
    first = Shelf(tmp_path / "data")
    digest = hashlib.sha256(b"0123456789").hexdigest()
    first.store.append(digest, 10, 0, b"0123456789")
    first.close()
    second = Shelf(tmp_path / "data")
    assert second.store.missing({digest: 10}) == [digest]
    assert second.store.received(digest) == 0
    second.close()


def test_wrong_bytes_never_get_the_name(shelf):
    digest = "a" * 64
    shelf.store.append(digest, 4, 0, b"oops")
    with pytest.raises(DigestMismatch):
        shelf.store.finish(digest, 4).result()
    shelf.store.adopt(digest, 4, ok=False)
    assert not shelf.store.path(digest).exists()
    assert shelf.store.received(digest) == 0


def test_the_least_recently_used_frame_leaves_first(shelf):
    digests = [shelf.put(bytes([n]) * 300) for n in range(3)]
    shelf.store.missing({digests[0]: 300})  # used again
    newest = shelf.put(b"x" * 300)
    assert [shelf.store.has(d) for d in (*digests, newest)] == [True, False, True, True]
    assert not shelf.store.path(digests[1]).exists()


def test_frames_of_a_live_job_stay_and_the_newcomer_is_refused(shelf):
    digests = [shelf.put(bytes([n]) * 300) for n in range(3)]
    shelf.journal.add_job("live", job_with(*digests), 50, "anna", "cpu")
    with pytest.raises(StoreFull, match="store_max_bytes"):
        shelf.store.missing({"f" * 64: 300})
    assert all(shelf.store.has(d) for d in digests)
    shelf.journal.finish("live", "done", {})
    assert shelf.store.missing({"f" * 64: 300}) == ["f" * 64]
    assert sum(shelf.store.has(d) for d in digests) == 2


def test_a_frame_over_the_limit_is_refused(shelf):
    with pytest.raises(JobError, match="max_frame_bytes"):
        shelf.store.missing({"f" * 64: 801})


def test_table_and_disk_agree_after_a_crash(tmp_path):
    first = Shelf(tmp_path / "data")
    lost, kept = first.put(b"lost"), first.put(b"kept")
    first.store.path(lost).unlink()
    first.journal.drop_frame(kept)
    first.close()
    second = Shelf(tmp_path / "data")
    assert not second.store.has(lost)
    assert second.store.has(kept)
    second.close()


def test_no_room_on_the_disk_is_a_typed_error(tmp_path):
    full = Shelf(tmp_path / "data", reserve_bytes=1 << 60)
    with pytest.raises(DiskFull, match="void gc"):
        full.store.append("a" * 64, 4, 0, b"data")
    full.close()


def test_shared_paths_are_copied_and_checked(tmp_path):
    root = tmp_path / "plates"
    root.mkdir()
    (root / "a.exr").write_bytes(b"pixels")
    shelf = Shelf(tmp_path / "data", share_roots=[str(root)])
    digest = hashlib.sha256(b"pixels").hexdigest()
    shelf.store.import_shared(digest, 6, str(root / "a.exr")).result()
    shelf.store.adopt(digest, 6, ok=True)
    (root / "a.exr").write_bytes(b"changed")
    assert shelf.store.path(digest).read_bytes() == b"pixels"
    with pytest.raises(DigestMismatch):
        shelf.store.import_shared("b" * 64, 6, str(root / "a.exr")).result()
    shelf.close()


@pytest.mark.parametrize("path", ["{root}/../secret", "{root}/link", "/etc/passwd", "{root}/none", "{root}", "\0", ""])
def test_paths_outside_the_roots_are_refused(tmp_path, path):
    root = tmp_path / "plates"
    root.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (root / "link").symlink_to(tmp_path / "secret")
    shelf = Shelf(tmp_path / "data", share_roots=[str(root)])
    with pytest.raises(PathRefused):
        shelf.store.import_shared("a" * 64, 6, path.format(root=root))
    shelf.close()


def test_budgets_drop_the_longest_unused_folders_and_spare_the_protected(tmp_path):
    now = time.time()
    for age, name in enumerate(["new", "middle", "old", "oldest"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(100))
        os.utime(tmp_path / name, (now - age * 1000, now - age * 1000))
    assert enforce(tmp_path, 250, frozenset({"oldest"}), dry_run=True) == 200
    assert enforce(tmp_path, 250, frozenset({"oldest"})) == 200
    assert sorted(p.name for p in tmp_path.iterdir() if p.name[0] != ".") == ["new", "oldest"]


def test_priorities_then_age_decide_the_queue(shelf):
    for name, priority in (("a", 50), ("b", 90), ("c", 90), ("d", 10)):
        shelf.journal.add_job(name, job_with("a" * 64), priority, "anna", "cpu")
    order = []
    while queued := shelf.journal.first_queued(("cuda", "cpu")):
        order.append(queued[0][0])
        shelf.journal.set_running(order[-1], "cpu")
    assert order == ["b", "c", "a", "d"]
