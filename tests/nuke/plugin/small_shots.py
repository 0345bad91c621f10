"""Small real shots and real servers for the plugin's tests: Python 3.9, standard library and `void_client` only.

The server may run on another Python: ``VOID_TEST_SERVER_PYTHON``, else the one that runs the tests.
"""

from __future__ import annotations

import math
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from void_client.settings import CONNECTION_FILE, ClientSettings, load_client_settings

if TYPE_CHECKING:
    import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
WIDTH, HEIGHT, FIRST, LAST = 96, 54, 1001, 1006


def wait_until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """The first true value of ``condition``; fails with ``what`` when it takes too long."""
    give_up = time.monotonic() + patience_s
    while time.monotonic() < give_up:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"waited {patience_s:.0f} s for {what}")


# --- servers


class Server:
    """``void serve`` in a process of its own, at one address also when it is started again."""

    def __init__(self, data: Path, **settings: object) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.endpoint = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        self._settings = {f"VOID_SERVER_{key.upper()}": str(value) for key, value in settings.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def connection(self) -> Path:
        return self.data / CONNECTION_FILE

    @property
    def settings(self) -> ClientSettings:
        return load_client_settings({}, {"timeout_s": 20.0}, self.connection)

    def start(self) -> None:
        self.connection.unlink(missing_ok=True)
        self.data.mkdir(parents=True, exist_ok=True)
        python = os.environ.get("VOID_TEST_SERVER_PYTHON") or sys.executable
        paths = os.pathsep.join(map(str, (REPOSITORY / "nuke_plugin", REPOSITORY / "server", REPOSITORY)))
        environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **self._settings}
        with (self.data / "output.log").open("ab") as log:
            self.process = subprocess.Popen(
                [python, "-m", "void_cli.main", "serve", "--data", str(self.data), "--bind", self.endpoint],
                env=environment,
                stdout=log,
                stderr=log,
            )
        wait_until(self._ready, "the server")

    def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.data / "output.log").read_text()[-3000:]
        return self.connection.is_file()

    def kill(self) -> None:
        """As a power cut would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def point_at(monkeypatch: pytest.MonkeyPatch, server: Server, folder: Path) -> None:
    """The environment in which the plugin finds this server, and nothing of the user's."""
    for name in list(os.environ):
        if name.startswith(("VOID_NUKE_", "VOID_CLIENT_", "VOID_SERVER_", "VOID_STUDIO")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VOID_CONFIG_DIR", str(folder / "config"))
    monkeypatch.setenv("VOID_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("VOID_NUKE_ENDPOINT", server.endpoint)
    monkeypatch.setenv("VOID_NUKE_SERVER_KEY", str(server.settings.server_key))
    monkeypatch.setenv("VOID_NUKE_KEY_FILE", str(server.settings.key_file))


# --- pixels


def write_exr(path: Path, width: int, height: int, channels: Mapping[str, list[float]], aspect: float = 1.0) -> None:
    """Half, uncompressed, scanlines from the top. Written by hand: nothing of ours is tested against itself."""
    names = sorted(channels)
    head = bytearray(struct.pack("<II", 20000630, 2))

    def attribute(name: str, kind: str, data: bytes) -> None:
        head.extend(name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<I", len(data)) + data)

    listed = b"".join(name.encode() + b"\0" + struct.pack("<IIII", 1, 0, 1, 1) for name in names) + b"\0"
    window = struct.pack("<iiii", 0, 0, width - 1, height - 1)
    attribute("channels", "chlist", listed)
    attribute("compression", "compression", b"\0")
    attribute("dataWindow", "box2i", window)
    attribute("displayWindow", "box2i", window)
    attribute("lineOrder", "lineOrder", b"\0")
    attribute("pixelAspectRatio", "float", struct.pack("<f", aspect))
    attribute("screenWindowCenter", "v2f", struct.pack("<ff", 0, 0))
    attribute("screenWindowWidth", "float", struct.pack("<f", 1))
    head.append(0)
    line = 2 * width * len(names)
    start = len(head) + 8 * height
    offsets = b"".join(struct.pack("<Q", start + y * (8 + line)) for y in range(height))
    rows = []
    for y in range(height):
        pixels = b"".join(struct.pack(f"<{width}e", *channels[name][y * width : (y + 1) * width]) for name in names)
        rows.append(struct.pack("<iI", y, line) + pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(head) + offsets + b"".join(rows))


def centre(frame: int) -> tuple[float, float]:
    """Where the disc is, in pixels from the top left: from left to right at half the height."""
    return 24.0 + 9.0 * (frame - FIRST), HEIGHT / 2


def point(frame: int) -> list[float]:
    """The disc's centre as Nuke counts: from the lower left."""
    x, y = centre(frame)
    return [x, HEIGHT - y]


def radius() -> float:
    return 8.0


def inside(frame: int, x: int, y: int) -> bool:
    cx, cy = centre(frame)
    return math.hypot(x + 0.5 - cx, y + 0.5 - cy) <= radius()


def write_plate(folder: Path, frames: range = range(FIRST, LAST + 1), name: str = "plate") -> str:
    """A bright disc that moves over a standing, textured wall; returns the pattern."""
    wall = {
        channel: [
            0.2 + 0.1 * math.sin(x * (0.31 + shift)) * math.cos(y * 0.23) + 0.03 * ((x * 7 + y * 13) % 5)
            for y in range(HEIGHT)
            for x in range(WIDTH)
        ]
        for channel, shift in (("R", 0.0), ("G", 0.07), ("B", 0.13))
    }
    disc = {"R": 2.5, "G": 0.4, "B": 0.1}
    for frame in frames:
        planes = {
            channel: [disc[channel] if inside(frame, i % WIDTH, i // WIDTH) else value for i, value in enumerate(plane)]
            for channel, plane in wall.items()
        }
        planes["A"] = [1.0] * (WIDTH * HEIGHT)
        write_exr(folder / f"{name}.{frame:04d}.exr", WIDTH, HEIGHT, planes)
    return f"{folder.as_posix()}/{name}.%04d.exr"


def write_matte(folder: Path, box: tuple[int, int, int, int] | None = None, name: str = "matte") -> str:
    """The disc's matte in alpha, or a box (x0, y0, x1, y1 from the top left) at rest; returns the pattern."""
    for frame in range(FIRST, LAST + 1):
        alpha = [
            1.0 if (inside(frame, x, y) if box is None else box[0] <= x < box[2] and box[1] <= y < box[3]) else 0.0
            for y in range(HEIGHT)
            for x in range(WIDTH)
        ]
        planes = {channel: alpha for channel in "RGBA"}
        write_exr(folder / f"{name}.{frame:04d}.exr", WIDTH, HEIGHT, planes)
    return f"{folder.as_posix()}/{name}.%04d.exr"


def read_exr(path: Path) -> tuple[dict[str, bytes], tuple[int, int]]:
    """Channel → its pixels' bits as one row of bytes; and the size. Scanlines in half or float, none or ZIP."""
    import OpenEXR

    with OpenEXR.File(str(path), separate_channels=True) as file:
        planes = {name: channel.pixels.tobytes() for name, channel in file.channels().items()}
        shape = next(iter(file.channels().values())).pixels.shape
    return planes, (shape[1], shape[0])
