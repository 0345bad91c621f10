"""A shot without a quadmask: from what the artist said of the object to the clean frames."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from helpers.servers import RunningServer, digests, run_void, wait_until
from void_client.errors import EngineUnavailable, JobError
from void_client.job import ClickSpec, MaskFile, ShotFile
from void_client.manifest import MANIFEST, ResultManifest

from void_engine.synthetic import render_shot

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")


@pytest.fixture(scope="module")
def matted(shot: Path) -> Path:
    """The shared shot with the object's own matte beside it."""
    folder = shot.parent / f"{shot.name}-mattes"
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(render_shot(160, 96, 5, 3), 1001):
        cv2.imwrite(str(folder / f"matte.{number}.png"), (frame.quadmask <= 95).astype(np.uint8) * 255)
    return folder


def job(shot: Path, matted: Path, **masks: object):
    said = MaskFile(matte=str(matted / "matte.%04d.png"), **masks)
    return ShotFile("plate.%04d.exr", masks=said).resolve(shot)


def ready(client) -> None:
    wait_until(lambda: client.health()["workers"][0]["state"] == "ready", "a worker that has said what it can")


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


def test_the_quadmask_comes_to_be_looked_at_and_the_render_goes_on_from_it(shot, matted, tmp_path):
    arguments = ["--plate", shot / "plate.%04d.exr", "--matte", matted / "matte.%04d.png", "--data", tmp_path / "data"]
    done = run_void("quadmask", *arguments, "--out", tmp_path / "masks", VOID_CONFIG_DIR=str(tmp_path / "config"))
    assert done.returncode == 0, done.stderr
    manifest = ResultManifest.read(tmp_path / "masks")
    manifest.verify(tmp_path / "masks")
    names = {file.name for file in manifest.files}
    assert {"analysis.json", "regions.json", "quadmask.png", "overlay.mp4"} <= names
    assert json.loads((tmp_path / "masks" / "analysis.json").read_text())["reasoner"] == "motion"
    image = oiio.ImageInput.open(str(tmp_path / "masks" / "quadmask.1001.exr"))
    channels, pixels = image.spec().channelnames, image.read_image(format="float")
    image.close()
    assert {"R", "void_quadmask.primary", "void_quadmask.affected", "void_quadmask.keep"} <= set(channels)
    matte = cv2.imread(str(matted / "matte.1001.png"), cv2.IMREAD_GRAYSCALE) > 127
    removed = np.rint(pixels[..., channels.index("R")] * 255) <= 95
    assert np.array_equal(removed, matte)
    done = run_void("render", *arguments, "--out", tmp_path / "out", "--json", VOID_CONFIG_DIR=str(tmp_path / "config"))
    assert done.returncode == 0, done.stderr
    states = {}
    for line in done.stdout.splitlines():
        event = json.loads(line)
        if "stage" in event and "state" in event:
            states[event["stage"]] = event["state"]
    assert all(states[stage] == "cached" for stage in ("ingest", "segment", "reason", "quadmask")), states
    assert ResultManifest.read(tmp_path / "out").facts["warnings"]


def test_another_option_of_the_quadmask_keeps_the_reasoning(server, shot, matted, tmp_path):
    with server.client() as client:
        first = digests(client.run("plain", job(shot, matted), tmp_path / "plain"))
        before = client.metrics()
        grown = digests(client.run("grown", job(shot, matted, options={"grow": 3}), tmp_path / "grown"))
        after = client.metrics()
    assert first != grown
    assert after["stages_cached.reason"] > before.get("stages_cached.reason", 0)
    assert after["stages_done.segment"] == before["stages_done.segment"]


def test_a_reasoner_without_a_key_is_refused_at_submit(server, shot, matted):
    with server.client() as client:
        ready(client)
        with pytest.raises(EngineUnavailable, match="GEMINI_API_KEY"):
            client.deliver("no-key", job(shot, matted, reasoner="gemini"))


def test_with_a_fallback_it_goes_on_and_says_so(server, shot, matted, tmp_path):
    with server.client() as client:
        manifest = client.run("fallback", job(shot, matted, reasoner="gemini", fallback="motion"), tmp_path / "out")
    assert manifest.facts["reasoner"] == "motion"
    assert any("gemini could not be used" in warning for warning in manifest.facts["warnings"])


def test_a_server_can_forbid_that_pictures_leave_the_building(shot, matted, tmp_path, monkeypatch):
    monkeypatch.setenv("GEMINI_API_KEY", "AIza" + "x" * 35)
    with RunningServer(tmp_path / "data", allow_cloud="false") as running, running.client() as client:
        ready(client)
        with pytest.raises(EngineUnavailable, match="forbids"):
            client.deliver("cloud", job(shot, matted, reasoner="gemini"))


def test_an_analysis_that_was_edited_is_the_answer(server, shot, matted, tmp_path):
    (tmp_path / "analysis.json").write_text(
        json.dumps({"reasoner": "me", "scene": "An empty floor.", "confidence": 1.0, "version": 1})
    )
    resolved = job(shot, matted, analysis=str(tmp_path / "analysis.json"))
    with server.client() as client:
        manifest = client.run("edited", resolved, tmp_path / "out")
    assert manifest.facts["scene"] == "An empty floor."


