"""The artist's own affected region: what it changes, what it leaves alone, and which stages it redoes."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenImageIO as oiio
import pytest
from helpers.servers import RunningServer
from void_cli import explain
from void_cli.output import Output
from void_cli.shot import add_shot_arguments, shot_of
from void_client.errors import FrameError
from void_client.job import MaskFile, Resolved, ShotFile
from void_client.manifest import ResultManifest

from void_engine.synthetic import render_shot

DRAWN = (1002, 1003)
WHITE = np.s_[10:60, 5:70]


@pytest.fixture(scope="module")
def drawn(shot: Path) -> Path:
    """The object's matte on all frames, an affected one on two of them."""
    folder = shot.parent / f"{shot.name}-affected"
    folder.mkdir()
    for number, frame in enumerate(render_shot(160, 96, 5, 3), 1001):
        cv2.imwrite(str(folder / f"matte.{number}.png"), (frame.quadmask <= 95).astype(np.uint8) * 255)
    for number in DRAWN:
        write_affected(folder, number)
    return folder


def write_affected(folder: Path, number: int, value: int = 255, name: str = "affected") -> None:
    matte = np.zeros((96, 160), np.uint8)
    matte[WHITE] = value
    cv2.imwrite(str(folder / f"{name}.{number}.png"), matte)


def job(shot: Path, drawn: Path, *, stop: str = "masks", affected: str | None = "affected", **masks: Any) -> Resolved:
    said = MaskFile(
        matte=str(drawn / "matte.%04d.png"), affected=str(drawn / f"{affected}.%04d.png") if affected else None, **masks
    )
    resolved = ShotFile("plate.%04d.exr", masks=said).resolve(shot)
    return dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, stop=stop))


def run(server: RunningServer, name: str, resolved: Resolved, out: Path) -> tuple[ResultManifest, dict[str, str]]:
    """The result, and each stage's last state."""
    states: dict[str, str] = {}
    with server.client() as client:
        manifest = client.run(
            name, resolved, out,
            on_event=lambda e: states.update({e.data["stage"]: e.data["state"]}) if e.kind == "stage" else None,
        )  # fmt: skip
    return manifest, states


def codes(folder: Path, number: int) -> np.ndarray:
    return np.rint(channel(folder / f"quadmask.{number}.exr", "R") * 255).astype(np.uint8)


def channel(path: Path, name: str) -> np.ndarray:
    image = oiio.ImageInput.open(str(path))
    pixels = image.read_image(format="float")[..., image.spec().channelnames.index(name)]
    image.close()
    return pixels


def test_it_stands_instead_of_the_reasoner_where_it_is_and_redoes_the_quadmask_only(
    server, shot, drawn, tmp_path, capsys
):
    run(server, "affected-plain", job(shot, drawn, affected=None), tmp_path / "plain")
    manifest, states = run(server, "affected-drawn", job(shot, drawn), tmp_path / "drawn")
    assert {stage: states[stage] for stage in ("ingest", "segment", "reason", "quadmask")} == {
        "ingest": "cached", "segment": "cached", "reason": "cached", "quadmask": "done",
    }  # fmt: skip
    assert not [each for each in manifest.facts["warnings"] if "affected matte" in each]
    for number in range(1001, 1006):
        plain, made = codes(tmp_path / "plain", number), codes(tmp_path / "drawn", number)
        if number not in DRAWN:
            np.testing.assert_array_equal(made, plain)
            continue
        white = np.zeros(made.shape, bool)
        white[WHITE] = True
        removed = plain <= 63
        assert removed[WHITE].any()  # the object reaches into what is drawn
        np.testing.assert_array_equal(made, np.select([removed & white, removed, white], [63, 0, 127], 255))
    options = argparse.Namespace(folder=tmp_path / "drawn", frames="1001-1002")
    assert explain._explain(options, Output(as_json=False)) == 0
    told = capsys.readouterr().out.partition("frame 1002")
    assert "  mattes\n" not in told[0].partition("  affected")[2]
    affected = told[2].partition("  affected")[2].splitlines()
    assert affected[0].endswith("px  mattes")
    assert affected[1].strip().startswith("not used  reasoning (motion)")


def test_another_affected_matte_redoes_the_quadmask_and_the_same_one_nothing(server, shot, drawn, tmp_path):
    for number in (1003, 1004):
        write_affected(drawn, number, 255, "later")
    run(server, "affected-first", job(shot, drawn), tmp_path / "first")
    _, states = run(server, "affected-later", job(shot, drawn, affected="later"), tmp_path / "later")
    assert (states["segment"], states["reason"], states["quadmask"]) == ("cached", "cached", "done")
    _, states = run(server, "affected-again", job(shot, drawn, affected="later"), tmp_path / "again")
    assert (states["segment"], states["reason"], states["quadmask"]) == ("cached", "cached", "cached")
    assert (codes(tmp_path / "first", 1002)[WHITE] != 255).all()
    assert (codes(tmp_path / "later", 1004)[WHITE] != 255).all()


def test_where_nobody_reasons_there_is_the_object_and_what_was_drawn(server, shot, drawn, tmp_path):
    manifest, _ = run(server, "affected-none", job(shot, drawn, reasoner="none"), tmp_path / "none")
    assert manifest.facts["reasoner"] == "none"
    assert manifest.facts["warnings"] == []
    for number in range(1001, 1006):
        made = codes(tmp_path / "none", number)
        assert set(np.unique(made)) == ({0, 63, 127, 255} if number in DRAWN else {0, 255})


def test_what_is_drawn_is_made_anew_as_a_supplied_quadmasks_127_is(server, shot, drawn, tmp_path):
    run(server, "affected-render", job(shot, drawn, stop="", reasoner="none"), tmp_path / "out")
    for number in range(1001, 1006):
        matte = channel(tmp_path / "out" / f"plate.{number}.exr", "void_matte.generated")
        away = np.ones(matte.shape, bool)
        away[WHITE] = False
        assert bool((matte[WHITE][8:-8, 8:-8] == 1).all()) is (number in DRAWN)
        assert not matte[away & (channel(tmp_path / "out" / f"plate.{number}.exr", "void_quadmask.keep") == 1)].any()


def test_a_black_one_takes_the_affected_region_away_and_says_so(server, shot, drawn, tmp_path):
    write_affected(drawn, 1002, 0, "black")
    manifest, _ = run(server, "affected-black", job(shot, drawn, affected="black"), tmp_path / "black")
    assert any("black on every frame" in warning for warning in manifest.facts["warnings"])
    assert set(np.unique(codes(tmp_path / "black", 1002))) == {0, 255}


def test_one_of_another_format_is_refused_by_its_frame_and_file(server, shot, drawn, tmp_path):
    cv2.imwrite(str(drawn / "small.1004.png"), np.zeros((48, 80), np.uint8))
    with pytest.raises(FrameError, match=r"affected matte frame 1004: .*80x48") as caught:
        run(server, "affected-small", job(shot, drawn, affected="small"), tmp_path / "small")
    assert caught.value.details["input"] == "affected"
    assert str(drawn / "small.1004.png") in str(caught.value)


def test_the_command_line_takes_it(drawn):
    parser = argparse.ArgumentParser()
    add_shot_arguments(parser)
    pattern = str(drawn / "affected.%04d.png")
    arguments = ["--plate", "plate.%04d.exr", "--box", "1001:1,1,5,5", "--affected-matte", pattern]
    shot_file, _ = shot_of(parser.parse_args(arguments))
    assert shot_file.masks is not None
    assert shot_file.masks.affected == pattern
