"""What a result warns of reaches whoever asked for it: in the terminal, in a machine's lines, in a batch's table."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.servers import run_void
from void_client.manifest import ResultManifest

from void_engine.interface import KEEP
from void_engine.plates.create import create_exr
from void_engine.synthetic import render_shot

TIGHT = "The quadmask is tight"


@pytest.fixture(scope="module")
def tight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shot file; its quadmask leaves three pixels of the object."""
    folder = tmp_path_factory.mktemp("tight")
    for number, frame in enumerate(render_shot(320, 180, 5, 3), 1001):
        left = cv2.erode((frame.quadmask != KEEP).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        mask = np.where(left, frame.quadmask, np.uint8(KEEP)).astype(np.float32) / np.float32(255)
        create_exr(folder / f"plate.{number}.exr", {"RGB": frame.plate})
        create_exr(folder / f"quadmask.{number}.exr", {"R": mask})
    (folder / "sh010.yaml").write_text("plate: plate.%04d.exr\nquadmask: quadmask.%04d.exr\n")
    return folder / "sh010.yaml"


def test_a_tight_quadmask_is_told_with_the_result(server, tight, tmp_path):
    done = run_void("render", tight, "--out", tmp_path / "out", "--connection", server.connection)
    assert done.returncode == 0, done.stderr
    assert f"warning: {TIGHT}" in done.stderr
    (warning,) = ResultManifest.read(tmp_path / "out").facts["warnings"]
    assert warning.startswith(TIGHT)
    again = run_void("render", tight, "--out", tmp_path / "out", "--connection", server.connection, "--json")
    assert json.loads(again.stdout.splitlines()[-1])["warnings"] == [warning]
    batch = run_void("batch", tight, "--out", tmp_path / "batch", "--connection", server.connection, "--json")
    told = [json.loads(line) for line in batch.stdout.splitlines()]
    assert [line["warnings"] for line in told if line.get("state") == "done" and "code" in line] == [[warning]]


def test_a_result_without_anything_to_say_warns_of_nothing(server, shot, tmp_path):
    done = run_void("render", "--plate", shot / "plate.####.exr", "--quadmask", shot / "quadmask.####.exr", "--out",
                    tmp_path / "out", "--connection", server.connection)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert ResultManifest.read(tmp_path / "out").facts["warnings"] == []
