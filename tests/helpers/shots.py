"""The real shots under ``../shared/shots`` as linear float arrays, or as EXR sequences on disk.

A caller skips where `shots_folder` is None; under CI (``CI=true``) their absence is a failure
instead. The EXR writer is the OpenEXR package, not ours: tests of our reader and writer must not
test them against themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

from void_engine.interface import KEEP, RGB, Quadmask

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ("lime", "moving_ball", "BigBen")
FIRST = 1001


def shots_folder() -> Path | None:
    """Where the real shots lie, or None; raises under CI where they are missing."""
    folder = REPOSITORY.parent / "shared" / "shots"
    if all((folder / name / "input_video.mp4").is_file() for name in NAMES):
        return folder
    if os.environ.get("CI", "").lower() == "true":
        raise FileNotFoundError(f"the real shots are missing from {folder}, and CI must not skip their tests")
    return None


def read_shot(name: str, *, scale: float = 1.0, frames: int | None = None) -> Iterator[tuple[RGB, Quadmask]]:
    """Plate (H, W, 3) linear light, Rec. 709 primaries, and quadmask of each frame, at ``scale``."""
    folder = shots_folder()
    if folder is None:
        raise FileNotFoundError("the real shots are not here: skip the test where shots_folder() is None")
    with av.open(str(folder / name / "input_video.mp4")) as plate, av.open(str(folder / name / "quadmask.mp4")) as mask:
        pairs = zip(plate.decode(video=0), mask.decode(video=0), strict=True)
        for index, (picture, matte) in enumerate(pairs):
            if frames is not None and index >= frames:
                return
            rgb = linear(picture.to_ndarray(format="rgb24"))
            luma = matte.to_ndarray(format="gray")
            size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
            if scale != 1.0:
                rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
                luma = cv2.resize(luma, size, interpolation=cv2.INTER_NEAREST)
            yield rgb, quantised(luma)


def linear(code: np.ndarray) -> RGB:
    """8-bit sRGB values to scene-linear light."""
    table = np.arange(256) / 255.0
    table = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    return table.astype(np.float32)[code]


def quantised(luma: np.ndarray) -> Quadmask:
    """The codec moves the four values a little: the nearest of 0, 63, 127 and 255."""
    values = np.array([0, 63, 127, KEEP], dtype=np.uint8)
    return values[np.digitize(luma, [31, 95, 191])]


def write_sequences(
    name: str, folder: Path, *, scale: float = 1.0, frames: int | None = None, first: int = FIRST
) -> tuple[str, str]:
    """Writes ``plate.%04d.exr`` (RGB) and ``quadmask.%04d.exr`` (R, values / 255), half, ZIP; returns the patterns."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (plate, quadmask) in enumerate(read_shot(name, scale=scale, frames=frames)):
        number = first + index
        write_exr(folder / f"plate.{number:04d}.exr", {"RGB": plate.astype(np.float16)}, number)
        mask = (quadmask.astype(np.float32) / 255.0).astype(np.float16)
        write_exr(folder / f"quadmask.{number:04d}.exr", {"R": mask}, number)
    return str(folder / "plate.%04d.exr"), str(folder / "quadmask.%04d.exr")


def write_exr(path: Path, channels: dict[str, np.ndarray], number: int) -> None:
    """One part, half, ZIP, with the metadata that a camera would leave. By OpenImageIO: independent of our writer."""
    import OpenImageIO as oiio

    (names, pixels), *_ = channels.items()
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    spec = oiio.ImageSpec(pixels.shape[1], pixels.shape[0], pixels.shape[2], "half")
    spec.channelnames = tuple(names)
    seconds, frame = divmod(number, 24)
    timecode = 0x01000000 | (seconds // 60 % 60) << 16 | _bcd(seconds % 60) << 8 | _bcd(frame)
    spec.attribute("smpte:TimeCode", oiio.TypeDesc("timecode"), (timecode, 0))
    spec.attribute("compression", "zip")
    spec.attribute("cameraModel", "VOID test camera")
    spec.attribute("reelName", "A001")
    spec.attribute("isoSpeed", 800.0)
    output = oiio.ImageOutput.create(str(path))
    assert output is not None, oiio.geterror()
    assert output.open(str(path), spec), output.geterror()
    assert output.write_image(np.ascontiguousarray(pixels, np.float16)), output.geterror()
    output.close()


def _bcd(value: int) -> int:
    return value // 10 << 4 | value % 10
