"""Real EXR files, by OpenEXR's own binding: all channels, half and float, windows, attributes."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from . import layers
from .errors import StandinError
from .image import Image

SHORT = {"R": "rgba.red", "G": "rgba.green", "B": "rgba.blue", "A": "rgba.alpha", "Z": "depth.Z"}
LONG = {v: k for k, v in SHORT.items()}
WORDS = {"R": "red", "G": "green", "B": "blue", "A": "alpha"}
STRUCTURE = {
    "channels",
    "compression",
    "dataWindow",
    "displayWindow",
    "lineOrder",
    "pixelAspectRatio",
    "screenWindowCenter",
    "screenWindowWidth",
    "type",
    "name",
    "version",
    "chunkCount",
    "tiles",
    "preview",
}


def nuke_name(name: str) -> str:
    """Nuke's name of a file's channel: R → rgba.red, diffuse.R → diffuse.red, mask → other.mask."""
    if name in SHORT:
        return SHORT[name]
    layer, dot, channel = name.rpartition(".")
    if not dot:
        return f"other.{name}"
    return f"{layer.replace('.', '_')}.{WORDS.get(channel, channel)}"


def file_name(name: str) -> str:
    """A file's name of Nuke's channel."""
    if name in LONG:
        return LONG[name]
    layer, _, channel = name.partition(".")
    back = {v: k for k, v in WORDS.items()}
    return f"{layer}.{back.get(channel, channel)}" if layer != "other" else channel


def header(path: str) -> dict:
    """A file's header, without its pixels."""
    import OpenEXR

    with OpenEXR.File(path, header_only=True) as file:
        if len(file.parts) != 1:
            raise StandinError(f"{path}: multi-part EXR is not in the stand-in")
        return dict(file.header())


def channels_of(head: dict) -> list:
    return [nuke_name(c.name) for c in head["channels"]]


def _window(value: Any) -> tuple:
    (x0, y0), (x1, y1) = value
    return int(x0), int(y0), int(x1) + 1, int(y1) + 1


def geometry(head: dict) -> tuple:
    """(width, height, pixel aspect, data window): the window counts from the display window's top left."""
    dx0, dy0, dx1, dy1 = _window(head["displayWindow"])
    x0, y0, x1, y1 = _window(head["dataWindow"])
    aspect = float(head.get("pixelAspectRatio", 1.0))
    return dx1 - dx0, dy1 - dy0, aspect, (x0 - dx0, y0 - dy0, x1 - dx0, y1 - dy0)


def attributes(head: dict, path: str) -> dict:
    """The file's metadata as Nuke shows it: exr/… and input/…."""
    width, height, aspect, _ = geometry(head)
    found: dict[str, Any] = {}
    for key, value in head.items():
        if key in STRUCTURE:
            continue
        if not isinstance(value, (str, int, float)):
            value = list(value) if isinstance(value, tuple) else str(value)
        found[f"exr/{key}"] = value
    status = os.stat(path)
    found.update(
        {
            "input/filename": path.replace(os.sep, "/"),
            "input/filereader": "exr",
            "input/filesize": status.st_size,
            "input/width": width,
            "input/height": height,
            "exr/pixelAspectRatio": aspect,
            "exr/compressionName": str(head["compression"]).rsplit(".", 1)[-1],
            "input/bitsperchannel": "32-bit float" if _is_float(path) else "16-bit half float",
        }
    )
    if "framesPerSecond" in head:
        found["input/frame_rate"] = float(_fraction(head["framesPerSecond"]))
    if "timeCode" in head:
        found["input/timecode"] = _timecode(head["timeCode"])
    return found


def _is_float(path: str) -> bool:
    """Whether a channel has 32 bits: read off the header's bytes, as the binding tells types with the pixels only."""
    with open(path, "rb") as file:
        start = file.read(65536)
    place = start.index(b"channels\0chlist\0") + len(b"channels\0chlist\0") + 4
    while start[place]:
        place = start.index(b"\0", place) + 1
        if start[place] != 1:  # 0 uint, 1 half, 2 float
            return True
        place += 16
    return False


def _fraction(value: Any) -> float:
    numerator, denominator = (value.n, value.d) if hasattr(value, "n") else (value, 1)
    return float(numerator) / float(denominator)


def _timecode(value: Any) -> str:
    parts = [getattr(value, name) for name in ("hours", "minutes", "seconds", "frame")]
    return ":".join(f"{int(p):02d}" for p in parts)


def read(path: str) -> Image:
    """A file's picture: float32 planes, top line first."""
    import numpy as np
    import OpenEXR

    with OpenEXR.File(path, separate_channels=True) as file:
        head = dict(file.header())
        planes = {nuke_name(n): np.asarray(c.pixels).astype(np.float32) for n, c in file.channels().items()}
    width, height, aspect, window = geometry(head)
    for channel in planes:
        layer, _, short = channel.partition(".")
        layers.add(layer, [short])
    return Image(width, height, aspect, window, planes, attributes(head, path))


def _written(metadata: dict) -> dict:
    """Metadata as attributes: exr/… under its own name, input/… under nuke/input/…; the time code as EXR has it."""
    import OpenEXR

    found: dict[str, Any] = {}
    for key, value in metadata.items():
        name = key[4:] if key.startswith("exr/") else f"nuke/{key}"
        if isinstance(value, (str, int, float)) and name not in (*STRUCTURE, "timeCode", "framesPerSecond"):
            found[name] = value
    if "input/timecode" in metadata:
        found["timeCode"] = OpenEXR.TimeCode(*map(int, metadata["input/timecode"].split(":")), *[0] * 14)
    return found


def write(path: str, image: Image, channels: list, half: bool, compression: str, metadata: dict) -> None:
    """Write under a temporary name, then rename: as Nuke does."""
    import numpy as np
    import OpenEXR

    kinds = {
        "none": OpenEXR.NO_COMPRESSION,
        "Zip (1 scanline)": OpenEXR.ZIPS_COMPRESSION,
        "Zip (16 scanlines)": OpenEXR.ZIP_COMPRESSION,
        "PIZ Wavelet (32 scanlines)": OpenEXR.PIZ_COMPRESSION,
        "RLE": OpenEXR.RLE_COMPRESSION,
        "DWAA": OpenEXR.DWAA_COMPRESSION,
        "DWAB": OpenEXR.DWAB_COMPRESSION,
    }
    if compression not in kinds:
        raise StandinError(f"EXR compression {compression!r} is not in the stand-in")
    x0, y0, x1, y1 = image.window
    kind = np.float16 if half else np.float32
    planes = {file_name(c): np.ascontiguousarray(image.plane(c).astype(kind)) for c in channels}
    head = {
        "compression": kinds[compression],
        "type": OpenEXR.scanlineimage,
        "pixelAspectRatio": float(image.aspect),
        "displayWindow": (np.array([0, 0], np.int32), np.array([image.width - 1, image.height - 1], np.int32)),
        "dataWindow": (np.array([x0, y0], np.int32), np.array([x1 - 1, y1 - 1], np.int32)),
    }
    head.update(_written(metadata))
    handle, temporary = tempfile.mkstemp(suffix=".exr", dir=os.path.dirname(path) or ".")
    os.close(handle)
    with OpenEXR.File(head, planes) as file:
        file.write(temporary)
    os.replace(temporary, path)
