"""Which configuration, and whether two are the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from void_client.errors import EngineUnavailable, JobError

from void_engine.colour import config as configs

GAMMA = (0.0, 0.02, 0.2, 0.5, 1.0)


def refusal(source: object) -> JobError:
    with pytest.raises(JobError) as caught:
        configs.load(str(source))
    assert caught.value.details["key"] == "ocio"
    assert caught.value.hint
    return caught.value


def test_the_default_is_pinned_by_its_exact_name(studio):
    assert studio.name == configs.DEFAULT == "ocio://studio-config-v2.2.0_aces-v1.3_ocio-v2.4"
    assert studio.digest == "73997ca5b9efd187ece503dcd0591437e2fc5f12364127317f217d4d3b4177fa"
    assert "ACEScg" in studio.spaces()
    assert "ARRI LogC4" in studio.spaces()
    assert "ACEScg" in studio.scene_linear()
    assert "ARRI LogC4" not in studio.scene_linear()


def test_a_moving_name_is_kept_as_the_one_that_it_means_now():
    moving = configs.load("ocio://default")
    assert moving.name.startswith("ocio://cg-config-v")
    assert moving == configs.load(moving.name)


def test_another_process_with_another_environment_says_the_same(write_config):
    path = write_config(lut=GAMMA)
    code = (
        "import sys, json; from void_engine.colour import config as c;"
        f"assert 'PyOpenColorIO' not in sys.modules; print(json.dumps([c.load(s).digest for s in ('', {str(path)!r})]))"
    )
    environment = {**os.environ, "OCIO": "/nowhere/config.ocio", "SHOT": "x1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [configs.load().digest, configs.load(str(path)).digest]


def test_a_files_digest_is_of_its_text_and_luts_and_not_of_its_path(write_config, tmp_path):
    path = write_config(lut=GAMMA)
    first = configs.load(str(path))
    assert first.name == "house"
    moved = tmp_path / "elsewhere"
    shutil.copytree(path.parent, moved)
    assert configs.load(str(moved / path.name)) == first
    write_config(lut=(0.0, 0.03, 0.2, 0.5, 1.0))
    relit = configs.load(str(path)).digest
    (path.parent / "luts" / "film.spi1d").unlink()
    without = configs.load(str(path)).digest
    path.write_text(path.read_text() + "\n# a note\n")
    assert len({first.digest, relit, without, configs.load(str(path)).digest}) == 4


def test_an_archive_is_a_configuration_too(write_config):
    path = write_config(lut=GAMMA)
    archive = path.with_suffix(".ocioz")
    configs.load(str(path)).handle.archive(str(archive))
    packed = configs.load(str(archive))
    assert packed.spaces() == configs.load(str(path)).spaces()
    assert len(packed.digest) == 64


def test_an_unknown_built_in_name_gets_the_list():
    error = refusal("ocio://studio-config-v9")
    assert "studio-config-v9" in error.message
    assert configs.DEFAULT in error.hint


def test_a_missing_file_and_another_kind_of_file(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.ocio").message
    assert "ocio://" in refusal(tmp_path / "config.yaml").message


@pytest.mark.parametrize("text", ["garbage", "a: [", "", "ocio_profile_version: 2\n"])
def test_a_file_that_is_no_configuration(tmp_path, text):
    path = tmp_path / "broken.ocio"
    path.write_text(text)
    assert "cannot be read" in refusal(path).message


@pytest.mark.parametrize("version", ["2.99", "3"])
def test_a_configuration_of_a_newer_ocio(write_config, version):
    error = refusal(write_config(version=version))
    assert "newer version" in error.message
    assert "Update opencolorio" in error.hint


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "PyOpenColorIO", None)
    with pytest.raises(EngineUnavailable, match="opencolorio"):
        configs.load()
