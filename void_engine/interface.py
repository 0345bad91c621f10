"""The seams of the engine room: what a generation engine is given and what it gives back.

A *canvas* is the union of the plate frames' data windows: every array that an engine sees is
on the canvas, so that frames with different data windows line up. Arrays are indexed
``[y, x]`` from the canvas's top left pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from void_engine.colour.shaper import Shaper

RGB = npt.NDArray[np.float32]  # (H, W, 3), scene-linear light, Rec.709 primaries
Quadmask = npt.NDArray[np.uint8]  # (H, W), values 0 remove, 63 overlap, 127 affected, 255 keep
Mask = npt.NDArray[np.bool_]  # (H, W)
Valid = npt.NDArray[np.bool_]  # (H, W), True where the plate has a pixel
Share = npt.NDArray[np.float32]  # (H, W), 0 to 1

REMOVE, OVERLAP, AFFECTED, KEEP = 0, 63, 127, 255


@dataclass(frozen=True)
class Window:
    """A pixel rectangle, both corners included, y down: as in OpenEXR."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0 + 1

    @property
    def height(self) -> int:
        return self.y1 - self.y0 + 1

    def union(self, other: Window) -> Window:
        return Window(min(self.x0, other.x0), min(self.y0, other.y0), max(self.x1, other.x1), max(self.y1, other.y1))

    def slices_in(self, outer: Window) -> tuple[slice, slice]:
        """Index of this window inside an array that covers ``outer``: ``array[slices]``."""
        return (
            slice(self.y0 - outer.y0, self.y1 - outer.y0 + 1),
            slice(self.x0 - outer.x0, self.x1 - outer.x0 + 1),
        )


class Clip(Protocol):
    """The shot as an engine sees it. Frames are decoded when asked for; do not hold them all."""

    @property
    def numbers(self) -> tuple[int, ...]:
        """Plate frame numbers, ascending. Positions below count from 0 into this."""

    @property
    def canvas(self) -> Window: ...

    @property
    def pixel_aspect(self) -> float:
        """The width of a pixel by its height."""

    def plate(self, position: int) -> RGB:
        """The frame's RGB on the canvas; finite. Treat as read-only."""

    def valid(self, position: int) -> Valid:
        """Where the frame has pixels (inside its own data window). Treat as read-only."""

    def quadmask(self, position: int) -> Quadmask:
        """The resolved quadmask on the canvas. Treat as read-only."""


class CleanFrames(Protocol):
    """Where an engine puts its frames. They survive a killed process: ask ``has`` before doing work again."""

    def has(self, position: int) -> bool: ...

    def write(self, position: int, rgb: RGB, confidence: Share | None = None) -> None:
        """``rgb`` on the canvas, finite; only pixels that the quadmask does not keep are stored. Atomic.

        ``confidence``: 1 where the pixel was seen, in this frame or another, 0 where it was invented; None: all was.
        """

    def read(self, position: int) -> RGB:
        """On the canvas; zero where the quadmask keeps."""


class StageContext(Protocol):
    """A stage's line to whoever runs it."""

    @property
    def scratch(self) -> Path:
        """A folder of this stage's own. It survives a killed process and is deleted once the stage is done."""

    def progress(self, step: int, of: int, note: str = "") -> None:
        """Step ``step`` of ``of`` is done. Raises ``Cancelled`` where the job was cancelled: call it often."""

    def check(self) -> None:
        """Raises ``void_client.errors.Cancelled`` where the job was cancelled."""


@dataclass(frozen=True)
class GenerateRequest:
    """What the job says to the engine. ``options`` were validated by the engine's ``check_options``.

    ``shaper``: how the shot's light is shown to a model.
    """

    seed: int
    prompt: str
    options: Mapping[str, Any]
    shaper: Shaper = field(default_factory=Shaper)


class Line(Protocol):
    """To another process that shares this one's work: a small plain map and raw bytes each way.

    Both raise ``ConnectionError`` where the other has gone. One thread at a time.
    """

    def send(self, header: Mapping[str, Any], data: bytes = b"") -> None: ...

    def receive(self) -> tuple[dict[str, Any], bytes]: ...

    def break_off(self) -> None:
        """From any thread: whoever waits on the line is told that the other has gone."""

    def close(self) -> None: ...


class Helpers(Protocol):
    """Other processes like this one, on devices like its own, that have nothing to do."""

    def ask(self, count: int) -> None:
        """For so many in all. Returns at once; whoever can be spared is among ``arrived`` later."""

    def arrived(self) -> Sequence[Line]:
        """Those that came since it was last asked. Whoever takes one closes it."""


@dataclass(frozen=True)
class Host:
    """What the machine offers an engine; none of it is the job's to say.

    ``device``: cpu or cuda:N. ``models``: the models' folder. ``memory``, ``attention``, ``compile_blocks``: how a
    model is held and run, see docs/performance.md. ``memory_bytes``: what the device has for it; 0 asks the device.
    ``cache``: a folder for what another job may need again.
    ``allow_cloud``: whether a job may choose a reasoner that sends pictures out of the building. ``gemini_model``,
    ``reasoner_url`` and ``reasoner_model``: which model `gemini` and `openai` ask, and where the latter is;
    ``reasoner_in_house``: that address is the building's own, though it is a name. ``ocio``: the OCIO configuration of
    jobs that name none: built in, or a file; the pinned default where empty. ``helpers``: who may share this worker's
    work, where the server lets them.
    """

    device: str = "cpu"
    models: Path | None = None
    memory: str = "auto"
    memory_bytes: int = 0
    attention: str = ""
    compile_blocks: bool = False
    cache: Path | None = None
    allow_cloud: bool = True
    gemini_model: str = ""
    reasoner_url: str = ""
    reasoner_model: str = ""
    reasoner_in_house: bool = False
    ocio: str = ""
    helpers: Helpers | None = None


@runtime_checkable
class Helper(Protocol):
    """An engine that can do a part of another process's work."""

    def help(self, line: Line) -> None:
        """Until the other side lets go. Raises ``ConnectionError`` then, or where it is lost."""


class Engine(Protocol):
    name: str
    version: str  # part of the stage key: change it whenever the pixels change

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with defaults filled in; raises ``JobError`` naming an unknown key or a bad value."""

    def identity(self, options: Mapping[str, Any]) -> dict[str, str]:
        """What decides the pixels besides version and options, such as the weights' digests: it goes into the stage's
        key and the files' metadata. Raises ``EngineUnavailable`` where the engine cannot run here, and says why.
        """

    def warm_up(self) -> None:
        """Whatever is slow once: called before the first job, so that nobody waits for it. Raises as ``identity``."""

    def affected(self, options: Mapping[str, Any]) -> str:
        """What it does with affected pixels (127): remove, keep, or auto: those of physical things stay."""

    def detail_options(self, options: Mapping[str, Any]) -> dict[str, Any] | None:
        """Those of the options that only `void_engine.restore.detail` reads; None: the engine's frames need none."""

    def generate(self, clip: Clip, request: GenerateRequest, out: CleanFrames, context: StageContext) -> dict[str, Any]:
        """Writes every frame that has a pixel to replace, in any order; returns facts for the manifest. Sentences under
        ``warnings`` are for the artist.

        Deterministic: the same clip and request give the same bits, also when resumed after a kill.
        """
