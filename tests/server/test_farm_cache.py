"""The farm's shared cache: stages that one machine did are done for all, and nothing in it is trusted blindly."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.servers import RunningServer, digests, resolve, run_void
from void_client.errors import Cancelled
from void_server.shared_cache import DONE, ENTRY, SharedCache, collect
from void_server.signing import make_key

from void_engine.stages import StageCache

KEY = "ab" + "0" * 62
STAGES = ("ingest", "quadmask", "generate", "restore")


def nothing() -> None:
    pass


class Cache(SharedCache):
    """With a list of what it counted."""

    def __init__(self, folder: Path, tmp: Path, keys: dict[str, str] | None = None) -> None:
        self.said: Counter[str] = Counter()
        super().__init__(folder, tmp / "signing.pem", keys or {}, lambda name: self.said.update([name]))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    make_key(tmp_path / "signing.pem")
    (tmp_path / "shared").mkdir()
    return Cache(tmp_path / "shared", tmp_path)


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    """A finished stage's folder."""
    folder = tmp_path / "stage"
    (folder / "clean").mkdir(parents=True)
    (folder / "clean" / "0001.npz").write_bytes(b"pixels" * 1000)
    (folder / "scratch").mkdir()
    (folder / "scratch" / "half").write_bytes(b"half")
    (folder / ".tmp").write_bytes(b"half")
    (folder / DONE).write_text('{"fact": 1}')
    return folder


def entry_of(cache: Cache) -> Path:
    return next(cache.folder.rglob(ENTRY)).parent


def fetched(cache: Cache, folder: Path) -> bool:
    folder.mkdir(exist_ok=True)
    return cache.fetch("generate", KEY, folder, nothing)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_stage_comes_back_whole_and_without_its_scratch(cache, stage, tmp_path):
    cache.publish("generate", KEY, stage, nothing)
    assert fetched(cache, tmp_path / "got")
    assert names(tmp_path / "got") == {DONE, "clean/0001.npz"}
    assert (tmp_path / "got" / "clean" / "0001.npz").read_bytes() == b"pixels" * 1000
    assert cache.said == {"shared_published": 1}
    # Copied, not linked: nobody changes afterwards what was checked.
    assert (tmp_path / "got" / DONE).stat().st_ino != (entry_of(cache) / "files" / DONE).stat().st_ino


def test_what_nobody_did_is_not_there(cache, tmp_path):
    assert not fetched(cache, tmp_path / "got")
    assert not cache.said


def _cut(entry: Path) -> None:
    path = entry / "files" / "clean" / "0001.npz"
    path.write_bytes(path.read_bytes()[:-1])


def _grow(entry: Path) -> None:
    with (entry / "files" / "clean" / "0001.npz").open("ab") as stream:
        stream.write(b"x")


def _swap_bytes(entry: Path) -> None:
    (entry / "files" / "clean" / "0001.npz").write_bytes(b"Pixels" * 1000)


def _cut_list(entry: Path) -> None:
    (entry / ENTRY).write_bytes((entry / ENTRY).read_bytes()[:-20])


def _other_key(entry: Path) -> None:
    text = (entry / ENTRY).read_text().replace(KEY, "cd" + KEY[2:])
    (entry / ENTRY).write_text(text)


def _rewritten(entry: Path, **files: object) -> None:
    value = json.loads((entry / ENTRY).read_text())
    (entry / ENTRY).write_text(json.dumps({**value, **files}))


def _climb(entry: Path) -> None:
    (entry / "outside").write_bytes(b"x")
    _rewritten(entry, files=[["../outside", "0" * 64, 1], [DONE, "0" * 64, 1]])


def _absolute(entry: Path) -> None:
    _rewritten(entry, files=[["/etc/passwd", "0" * 64, 1], [DONE, "0" * 64, 1]])


def _no_done(entry: Path) -> None:
    value = json.loads((entry / ENTRY).read_text())
    _rewritten(entry, files=[item for item in value["files"] if item[0] != DONE])


