from __future__ import annotations

from pathlib import Path

import pytest

from void_engine.colour import config as configs

HEAD = """ocio_profile_version: {version}
name: {name}
search_path: luts
roles: {{{roles}}}
displays: {{d: [!<View> {{name: v, colorspace: ap0}}]}}
default_view_transform: film look
view_transforms:
  - !<ViewTransform> {{name: film look, from_scene_reference: {look}}}
display_colorspaces:
  - !<ColorSpace> {{name: xyz, encoding: display-linear}}
  - !<ColorSpace> {{name: screen, from_display_reference: !<BuiltinTransform> {{style: DISPLAY - CIE-XYZ-D65_to_sRGB}}}}
colorspaces:
  - !<ColorSpace> {{name: ap0, family: Scene, encoding: scene-linear, aliases: [Kamera 1]}}
  - !<ColorSpace> {{name: film, to_reference: !<FileTransform> {{src: film.spi1d, interpolation: linear}}}}
  - !<ColorSpace> {{name: raw, isdata: true}}
"""
LOOK = "!<BuiltinTransform> {style: ACES-OUTPUT - ACES2065-1_to_CIE-XYZ-D65 - SDR-VIDEO_1.0}"
ROLES = {"default": "ap0", "scene_linear": "ap0", "aces_interchange": "ap0", "cie_xyz_d65_interchange": "xyz"}


@pytest.fixture(scope="session")
def studio():
    return configs.load()


@pytest.fixture
def write_config(tmp_path):
    """``write_config(spaces, without=(roles,), lut=[…])`` → the path of an .ocio file with these spaces added."""

    def write(*spaces: str, without: tuple[str, ...] = (), version="2.4", lut: tuple[float, ...] = (), name="house"):
        roles = ", ".join(f"{role}: {space}" for role, space in ROLES.items() if role not in without)
        lines = [f"  - !<ColorSpace> {{{space}}}\n" for space in spaces]
        path = Path(tmp_path / "shows" / "house.ocio")
        (path.parent / "luts").mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD.format(version=version, roles=roles, name=name, look=LOOK) + "".join(lines))
        if lut:
            values = "\n".join(map(str, lut))
            text = f"Version 1\nFrom 0 1\nLength {len(lut)}\nComponents 1\n{{\n{values}\n}}\n"
            (path.parent / "luts" / "film.spi1d").write_text(text)
        return path

    return write
