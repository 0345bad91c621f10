"""Again, seeds, handles and sub-ranges: what an artist does with a shot that is nearly right."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.servers import digests, run_void, void_here, wait_until
from test_command_line import INTERRUPTIBLE
from void_cli.again import as_it_was_chosen
from void_cli.places import inputs_of, record, recorded
from void_cli.seeds import parse_seeds
from void_client.errors import JobError
from void_client.job import EngineSpec, JobSpec, ShotFile
from void_client.manifest import MANIFEST, ResultManifest
from void_client.provenance import signature_holds

from void_engine.contact_sheet import display
from void_engine.plates import read_frame
from void_engine.plates.create import create_exr
from void_engine.synthetic import render_shot

NINE = range(1001, 1010)


@pytest.fixture(scope="module", autouse=True)
def settings(tmp_path_factory: pytest.TempPathFactory):
    """A user of their own: with a signing key, and a cache."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOID_CONFIG_DIR", str(folder / "config"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine frames with a ball, its quadmask and its matte. Read only."""
    folder = tmp_path_factory.mktemp("nine")
    for number, frame in zip(NINE, render_shot(160, 96, 9, 3), strict=True):
        create_exr(folder / f"plate.{number}.exr", {"RGB": frame.plate})
        create_exr(folder / f"quadmask.{number}.exr", {"R": frame.quadmask.astype(np.float32) / 255})
        cv2.imwrite(str(folder / f"matte.{number}.png"), (frame.quadmask <= 95).astype(np.uint8) * 255)
    return folder


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A locked camera and a mask that stays: what is behind is seen nowhere, so that the seed decides."""
    folder = tmp_path_factory.mktemp("hidden")
    mask = np.ones((64, 96), np.float32)
    mask[20:44, 30:60] = 0
    for number, frame in enumerate(render_shot(96, 64, 3, 3, moving=False), 1001):
        create_exr(folder / f"plate.{number}.exr", {"RGB": frame.plate})
        create_exr(folder / f"quadmask.{number}.exr", {"R": mask})
    return folder


def sequences(shot: Path) -> list[str]:
    return ["--plate", f"{shot}/plate.%04d.exr", "--quadmask", f"{shot}/quadmask.%04d.exr"]


def void(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = run_void(*map(str, arguments))
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def last(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def out(server, nine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nine frames, clean. Read only."""
    folder = tmp_path_factory.mktemp("clean") / "out"
    void("render", *sequences(nine), "--out", folder, "--connection", server.connection)
    return folder


# --- again


def test_another_server_gives_the_very_same_files(out, nine):
    assert recorded(out)["plate"] == f"{nine}/plate.%04d.exr"
    told = last(void("render", "--again", out, "--json"))  # a private server, which has nothing of it yet
    assert (told["identical"], told["solved"], told["frames"]) == (True, True, 9)
    made = Path(str(told["out"]))
    assert made == out.parent / "out_again"
    assert digests(ResultManifest.read(made)) == digests(ResultManifest.read(out))
    shutil.rmtree(made)


def test_a_check_keeps_no_frames_and_says_that_nothing_was_solved_anew(server, out):
    before = sorted(out.parent.iterdir())
    done = void("render", "--again", out, "--check", "--connection", server.connection)
    assert "identical: all 9 frames" in done.stdout
    assert "nothing was solved anew" in done.stdout
    assert sorted(out.parent.iterdir()) == before


def test_what_the_hosts_memory_chose_is_kept_where_the_job_did_not_say(out):
    manifest = ResultManifest.read(out)
    spec = JobSpec.from_wire(manifest.job)
    assert as_it_was_chosen(spec, manifest) == spec  # cleanplate chooses nothing
    chosen = dataclasses.replace(manifest, facts={**manifest.facts, "generate": {"area": 4.0}})
    for options, area in (({}, 4.0), ({"steps": 5}, 4.0), ({"area": 2.0}, 2.0)):
        job = dataclasses.replace(spec, engine=EngineSpec("void", options))
        assert as_it_was_chosen(job, chosen).engine.options == {**options, "area": area}
        assert as_it_was_chosen(job, manifest) == job  # a result that does not tell


def test_frames_that_differ_are_named_with_the_reason(server, out, tmp_path):
    altered = shutil.copytree(out, tmp_path / "altered")
    manifest = json.loads((altered / MANIFEST).read_text())
    manifest["frames"][2]["sha256"] = "0" * 64
    manifest["facts"]["engine_version"] = "0"
    (altered / MANIFEST).write_text(json.dumps(manifest))
    done = void("render", "--again", altered, "--check", "--connection", server.connection, code=4)
    assert "1 of 9 frames" in done.stderr
    assert "1003" in done.stderr
    assert "engine_version was 0, is " in done.stderr


def test_an_input_that_has_changed_or_moved_is_named(server, nine, tmp_path):
    connection = ["--connection", server.connection]
    shot = shutil.copytree(nine, tmp_path / "shot")
    void("render", *sequences(shot), "--out", tmp_path / "out", *connection)
    shutil.copyfile(shot / "plate.1001.exr", shot / "plate.1003.exr")
    (shot / "plate.1007.exr").unlink()
    done = void("render", "--again", tmp_path / "out", *connection, code=2)
    assert f"plate frame 1003 has changed since: {shot / 'plate.1003.exr'}" in done.stderr
    assert "--plate" in done.stderr
    void("render", "--again", tmp_path / "out", "--frames", "1004-1005", *connection, code=2)
    shutil.move(shot, tmp_path / "elsewhere")
    done = void("render", "--again", tmp_path / "out", *connection, code=2)
    assert "plate frame 1001 is not there any more" in done.stderr
    done = void("render", "--again", tmp_path / "out", "--check", *sequences(nine), *connection)
    assert "identical" in done.stdout


def test_a_result_of_unknown_inputs_says_what_to_give(server, out, tmp_path):
    bare = shutil.copytree(out, tmp_path / "bare")
    (bare / "inputs.json").unlink()
    done = void("render", "--again", bare, "--connection", server.connection, code=2)
    assert "does not say where its plate was" in done.stderr
    assert "--plate" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--engine", "void"], "engine"),
        (["--check", "--out", "x"], "--check"),
        (["--frames", "1008-1012"], "no frame 1010-1012"),
        (["--frames", "1001-1009"], "whole result"),
        (["--frames", "1005", "--context", "0"], "context"),
        (["--frames", "1005", "--seeds", "3"], "--seeds"),
        (["--out", "{out}"], "repeated"),
    ],
)
def test_what_does_not_go_with_again_is_told(server, out, arguments, words):
    given = [each.format(out=out) for each in arguments]
    done = void_here("render", "--again", out, *given, "--connection", server.connection)
    assert done.returncode == 2
    assert words in done.stderr


def test_places_are_patterns_where_one_says_it_all(tmp_path):
    names = {("plate", n): Path(f"/a/p.{n}.exr") for n in (998, 999, 1000)}
    names.update({("override 0", 998): Path("/b/roto.png"), ("matte", 7): Path("/c/m.0007.png")})
    names.update({("quadmask", 1): Path("/d/x.png"), ("quadmask", 2): Path("/d/y.png")})
    record(tmp_path, names)
    assert recorded(tmp_path) == {
        "plate": {"998": "/a/p.998.exr", "999": "/a/p.999.exr", "1000": "/a/p.1000.exr"},
        "override 0": "/b/roto.png",
        "matte": "/c/m.%04d.png",
        "quadmask": {"1": "/d/x.png", "2": "/d/y.png"},
    }
    (tmp_path / "inputs.json").write_text("[]")
    assert recorded(tmp_path) == {}


def test_every_input_of_a_job_has_the_key_under_which_it_was_found(nine, tmp_path):
    (tmp_path / "void.yaml").write_text(
        "overrides:\n"
        f"  - {{frames: all, region: keep, mode: add, matte: '{nine}/matte.1001.png'}}\n"
        f"  - {{frames: 1002-1003, region: remove, mode: add, matte: '{nine}/matte.%04d.png'}}\n"
    )
    shot = ShotFile("plate.%04d.exr", "quadmask.%04d.exr", overrides=str(tmp_path / "void.yaml"))
    resolved = shot.resolve(nine)
    assert inputs_of(resolved.spec).keys() == resolved.names.keys()


# --- seeds


def test_seeds_share_all_but_the_solve_and_one_is_kept(server, hidden, tmp_path):
    connection = ["--connection", server.connection]
    wedge = ["render", *sequences(hidden), "--option", "fill_size=64", "--out", tmp_path / "out", *connection, "--json"]
    with server.client() as client:
        before = client.metrics()
        told = last(void(*wedge, "--seeds", "2"))
        after = client.metrics()
    assert (told["seeds"], told["differ"]) == ([42, 43], True)
    for stage, times in (("ingest", 1), ("quadmask", 1), ("generate", 2)):
        assert after[f"stages_done.{stage}"] - before.get(f"stages_done.{stage}", 0) == times, stage
    sheet = cv2.imread(str(tmp_path / "out" / "seeds.png"))
    assert sheet.shape[1] > 3 * 200  # three columns, large enough to see something
    more = void(*wedge, "--seeds", "42,7,43")
    kept = [line["seed"] for line in map(json.loads, more.stdout.splitlines()) if line.get("kept")]
    assert kept == [42, 43]
    assert "seed 5" in (void("choose", tmp_path / "out", 5, code=2).stderr)
    void("choose", tmp_path / "out", 43)
    chosen = ResultManifest.read(tmp_path / "out")
    chosen.verify(tmp_path / "out")
    assert chosen.job["seed"] == 43
    assert signature_holds(chosen)
    told = last(void("choose", tmp_path / "out", 7, "--drop-others", "--json"))
    assert told["dropped"] == [7, 42, 43]
    assert ResultManifest.read(tmp_path / "out").job["seed"] == 7
    assert not list((tmp_path / "out").glob("seed_*"))
    void("choose", tmp_path / "out", 7)  # it is the result already


def test_seeds_that_change_nothing_are_told(server, nine, tmp_path):
    # Locked off and marked on one frame only: the others show everything.
    for number in (1001, 1002, 1003):
        shutil.copyfile(nine / "plate.1001.exr", tmp_path / f"plate.{number}.exr")
        mask = np.ones((96, 160), np.float32)
        mask[20:40, 20:40] = 0 if number == 1002 else 1
        create_exr(tmp_path / f"quadmask.{number}.exr", {"R": mask})
    arguments = ["--seeds", "1,2", "--out", tmp_path / "out", "--connection", server.connection]
    done = void("render", *sequences(tmp_path), *arguments)
    assert "All seeds gave the same picture" in done.stdout


def test_what_is_interrupted_keeps_the_seeds_that_were_done(server, hidden, tmp_path):
    arguments = ["render", *sequences(hidden), "--seeds", "60,61,62,63,64,65", "--out", str(tmp_path / "out")]
    arguments += ["--connection", str(server.connection), "--job-id", "wedge"]
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTIBLE, *arguments], stderr=subprocess.PIPE)
    wait_until(lambda: (tmp_path / "out" / "seed_60" / MANIFEST).is_file(), "the first seed")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5, said
    with server.client() as client:
        mine = [job for job in client.status() if job.job_id.startswith("wedge-")]
        wait_until(lambda: all(client.status(job.job_id)[0].ended for job in mine), "the end of all")
        assert "cancelled" in {client.status(job.job_id)[0].state for job in mine} or len(mine) < 6
    manifest = ResultManifest.read(tmp_path / "out" / "seed_60")
    manifest.verify(tmp_path / "out" / "seed_60")
    assert not (tmp_path / "out" / "seed_65" / MANIFEST).exists()


def test_seeds_are_a_number_or_a_list():
    assert parse_seeds("3", 42) == (42, 43, 44)
    assert parse_seeds("1,5,5,9", 42) == (1, 5, 9)
    assert parse_seeds("7,", 42) == (7,)
    for wrong in ("", "0", "x", "-1,2", "65"):
        with pytest.raises(JobError, match="choice of seeds"):
            parse_seeds(wrong, 42)


# --- handles


def test_handles_are_context_and_not_delivery(server, out, nine, tmp_path):
    done = run_void(
        "render", *sequences(nine), "--handles", "2", "--out", tmp_path / "h", "--connection", server.connection
    )
    assert done.returncode == 0, done.stderr
    manifest, whole = ResultManifest.read(tmp_path / "h"), digests(ResultManifest.read(out))
    assert digests(manifest) == {number: whole[number] for number in range(1003, 1008)}
    assert len(list((tmp_path / "h").glob("plate.*"))) == 5
    assert manifest.job["deliver"] == [1003, 1004, 1005, 1006, 1007]
    shot = tmp_path / "shot.yaml"
    shot.write_text(f"plate: {nine}/plate.%04d.exr\nquadmask: {nine}/quadmask.%04d.exr\nhandles: 2\nout: s\n")
    void("render", shot, "--deliver", "1003-1007", "--connection", server.connection)
    assert ResultManifest.read(tmp_path / "s").content_hash == manifest.content_hash


def test_what_is_delivered_counts_for_the_job_only_where_it_is_not_all(nine):
    def spec(**said: object) -> JobSpec:
        return ShotFile("plate.%04d.exr", "quadmask.%04d.exr", **said).resolve(nine).spec  # type: ignore[arg-type]

    plain, part = spec(), spec(deliver="1003-1007")
    assert "deliver" not in plain.to_wire()
    assert spec(deliver="1001-1009").content_hash() == plain.content_hash()
    assert spec(handles=2) == part
    assert part.content_hash() != plain.content_hash()
    assert JobSpec.from_wire(part.to_wire()) == part
    for wrong, words in (({"deliver": "1009-1010"}, "lacks 1010"), ({"handles": 5}, "leave nothing")):
        with pytest.raises(JobError, match=words):
            spec(**wrong)
    with pytest.raises(ValueError, match="handles"):
        ShotFile("p.#.exr", deliver="1", handles=1)
    for numbers in ([1003, 1002], [1], list(NINE)):
        with pytest.raises(JobError, match="deliver"):
            JobSpec.from_wire({**plain.to_wire(), "deliver": numbers})


# --- a sub-range


def moves(folder: Path) -> list[float]:
    """Mean change of display values inside the matte, from each frame to the next."""
    frames = [read_frame(folder / f"plate.{number}.exr", frame=number) for number in NINE]
    changes = []
    for one, two in zip(frames, frames[1:], strict=False):
        inside = (one.channels[0]["void_quadmask.keep"] < 0.5) & (two.channels[0]["void_quadmask.keep"] < 0.5)
        changes.append(float(np.abs(display(one.rgb()) - display(two.rgb()))[inside].mean()))
    return changes


def test_a_sub_range_is_solved_between_neighbours_that_stay(server, out, nine, tmp_path):
    connection = ["--connection", server.connection]
    new = tmp_path / "new"
    told = last(
        void("render", "--again", out, "--frames", "1004-1006", "--seed", "7", "--context", "2", "--out", new,
             *connection, "--json")
    )  # fmt: skip
    assert (told["solved"], told["context"]) == ([1004, 1005, 1006], [1002, 1003, 1007, 1008])
    manifest, old = ResultManifest.read(new), ResultManifest.read(out)
    manifest.verify(new)
    assert signature_holds(manifest)
    changed = {number for number in NINE if digests(manifest)[number] != digests(old)[number]}
    assert changed == {1004, 1005, 1006}
    assert manifest.facts["parts"] == [
        {"manifest": "part_1.json", "frames": "1001-1003,1007-1009"},
        {"manifest": "part_2.json", "frames": "1004-1006"},
    ]
    part = ResultManifest.from_plain(json.loads((new / "part_2.json").read_text()), "part 2")
    assert signature_holds(part)
    assert {f.number: f.sha256 for f in part.frames} == {n: digests(manifest)[n] for n in changed}
    assert (part.job["seed"], part.job["deliver"]) == (7, [1004, 1005, 1006])
    for number in changed:  # the quadmask is the one of before, and what it keeps is the plate's
        frame, before = (read_frame(f / f"plate.{number}.exr", frame=number) for f in (new, out))
        keep = before.channels[0]["void_quadmask.keep"] > 0.5
        assert np.array_equal(frame.channels[0]["void_quadmask.keep"] > 0.5, keep)
        plate = read_frame(nine / f"plate.{number}.exr", frame=number)
        assert np.array_equal(frame.rgb()[keep], plate.rgb()[keep])
    whole, again = moves(out), moves(new)
    for at in (2, 5):  # from 1003 to 1004, and from 1006 to 1007
        assert again[at] < 1.2 * whole[at]
    # Once more inside it, with a retouched mask: then all three solves are repeated, in their order.
    retouched, third = tmp_path / "retouched.1005.exr", tmp_path / "third"
    mask = np.ones((96, 160), np.float32)
    mask[40:80, 50:110] = 0
    create_exr(retouched, {"R": mask})
    given = ["--frames", "1005", "--seed", "9", "--quadmask", tmp_path / "retouched.%04d.exr"]
    void("render", "--again", new, *given, "--out", third, *connection)
    retouched.unlink()
    assert [part["frames"] for part in ResultManifest.read(third).facts["parts"]] == [
        "1001-1003,1007-1009", "1004,1006", "1005",
    ]  # fmt: skip
    assert "identical: all 9 frames" in void("render", "--again", third, "--check", *connection).stdout
    assert not list(tmp_path.glob(".void-*"))
    assert not list(new.glob(".void-*"))


def test_a_sub_range_of_a_job_of_mattes_has_the_quadmask_that_was_worked_out(server, nine, tmp_path):
    connection = ["--connection", server.connection]
    arguments = ["--plate", f"{nine}/plate.%04d.exr", "--matte", f"{nine}/matte.%04d.png", "--frames", "1001-1003"]
    arguments += ["--reasoner", "manual"]
    void("render", *arguments, "--out", tmp_path / "out", *connection)
    void("render", "--again", tmp_path / "out", "--frames", "1002", "--out", tmp_path / "new", *connection)
    one, two = (read_frame(tmp_path / f / "plate.1002.exr", frame=1002) for f in ("out", "new"))
    for region in ("primary", "overlap", "affected", "keep"):
        name = f"void_quadmask.{region}"
        assert np.array_equal(one.channels[0][name], two.channels[0][name])


def test_finished_frames_that_were_altered_are_not_built_upon(server, out, tmp_path):
    altered = shutil.copytree(out, tmp_path / "altered")
    shutil.copyfile(out / "plate.1001.exr", altered / "plate.1004.exr")
    done = void("render", "--again", altered, "--frames", "1005", "--connection", server.connection, code=3)
    assert "1004" in done.stderr
