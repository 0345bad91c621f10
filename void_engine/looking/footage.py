"""What is compared: a result's folder, a sequence of EXRs or pictures, or a movie; frame by frame.

Promises: ``stored`` is float32 and tells every stored value from every other (half and float as they are, codes by
their maximum), so that equal bits mean equal values; what cannot be read is a ``FrameError`` that names clip, frame and
file. Must not: convert scene-linear light, or hold frames.
"""

from __future__ import annotations

import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import OpenImageIO as oiio
from void_client.errors import InputError
from void_client.sequence import FramePattern

from void_engine.interface import Window
from void_engine.looking.said import Said, said_by
from void_engine.looking.view import Colour, placed, to_view
from void_engine.plates import PlateFrame, read_frame, read_header
from void_engine.plates.source import FrameSource

MOVIES: Final = frozenset({".mp4", ".mov", ".m4v", ".mkv", ".avi", ".mxf", ".webm"})
_EXR: Final = ".exr"
_PICTURES: Final = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dpx", ".tga"})
_NUMBERED: Final = re.compile(r"\A(.*?)(-?\d+)(\.[A-Za-z0-9]+)\Z")
_RESULT: Final = ("plate.", _EXR)
_WORD: Final = "Give a result's folder, a pattern such as plate.####.exr, or a movie."


@dataclass(frozen=True)
class Picture:
    """``stored`` (h, w, 3) covers ``window``, in the coordinates of the display window."""

    number: int
    window: Window
    stored: Colour = field(repr=False)


class Footage(ABC):
    """One side of the comparison. ``name``: how errors call it. ``scene_linear``: else ``stored`` is display-referred.

    ``rate``: frames a second, 0.0 where the files do not say. ``aspect``: a pixel's width by its height.
    ``said``: what a result says of itself. ``space_name``, ``to_linear``: the working space of EXRs, and from it to
    scene-linear with Rec.709 primaries; "" and None where they are that.
    """

    name: str
    text: str
    kind: str
    numbers: tuple[int, ...]
    display: Window
    scene_linear = False
    aspect = 1.0
    rate = 0.0
    notes: tuple[str, ...] = ()
    said = Said()
    space_name = ""
    to_linear: Callable[[Colour], Colour] | None = None

    @abstractmethod
    def read(self, number: int) -> Picture:
        """Raises ``FrameError``."""

    def close(self) -> None:
        return None

    @property
    def input(self) -> str:
        """How a ``FrameError`` calls it."""
        return f"clip {self.name}"

    @property
    def label(self) -> str:
        """What a picture of it is called: short, and told apart from its neighbour's where they have folders."""
        path = Path(os.path.abspath(self.text))
        return f"{path.parent.name}/{path.name}"

    def light(self, picture: Picture) -> Colour:
        """Over the display window, linear where the clip is scene-linear; what is not finite is 0."""
        stored = picture.stored
        if not np.isfinite(stored).all():
            stored = np.nan_to_num(stored, nan=0.0, posinf=0.0, neginf=0.0)
        if self.to_linear is not None:
            stored = self.to_linear(stored)
        return placed(stored, picture.window, self.display)

    def shown(self, light: Colour, exposure: float = 0.0) -> Colour:
        """Display values 0 to 1 of what `light` gave."""
        return to_view(light, exposure) if self.scene_linear else light


class FileFootage(Footage):
    """A file for each frame: EXRs (scene-linear), or pictures with integer codes (display-referred)."""

    def __init__(self, name: str, text: str, files: Mapping[int, Path], layer: str, notes: tuple[str, ...]) -> None:
        self.name, self.text, self._files, self._layer, self.notes = name, text, dict(files), layer, notes
        self.numbers = tuple(sorted(files))
        first = self.numbers[0]
        self.scene_linear = self._files[first].suffix.lower() == _EXR
        self.kind = "exr" if self.scene_linear else "picture"
        if self.scene_linear:
            header = read_header(self._files[first], input=self.input, frame=first)
            self.display, self.aspect, self.rate = header.display_window, header.pixel_aspect, header.frame_rate
            self.said = said_by(list(self._files.values()), header)
        else:
            self.display = self.read(first).window

    def read(self, number: int) -> Picture:
        source = FrameSource(self.input, number, self._files[number])
        if self.scene_linear:
            return self._read_exr(source)
        pixels, names = read_codes(source)
        window = Window(0, 0, pixels.shape[1] - 1, pixels.shape[0] - 1)
        colour = [names.index(channel) for channel in "RGB"] if {*"RGB"} <= {*names} else [0, 0, 0]
        self._check(source, window)
        return Picture(number, window, np.ascontiguousarray(pixels[..., colour]))

    def _read_exr(self, source: FrameSource) -> Picture:
        frame = read_frame(source.path, input=self.input, frame=source.frame)
        self._check(source, frame.header.display_window)
        return Picture(source.frame, frame.header.data_window(self._layer), _stored(frame, self._layer))

    def _check(self, source: FrameSource, window: Window) -> None:
        first = getattr(self, "display", window)
        if window != first:
            raise source.error(
                f"it is {words(window)}, where frame {self.numbers[0]} is {words(first)}",
                "A clip has one format: render this frame like the others.",
            )