def _link(entry: Path) -> None:
    path = entry / "files" / "clean" / "0001.npz"
    path.rename(entry / "elsewhere")
    path.symlink_to(entry / "elsewhere")


def _linked_folder(entry: Path) -> None:
    (entry / "files" / "clean").rename(entry / "elsewhere")
    (entry / "files" / "clean").symlink_to(entry / "elsewhere")


def _pipe(entry: Path) -> None:
    path = entry / "files" / "clean" / "0001.npz"
    path.unlink()
    os.mkfifo(path)


def _not_a_map(entry: Path) -> None:
    (entry / ENTRY).write_text("[" * 100_000)


def _strange_types(entry: Path) -> None:
    _rewritten(entry, files=[[1, 2, 3], {"a": 1}])


DAMAGE = [
    _cut, _grow, _swap_bytes, _cut_list, _other_key, _climb, _absolute, _no_done, _link, _linked_folder, _pipe,
    _not_a_map, _strange_types,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__.strip("_"))
def test_a_damaged_entry_is_not_used_and_replaced_by_who_did_the_work(cache, stage, tmp_path, damage):
    cache.publish("generate", KEY, stage, nothing)
    damage(entry_of(cache))
    assert not fetched(cache, tmp_path / "got")
    assert not names(tmp_path / "got")  # nothing half, nothing outside
    assert cache.said["shared_bad"] == 1
    cache.publish("generate", KEY, stage, nothing)
    assert fetched(cache, tmp_path / "again")
    assert (tmp_path / "again" / "clean" / "0001.npz").read_bytes() == b"pixels" * 1000


def test_a_missing_file_is_a_miss(cache, stage, tmp_path):
    cache.publish("generate", KEY, stage, nothing)
    (entry_of(cache) / "files" / "clean" / "0001.npz").unlink()
    assert not fetched(cache, tmp_path / "got")
    assert not names(tmp_path / "got")


