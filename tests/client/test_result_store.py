"""Where results lie: versions, numbers, and jobs under way; several writers at once."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from void_client import result_store
from void_client.errors import InputError, ResultEvicted
from void_client.job import EngineSpec, FrameRef, JobSpec, PlateSpec, QuadmaskSpec
from void_client.manifest import ResultFrame, ResultManifest
from void_client.result_store import NodeStore, Pending, hash12, job_hash, of_pattern, plain_name, publish

REFS = (FrameRef(1001, "a" * 64, 3), FrameRef(1002, "b" * 64, 3))


def spec(seed: int = 1, stop: str = "", shot: str = "sh") -> JobSpec:
    return JobSpec(PlateSpec(REFS), QuadmaskSpec(REFS), EngineSpec(), seed=seed, stop=stop, shot=shot)


def result(seed: int = 1, *, stop: str = "", shot: str = "sh", job_id: str = "j", **facts: str) -> ResultManifest:
    data = {number: f"frame {number} of {seed}".encode() for number in (1001, 1002)}
    frames = tuple(
        ResultFrame(number, f"plate.{number}.exr", hashlib.sha256(text).hexdigest(), len(text))
        for number, text in data.items()
    )
    job = spec(seed, stop, shot)
    facts = {"engine": "cleanplate", "engine_version": "4", **facts}
    return ResultManifest(job_id, job.content_hash(), frames, job.to_wire(), facts)


def bring(seed: int = 1, **changes: str):
    made = result(seed, **changes)

    def fetch(folder: Path) -> ResultManifest:
        assert not list(folder.iterdir())
        for frame in made.frames:
            (folder / frame.name).write_bytes(f"frame {frame.number} of {seed}".encode())
        made.write(folder)
        return made

    return made, fetch


@pytest.fixture
def store(tmp_path: Path) -> NodeStore:
    return NodeStore.of(tmp_path, "sh010", "4f1c")


def test_a_result_becomes_the_next_version(store, tmp_path):
    assert store.versions() == ()
    assert store.next_number() == 1
    version = store.place(*bring(1))
    assert version.folder == tmp_path / "void" / "sh010" / "4f1c" / f"v001_{version.hash12}"
    assert (version.name, version.first, version.last) == ("v001", 1001, 1002)
    assert version.pattern == f"{version.folder.as_posix()}/plate.%04d.exr"
    version.manifest.verify(version.folder)
    assert store.place(*bring(2)).name == "v002"
    assert [v.name for v in store.versions()] == ["v001", "v002"]
    assert store.names() == ("v001", "v002")
    assert store.latest().name == "v002"
    assert store.version(1) == version
    assert store.version(7) is None
    assert of_pattern(version.pattern) == version
    assert of_pattern("") is None
    assert of_pattern(str(tmp_path / "x.%04d.exr")) is None


def test_a_studio_may_keep_results_elsewhere(tmp_path):
    store = NodeStore.of(tmp_path / "project", "ab/sh 010", "4f1c", tmp_path / "results")
    assert store.root == tmp_path / "results" / "ab_sh_010" / "4f1c"


def test_equal_content_is_the_same_version_and_is_not_fetched_again(store):
    first = store.place(*bring(1))

    def never(folder: Path) -> ResultManifest:
        raise AssertionError("fetched again")

    assert store.place(result(1, job_id="another", shot="label"), never) == first
    store.place(*bring(2))
    assert store.place(result(1), never) == first
    assert len(store.versions()) == 2


def test_the_hash_covers_what_decides_pixels_and_nothing_else():
    plain = hash12(result(1))
    assert len(plain) == 12
    assert plain == hash12(
        result(1, job_id="other", shot="other", stop="review", device="cuda:0", **{"void/version": "9"})
    )
    others = [result(2), result(1, engine_version="5"), result(1, engine="void"), result(1, **{"void/model.base": "x"})]
    assert len({plain, *map(hash12, others)}) == 5
    assert job_hash(spec(stop="review")) == job_hash(spec()) == spec().content_hash()


def test_a_job_that_was_solved_before_is_found(store):
    first = store.place(*bring(1, stop="review"))
    store.place(*bring(2))
    assert store.with_job(job_hash(spec(1))) == first
    assert store.with_job(job_hash(spec(3))) is None
    (first.folder / "plate.1001.exr").unlink()
    assert store.with_job(job_hash(spec(1))) is None


def test_an_interrupted_download_leaves_no_version(store):
    def fails(folder: Path) -> ResultManifest:
        (folder / "plate.1001.exr").write_bytes(b"half")
        raise ResultEvicted("gone")

    with pytest.raises(ResultEvicted):
        store.place(result(1), fails)
    assert store.versions() == ()
    assert [p.name for p in store.root.iterdir()] == [".numbers"]
    assert store.place(*bring(1)).name == "v001"


def test_a_version_keeps_its_number_after_it_was_deleted_by_hand(store):
    first = store.place(*bring(1))
    store.place(*bring(2))
    for path in first.folder.iterdir():
        path.unlink()
    first.folder.rmdir()
    assert store.place(*bring(3)).name == "v003"
    assert store.place(*bring(1)).folder == first.folder


def test_a_damaged_version_is_fetched_again_and_what_is_left_of_it_is_kept(store):
    first = store.place(*bring(1))
    (first.folder / "plate.1001.exr").unlink()
    (first.folder / "notes.txt").write_text("mine")
    again = store.place(*bring(1))
    assert again == first
    assert again.is_whole()
    (kept,) = store.root.glob(".damaged-*")
    assert (kept / "notes.txt").read_text() == "mine"


def test_folders_from_before_numbers_were_kept_count(store):
    first = store.place(*bring(1))
    (store.root / ".numbers" / "v001").unlink()
    assert store.place(*bring(2)).name == "v002"
    assert store.place(*bring(1)) == first


def test_a_number_that_a_crash_left_without_an_owner_is_skipped(store):
    store.place(*bring(1))
    claim = store.root / ".numbers" / "v002"
    claim.touch()
    os.utime(claim, (1, 1))
    assert store.place(*bring(2)).name == "v003"


def test_what_is_no_version_is_not_listed(store):
    store.place(*bring(1))
    for name in ("v002_0123456789ab", "v003", "exports", "v04_zzz"):
        (store.root / name).mkdir()
    (store.root / "v002_0123456789ab" / "manifest.json").write_text("{")
    assert [v.name for v in store.versions()] == ["v001"]
    assert store.names() == ("v001", "v002"), "names are read off the folders"
    assert store.next_number() == 3


def test_writers_in_threads_never_share_a_number(store):
    seeds = [1, 2, 3, 4] * 6
    with ThreadPoolExecutor(12) as pool:
        placed = list(pool.map(lambda seed: store.place(*bring(seed)), seeds))
    assert len({v.folder for v in placed}) == 4
    assert sorted(v.number for v in store.versions()) == [1, 2, 3, 4]
    assert {v.hash12 for v in store.versions()} == {hash12(result(seed)) for seed in (1, 2, 3, 4)}
    assert not list(store.root.glob(".incoming-*"))


def test_writers_in_processes_never_share_a_number(store):
    here = Path(__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(here)!r})\n"
        "from pathlib import Path\nfrom test_result_store import NodeStore, bring\n"
        f"store = NodeStore(Path({str(store.root)!r}))\n"
        "for seed in map(int, sys.argv[1:]): store.place(*bring(seed))\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, *order]) for order in ("123456", "654321", "142536")]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    assert sorted(v.number for v in store.versions()) == [1, 2, 3, 4, 5, 6]


def test_a_quadmask_for_review_takes_no_number(store):
    masks = store.place_masks(*bring(1, quadmask="k"))
    assert masks.folder == store.root / "masks" / masks.hash12
    assert store.versions() == ()
    assert store.next_number() == 1


def test_pending_jobs_are_kept_until_they_are_forgotten(store):
    assert store.pending() == ()
    late = Pending(
        "job-2", "tcp://h:1", "c" * 64, node="VOID1", script="/s/a.nk", shot="sh", submitted=2.0, solved="{}"
    )
    early = replace(late, job_id="job-1", submitted=1.0)
    store.remember(late)
    store.remember(early)
    store.remember(early)
    (store.root / "pending" / "broken.json").write_text("{")
    assert store.pending() == (early, late)
    store.forget("job-1")
    store.forget("job-1")
    assert store.pending() == (late,)
    store.call_off("job-2")
    store.call_off("nobody")
    assert store.pending() == (replace(late, cancelled=True),)


def test_the_umask_is_asked_for_once(store, monkeypatch):
    """Asking sets it for a moment, and other threads make files meanwhile."""
    asked: list[int] = []
    monkeypatch.setattr(result_store, "_own_umask", None)
    monkeypatch.setattr(os, "umask", lambda mask: asked.append(mask) or 0o027)
    store.place(*bring(1))
    store.place(*bring(2))
    assert len(asked) == 2, "asked, and put back"


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "void").write_text("a file")
    store = NodeStore.of(tmp_path, "sh", "4f1c")
    with pytest.raises(InputError, match="cannot be written"):
        store.place(*bring(1))
    with pytest.raises(InputError, match="cannot be written"):
        store.remember(Pending("j", "tcp://h:1"))


def test_names_fit_every_system():
    assert plain_name("sh/010: ä b") == "sh_010_b"
    assert plain_name("..") == "shot"


def test_a_version_is_published_whole_under_its_name(store, tmp_path):
    version = store.place(*bring(1))
    target = publish(version, tmp_path / "publish", "VOID1_v001")
    assert target == tmp_path / "publish" / "VOID1_v001"
    version.manifest.verify(target)
    assert publish(version, tmp_path / "publish", "VOID1_v001") == target
    (version.folder / "plate.1001.exr").unlink()
    version.manifest.verify(target)
    with pytest.raises(InputError, match="cannot be written"):
        publish(version, tmp_path / "publish", "again")
    assert [p.name for p in (tmp_path / "publish").iterdir()] == ["VOID1_v001"]