def open_footage(name: str, text: str, layer: str = "") -> Footage:
    """What ``text`` names. A movie's first frame is number 1 until `MovieFootage.starts_at` says otherwise.

    Raises ``InputError``, ``JobError`` (no pattern), ``FrameError``, ``EngineUnavailable`` (a movie without PyAV).
    """
    path = Path(os.path.abspath(os.path.expanduser(text)))
    if path.is_dir():
        files, notes = _in_folder(name, path)
        return FileFootage(name, text, files, layer, notes)
    if path.suffix.lower() in MOVIES:
        from void_engine.looking.decode import MovieFootage

        return MovieFootage(name, text, path)
    if not re.search(r"%\d*d|#", path.name) and not path.exists():
        raise InputError(f"{name}: {text} is not there.", hint=_WORD, details={"input": f"clip {name}", "file": text})
    pattern = FramePattern.parse(text, Path.cwd())
    numbers = pattern.frames_on_disk()
    if not numbers:
        raise InputError(
            f"{name}: nothing matches {text!r} in {pattern.folder}.",
            hint="Check the path and the pattern.",
            details={"input": f"clip {name}", "file": text},
        )
    return FileFootage(name, text, {number: pattern.path(number) for number in numbers}, layer, ())


def _in_folder(name: str, folder: Path) -> tuple[dict[int, Path], tuple[str, ...]]:
    """The frames that the manifest names; without one plate.####.exr, or the only sequence that there is."""
    listed = _listed(name, folder)
    if listed:
        there = {number: path for number, path in listed.items() if path.is_file()}
        lost = [f"{name}: {path.name} is in the manifest and not in the folder." for path in listed.values()]
        notes = tuple(note for note, number in zip(lost, listed, strict=True) if number not in there)
        if there:
            return there, notes
    groups: dict[tuple[str, str], dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _NUMBERED.match(path.name)
        if match and match[3].lower() in _PICTURES | {_EXR}:
            groups.setdefault((match[1], match[3].lower()), {})[int(match[2])] = path
    if not groups:
        raise InputError(
            f"{name}: {folder} holds no frames.", hint=_WORD, details={"input": f"clip {name}", "file": str(folder)}
        )
    if _RESULT not in groups and len(groups) > 1:
        several = ", ".join(f"{prefix}####{suffix}" for prefix, suffix in groups)
        raise InputError(
            f"{name}: {folder} holds several sequences: {several}.",
            hint="Name one of them.",
            details={"input": f"clip {name}", "file": str(folder)},
        )
    files = groups.get(_RESULT) or next(iter(groups.values()))
    return files, ()


def _listed(name: str, folder: Path) -> dict[int, Path]:
    """The frames of a result's manifest, in its words; empty where there is none."""
    path = folder / "manifest.json"
    if not path.is_file():
        return {}
    try:
        frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
        listed = {int(frame["number"]): str(frame["name"]) for frame in frames}
        if any(Path(file).name != file for file in listed.values()):
            raise ValueError("a frame's name is a path")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{name}: {path} cannot be read ({error}).",
            hint="Fetch the result again, or name its frames: plate.####.exr.",
            details={"input": f"clip {name}", "file": str(path)},
        ) from error
    return {number: folder / file for number, file in listed.items()}


def _stored(frame: PlateFrame, layer: str) -> Colour:
    """Half widened to float loses nothing and makes no two values one."""
    planes = frame.native_rgb(layer)
    colour = np.empty((*planes[0].shape, 3), np.float32)
    for index, plane in enumerate(planes):
        colour[..., index] = plane
    return colour


def read_codes(source: FrameSource) -> tuple[Colour, list[str]]:
    """A picture's integer codes by their maximum, (H, W, channels) 0 to 1, and the channels' names.

    Raises ``FrameError``.
    """
    config = oiio.ImageSpec()
    config.attribute("oiio:UnassociatedAlpha", 1)  # OpenImageIO premultiplies otherwise
    file = oiio.ImageInput.open(str(source.path), config)
    if file is None:
        reason = oiio.geterror().strip().splitlines()
        raise source.error(f"it cannot be read ({reason[0] if reason else 'unknown format'})", "Write it again.")
    try:
        spec = file.spec()
        if str(spec.format) not in ("uint8", "uint16"):
            raise source.error(f"its values are {spec.format}", "Write 8 or 16 bits, or an EXR.")
        pixels: npt.NDArray[Any] | None = file.read_image(0, 0, 0, spec.nchannels, spec.format.basetype)
        if pixels is None or file.has_error:
            raise source.error(f"its pixels cannot be read ({file.geterror().strip()})", "Write this frame again.")
    finally:
        file.close()
    codes = np.asarray(pixels).reshape(spec.height, spec.width, spec.nchannels)
    return codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max), list(spec.channelnames)


def words(window: Window) -> str:
    size = f"{window.width}x{window.height}"
    return size if (window.x0, window.y0) == (0, 0) else f"{size} at ({window.x0}, {window.y0})"