def test_with_keys_named_only_their_stages_are_used(cache, stage, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    public, trusted = make_key(tmp_path / "signing.pem"), make_key(other / "signing.pem")
    cache.publish("generate", KEY, stage, nothing)
    strict = Cache(cache.folder, other, {trusted: "the farm"})
    assert not fetched(strict, tmp_path / "got")
    assert strict.said["shared_bad"] == 1
    assert fetched(Cache(cache.folder, other, {public: "a friend"}), tmp_path / "friend")
    strict.publish("generate", KEY, stage, nothing)  # ours, in place of the stranger's
    assert fetched(strict, tmp_path / "ours")
    _rewritten(entry_of(cache), signature="A" * 86)
    assert not fetched(Cache(cache.folder, other, {trusted: ""}), tmp_path / "forged")


def test_many_writers_at_once_leave_one_whole_entry_and_no_rest(cache, stage, tmp_path):
    caches = [Cache(cache.folder, tmp_path) for _ in range(8)]
    start = threading.Barrier(len(caches))

    def publish(each: Cache) -> None:
        start.wait()
        each.publish("generate", KEY, stage, nothing)

    threads = [threading.Thread(target=publish, args=(each,)) for each in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.said["shared_published"] for each in caches) == 1
    assert fetched(cache, tmp_path / "got")
    assert list((cache.folder / "incoming").iterdir()) == []


def test_a_reader_never_sees_half_of_what_is_being_replaced_or_deleted(cache, stage, tmp_path):
    """Writers that replace, a cleaner that deletes all, and readers: whole, or not there."""
    stop = threading.Event()

    def churn() -> None:
        own = Cache(cache.folder, tmp_path)
        while not stop.is_set():
            own._bad.add(KEY)
            own.publish("generate", KEY, stage, nothing)
            collect(cache.folder, 0)

    threads = [threading.Thread(target=churn) for _ in range(2)]
    for thread in threads:
        thread.start()
    hits = 0
    reader = Cache(cache.folder, tmp_path)
    for turn in range(300):
        got = tmp_path / f"got{turn % 3}"
        shutil.rmtree(got, ignore_errors=True)
        if fetched(reader, got):
            hits += 1
            assert names(got) == {DONE, "clean/0001.npz"}
            assert (got / "clean" / "0001.npz").read_bytes() == b"pixels" * 1000
        else:
            assert not names(got)
    stop.set()
    for thread in threads:
        thread.join()
    assert reader.said["shared_bad"] == 0
    assert hits


def test_the_budget_drops_the_longest_unused_and_what_killed_writers_left(cache, stage, tmp_path):
    keys = [f"{number:02x}" + "1" * 62 for number in range(4)]
    for age, key in enumerate(keys):
        cache.publish("generate", key, stage, nothing)
        os.utime(cache._place("generate", key) / ENTRY, (1000 + age, 1000 + age))
    cache.fetch("generate", keys[0], _made(tmp_path / "got"), nothing)  # used now
    left = cache.folder / "incoming" / "host-1-x"
    left.mkdir(parents=True)
    os.utime(left, (1000, 1000))
    size = 6000 + len('{"fact": 1}')
    assert collect(cache.folder, 2 * size, dry_run=True) == 2 * size
    assert left.exists()
    assert collect(cache.folder, 2 * size) == 2 * size
    there = [key for key in keys if (cache._place("generate", key) / ENTRY).exists()]
    assert there == [keys[0], keys[3]]
    assert not left.exists()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_shared_storage_that_is_away_or_read_only_fails_nothing(stage, tmp_path):
    make_key(tmp_path / "signing.pem")
    (tmp_path / "file").write_text("no folder")
    away = Cache(tmp_path / "file" / "shared", tmp_path)
    away.publish("generate", KEY, stage, nothing)
    assert not fetched(away, tmp_path / "got")
    unmounted = Cache(tmp_path / "mount" / "shared", tmp_path)
    unmounted.publish("generate", KEY, stage, nothing)
    assert not (tmp_path / "mount").exists()


@pytest.mark.parametrize("room", ["trash", "incoming", "stages-1", "stages-1/ab"])
def test_a_link_in_place_of_a_room_is_neither_followed_nor_cleaned_up(cache, stage, tmp_path, room):
    """Whoever may write there must not make a server delete or write somewhere else."""
    mine = tmp_path / "mine"
    for name in ("keep", f"generate-{KEY}"):
        (mine / name).mkdir(parents=True)
        (mine / name / ENTRY).write_text("{}")
        os.utime(mine / name, (1000, 1000))
    (cache.folder / room).parent.mkdir(parents=True, exist_ok=True)
    (cache.folder / room).symlink_to(mine)
    before = names(mine)
    cache._bad.add(KEY)
    cache.publish("generate", KEY, stage, nothing)
    collect(cache.folder, 0)
    assert names(mine) == before
    assert not cache.said["shared_published"]


def test_a_cancel_ends_the_copying(cache, stage, tmp_path):
    def cancelled() -> None:
        raise Cancelled("Enough.")

    with pytest.raises(Cancelled):
        cache.publish("generate", KEY, stage, cancelled)
    assert not list((cache.folder / "incoming").iterdir())
    cache.publish("generate", KEY, stage, nothing)
    with pytest.raises(Cancelled):
        cache.fetch("generate", KEY, _made(tmp_path / "got"), cancelled)
    assert not names(tmp_path / "got")


# --- two workers of one server


class Watcher:
    def __init__(self) -> None:
        self.states: list[str] = []

    def stage(self, name: str, state: str, key: str) -> None:
        self.states.append(state)

    def progress(self, stage: str, step: int, of: int, note: str) -> None:
        pass

    def check(self) -> None:
        pass


def test_two_workers_at_one_stage_do_it_once(tmp_path):
    begun, go_on = threading.Event(), threading.Event()
    runs: list[str] = []

    def work(context: object) -> dict[str, object]:
        runs.append("run")
        begun.set()
        assert go_on.wait(30)
        return {"made": 1}

    first, second = Watcher(), Watcher()
    threads = [
        threading.Thread(target=lambda: StageCache(tmp_path, first).run("generate", [1], work)),
        threading.Thread(target=lambda: StageCache(tmp_path, second).run("generate", [1], work)),
    ]
    threads[0].start()
    assert begun.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert runs == ["run"]
    assert (first.states, second.states) == (["running", "done"], ["cached"])


# --- whole servers


@contextmanager
def two_servers(folder: Path, **settings: object) -> Iterator[tuple[RunningServer, RunningServer]]:
    (folder / "shared").mkdir()
    shared = {"shared_cache": str(folder / "shared"), **settings}
    with RunningServer(folder / "a", **shared) as one, RunningServer(folder / "b", **shared) as two:
        yield one, two


def test_what_one_server_did_another_runs_no_stage_of(shot, tmp_path):
    with two_servers(tmp_path) as (one, two):
        with one.client() as client:
            first = client.run("a", resolve(shot), tmp_path / "out_a")
            assert client.metrics()["shared_published"] == len(STAGES)
        with two.client() as client:
            second = client.run("b", resolve(shot), tmp_path / "out_b")
            counted = client.metrics()
        assert digests(first) == digests(second)
        assert {name: counted.get(f"stages_shared.{name}", 0) for name in STAGES} == dict.fromkeys(STAGES, 1)
        assert not [name for name in counted if name.startswith(("stages_running.", "stages_done.")) and
                    name.split(".")[1] in STAGES]  # fmt: skip
        with two.client() as client:  # another seed shares what does not depend on it, here by now
            client.run("c", resolve(shot, seed=5), tmp_path / "out_c")
            assert client.metrics()["stages_cached.ingest"] == 1


def test_a_spoilt_stage_is_done_again_with_the_same_pixels(shot, tmp_path):
    with two_servers(tmp_path) as (one, two):
        with one.client() as client:
            first = client.run("a", resolve(shot), tmp_path / "out_a")
        spoilt = next((tmp_path / "shared").rglob("generate-*/files/clean/*"))
        spoilt.write_bytes(b"not these pixels")
        with two.client() as client:
            second = client.run("b", resolve(shot), tmp_path / "out_b")
            counted = client.metrics()
    assert digests(first) == digests(second)
    assert counted["shared_bad"] == 1
    assert counted["stages_done.generate"] == 1
    assert counted["shared_published"] == 1


@pytest.mark.slow
def test_private_servers_on_two_machines_share_too(shot, tmp_path):
    (tmp_path / "shared").mkdir()
    states = {}
    for machine in ("a", "b"):
        done = run_void(
            "render", "--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr", "--json",
            "--out", tmp_path / f"out_{machine}", "--local", XDG_CACHE_HOME=str(tmp_path / machine),
            VOID_CONFIG_DIR=str(tmp_path / machine), VOID_SERVER_SHARED_CACHE=str(tmp_path / "shared"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        records = [json.loads(line) for line in done.stdout.splitlines()]
        states[machine] = {r["stage"]: r["state"] for r in records if r.get("event") == "stage"}
    assert {states["a"][stage] for stage in STAGES} == {"done"}
    assert {states["b"][stage] for stage in STAGES} == {"shared"}


def test_a_list_of_keys_that_cannot_be_read_stops_the_server(tmp_path):
    done = run_void(
        "serve", "--data", tmp_path / "data", VOID_SERVER_SHARED_CACHE=str(tmp_path / "shared"),
        VOID_SERVER_SHARED_CACHE_KEYS=str(tmp_path / "missing"),
    )  # fmt: skip
    assert done.returncode == 2
    assert "missing" in done.stderr