@pytest.mark.parametrize(
    ("affected", "changed"),
    [("auto", {"shadow": True, "box": False}), ("keep", {"shadow": False, "box": False}),
     ("remove", {"shadow": True, "box": True})],
)  # fmt: skip
def test_cleanplate_does_with_affected_things_as_is_chosen(server, shot, matted, tmp_path, affected, changed):
    """Two affected things in two corners, away from the object: a shadow, which goes, and a box, which stays."""
    places = {"shadow": (0.0, 0.0, 0.2, 0.2), "box": (0.8, 0.0, 1.0, 0.2)}
    things = [
        {
            "noun": noun, "why": "said so", "category": category, "first_frame": 1001, "last_frame": 1005,
            "confidence": 1.0,
            "regions": [dict(zip(("frame", "x0", "y0", "x1", "y1"), (1001, *places[noun]), strict=True))],
        }
        for noun, category in (("shadow", "artifact"), ("box", "physical"))
    ]  # fmt: skip
    said = {"reasoner": "me", "scene": "A floor.", "confidence": 1.0, "version": 1, "affected": things}
    (tmp_path / "analysis.json").write_text(json.dumps(said))
    options = {"shape": "soft", "near": 0.0, "spread": 0.0}
    resolved = job(shot, matted, analysis=str(tmp_path / "analysis.json"), options=options)
    engine = dataclasses.replace(resolved.spec.engine, options={"affected": affected})
    resolved = dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, engine=engine))
    with server.client() as client:
        client.run(f"affected-{affected}", resolved, tmp_path / "out")
    matte = channel(tmp_path / "out" / "plate.1003.exr", "void_matte.generated")
    height, width = matte.shape
    for noun, (x0, y0, x1, y1) in places.items():
        inside = matte[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]
        assert bool(inside.any()) is changed[noun], noun


def channel(path: Path, name: str) -> np.ndarray:
    image = oiio.ImageInput.open(str(path))
    names = image.spec().channelnames
    pixels = np.asarray(image.read_image(format="float"))
    image.close()
    return pixels[..., names.index(name)]


def test_a_click_carries_the_object_through_the_clip(server, shot, tmp_path):
    frame = next(iter(render_shot(160, 96, 5, 3)))
    ys, xs = np.nonzero(cv2.erode((frame.quadmask == 0).astype(np.uint8), np.ones((5, 5), np.uint8)))
    middle = len(ys) // 2
    clicks = (ClickSpec(1001, float(xs[middle]), float(ys[middle])),)
    with server.client() as client:
        resolved = ShotFile("plate.%04d.exr", masks=MaskFile(clicks=clicks)).resolve(shot)
        manifest = client.run("click", resolved, tmp_path / "out")
    assert len(manifest.frames) == 5


@pytest.mark.parametrize(
    ("masks", "message"),
    [({"segmenter": "magic"}, "no segmenter"), ({"options": {"grwo": 3}}, "grwo")],
)
def test_what_does_not_exist_is_told_by_its_name(server, shot, matted, tmp_path, masks, message):
    with server.client() as client, pytest.raises((EngineUnavailable, JobError), match=message):
        client.run(f"slip-{message.split()[0]}", job(shot, matted, **masks), tmp_path / "out")


def test_an_inverted_or_empty_matte_is_refused(server, shot, tmp_path):
    for number in range(1001, 1006):
        cv2.imwrite(str(tmp_path / f"matte.{number}.png"), np.zeros((96, 160), np.uint8))
    with server.client() as client, pytest.raises(Exception, match="black on every frame"):
        client.run("empty", job(shot, tmp_path), tmp_path / "out")


def test_a_matte_of_another_format_is_refused_by_its_frame(server, shot, tmp_path):
    for number in range(1001, 1006):
        cv2.imwrite(str(tmp_path / f"matte.{number}.png"), np.full((90, 160), 255, np.uint8))
    with server.client() as client, pytest.raises(Exception, match="display window") as caught:
        client.run("format", job(shot, tmp_path), tmp_path / "out")
    assert caught.value.details["frame"] == 1001


def test_a_job_waits_for_its_quadmask_to_be_approved_over_a_restart(shot, matted, tmp_path):
    with RunningServer(tmp_path / "data") as running:
        resolved = job(shot, matted)
        resolved = dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, stop="review"))
        with running.client() as client:
            client.deliver("job", resolved)
            wait_until(lambda: client.status("job")[0].state == "review", "the review")
            masks = client.download("job", tmp_path / "masks")
            assert {file.name for file in masks.files} >= {"analysis.json", "quadmask.png"}
            assert masks.frames[0].name == "quadmask.1001.exr"
        running.kill()
        running.start()
        with running.client() as client:
            assert client.status("job")[0].state == "review"
            assert client.approve("job").state in ("queued", "running")
            client.wait("job")
            assert client.approve("job").state == "done"  # twice is once
            result = client.download("job", tmp_path / "out")
            assert result.frames[0].name == "plate.1001.exr"
            held = {path.name for path in (tmp_path / "data/results/job").iterdir()}
            assert held == {file.name for file in result.all_files} | {MANIFEST}  # the review's files are gone
            assert client.metrics()["stages_done.reason"] == 1
            client.run("plain", job(shot, matted), tmp_path / "plain")
            with pytest.raises(JobError, match="does not wait"):
                client.approve("plain")


