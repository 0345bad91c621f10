"""Real plates with their quadmasks through ``void render``: nothing that was kept has changed, nothing else is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import OpenImageIO as oiio
import pytest
from helpers.servers import run_void
from helpers.shots import shots_folder, write_sequences
from void_client.manifest import ResultManifest

SHOTS = {"BigBen": 1.0, "lime": 0.125, "moving_ball": 0.125}


def read(path: Path) -> tuple[oiio.ImageSpec, np.ndarray]:
    """By OpenImageIO: independent of the reader and the writer under test."""
    image = oiio.ImageInput.open(str(path))
    assert image is not None, oiio.geterror()
    pixels = image.read_image(format="half")
    spec = image.spec()
    image.close()
    return spec, np.asarray(pixels)


@pytest.mark.parametrize("name", SHOTS)
def test_a_real_shot_comes_back_with_every_kept_bit(name, tmp_path):
    if shots_folder() is None:
        pytest.skip("the sample shots are not beside this checkout")
    plate, quadmask = write_sequences(name, tmp_path / "shot", scale=SHOTS[name], frames=12)
    done = run_void(
        "render", "--plate", plate, "--quadmask", quadmask, "--frames", "1001-1012", "--engine", "cleanplate",
        "--out", tmp_path / "out", XDG_CACHE_HOME=str(tmp_path / "cache"), VOID_CONFIG_DIR=str(tmp_path / "config"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = ResultManifest.read(tmp_path / "out")
    manifest.verify(tmp_path / "out")
    assert [frame.number for frame in manifest.frames] == list(range(1001, 1013))
    for number in (1001, 1006, 1012):
        before_spec, before = read(tmp_path / "shot" / f"plate.{number}.exr")
        after_spec, after = read(tmp_path / "out" / f"plate.{number}.exr")
        _, mask = read(tmp_path / "shot" / f"quadmask.{number}.exr")
        keep = mask[..., 0].astype(np.float32) * 255 > 191
        assert after_spec.channelnames[:3] == before_spec.channelnames == ("R", "G", "B")
        layers = dict(zip(after_spec.channelnames[3:], np.moveaxis(after[..., 3:], -1, 0), strict=True))
        after = after[..., :3]
        assert np.array_equal(layers["void_quadmask.keep"] == 1, keep)
        assert (layers["void_matte.generated"][keep] == 0).all()
        assert (layers["void_matte.generated"][layers["void_quadmask.primary"] == 1] == 1).all()
        assert (layers["void_conf.confidence"][keep] == 1).all()
        assert layers["void_conf.confidence"][~keep].mean() < 1  # not all of it is shown by another frame
        assert np.array_equal(before[keep].view(np.uint16), after[keep].view(np.uint16))
        assert not np.array_equal(before, after)
        assert np.isfinite(after.astype(np.float32)).all()
        for attribute in ("smpte:TimeCode", "cameraModel", "reelName", "isoSpeed", "compression"):
            assert before_spec.getattribute(attribute) == after_spec.getattribute(attribute), attribute
        assert after_spec.getattribute("void/engine") == "cleanplate"