def test_a_job_in_review_can_be_cancelled_and_holds_no_worker(shot, matted, tmp_path):
    with RunningServer(tmp_path / "data") as running, running.client() as client:
        resolved = job(shot, matted)
        waiting = dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, stop="review"))
        client.deliver("waiting", waiting)
        wait_until(lambda: client.status("waiting")[0].state == "review", "the review")
        client.run("other", resolved, tmp_path / "other")
        assert client.cancel("waiting").state == "cancelled"


def test_a_sidecar_corrects_the_mask_and_explain_says_so(shot, matted, tmp_path):
    folder = tmp_path / "shot"
    folder.mkdir()
    (folder / "shot.yaml").write_text(f"plate: {shot}/plate.%04d.exr\nmasks: {{matte: '{matted}/matte.%04d.png'}}\n")
    (folder / "void.yaml").write_text(
        "overrides:\n"
        "  - {frames: 1002-1003, region: remove, mode: add, shape: {rectangle: [0, 0, 20, 10]}}\n"
        "  - {frames: all, region: keep, mode: replace, shape: {rectangle: [100, 80, 160, 96]}}\n"
        "  - {frames: 1001, regoin: remove, mode: add, shape: {rectangle: [0, 0, 5, 5]}}\n"
    )
    environment = {"VOID_CONFIG_DIR": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = run_void("quadmask", folder / "shot.yaml", "--out", tmp_path / "masks", **environment)
    assert done.returncode == 0, done.stderr
    assert "void.yaml" in done.stderr + done.stdout  # the misspelt entry is told, and the others count
    assert "regoin" in done.stderr + done.stdout
    for number, removed in ((1001, False), (1002, True), (1003, True), (1004, False)):
        image = oiio.ImageInput.open(str(tmp_path / "masks" / f"quadmask.{number}.exr"))
        coded = image.read_image(format="float")[..., image.spec().channelnames.index("R")]
        image.close()
        assert bool((np.rint(coded[1:9, 1:19] * 255) <= 95).all()) is removed, number
        assert (coded[81:95, 101:159] == 1).all()
    explained = run_void("explain", tmp_path / "masks", "--frame", "1002", **environment)
    assert explained.returncode == 0, explained.stderr
    assert "void.yaml" in explained.stdout


def test_hints_that_nobody_can_draw_go_to_the_reasoner_and_the_artist_is_told(server, shot, matted, tmp_path):
    """The server has no weights. With a supplied quadmask there is no reasoner either."""
    (tmp_path / "void.yaml").write_text(
        "overrides:\n"
        "  - {frames: 1002-1003, region: affected, hint: the shadow on the floor}\n"
        "  - {frames: 1002, region: remove, mode: add, shape: {rectangle: [0, 0, 20, 10]}}\n"
    )
    sidecar = str(tmp_path / "void.yaml")
    said = MaskFile(matte=str(matted / "matte.%04d.png"))
    resolved = ShotFile("plate.%04d.exr", masks=said, overrides=sidecar).resolve(shot)
    assert resolved.spec.masks is not None
    assert resolved.spec.masks.words == "On frames 1002-1003, affected: the shadow on the floor"
    with server.client() as client:
        manifest = client.run("hint", resolved, tmp_path / "out")
    warnings = [warning for warning in manifest.facts["warnings"] if "hint" in warning]
    assert len(warnings) == 2
    assert "went to the reasoner as words only" in warnings[0]
    assert "`void models fetch grounding-dino" in warnings[0]
    assert warnings[1] == (
        "void.yaml:2: hint: 'the shadow on the floor': nothing here could look for it. Not used on frames 1002-1003."
    )
    frames = json.loads((tmp_path / "out" / "regions.json").read_text())
    assert [bool(frame.get("faults")) for frame in frames] == [False, True, True, False, False]
    assert frames[1]["regions"]["remove"]["edits"][-1]["override"] == 1
    explained = run_void("explain", tmp_path / "out", "--frame", "1002", VOID_CONFIG_DIR=str(tmp_path / "config"))
    assert "not used: void.yaml:2: hint: 'the shadow on the floor'" in explained.stdout
    supplied = ShotFile("plate.%04d.exr", quadmask="quadmask.%04d.exr", overrides=sidecar).resolve(shot)
    assert [override.hint for override in supplied.spec.overrides] == [""]
    assert supplied.warnings[0].startswith("void.yaml:2: hint: with a supplied quadmask nothing is looked for")
