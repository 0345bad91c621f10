"""How fast plates are read and written: ours against raw OpenImageIO, one thread each, in the same run.

``python tests/benchmarks/plates_io.py [frames]``: 4K half RGBA, ZIP. OpenImageIO does no check, no fsync and no rename.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import OpenImageIO as oiio

from void_engine.plates import pixel_digest, read_frame, write_frame

WIDTH, HEIGHT = 4096, 2160


def plate() -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    """A ramp with grain: it compresses as a scan does."""
    rng = np.random.default_rng(1)
    ramp = np.linspace(0.01, 4, WIDTH, dtype=np.float32)[None, :, None]
    return (ramp * (1 + 0.05 * rng.standard_normal((HEIGHT, WIDTH, 4), dtype=np.float32))).astype(np.float16)


def oiio_write(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.float16]]) -> None:
    spec = oiio.ImageSpec(WIDTH, HEIGHT, 4, oiio.HALF)
    spec.attribute("compression", "zip")
    file = oiio.ImageOutput.create(str(path))
    if not (file.open(str(path), spec) and file.write_image(pixels) and file.close()):
        raise OSError(file.geterror())


def oiio_read(path: Path) -> None:
    file = oiio.ImageInput.open(str(path))
    if file.read_image(oiio.HALF) is None:
        raise OSError(file.geterror())
    file.close()


def best(work: Callable[[], object], turns: int) -> float:
    """Seconds of the fastest of ``turns`` runs: the one that other processes disturbed least."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    oiio.attribute("threads", 1)
    oiio.attribute("exr_threads", -1)
    OpenEXR.set_global_thread_count(0)
    pixels = plate()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source.exr"
        oiio_write(source, pixels)
        frame = read_frame(source, frame=1)
        work: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "read": (lambda: read_frame(source, frame=1), lambda: oiio_read(source)),
            "write": (lambda: write_frame(folder / "ours.exr", frame), lambda: oiio_write(folder / "oiio.exr", pixels)),
        }
        print(f"{WIDTH}x{HEIGHT} half RGBA ZIP, {source.stat().st_size / 1e6:.1f} MB a file, best of {turns}")
        for what, (ours, theirs) in work.items():
            a, b = best(ours, turns), best(theirs, turns)
            print(f"{what:6s} ours {1 / a:5.2f} frames/s, OpenImageIO {1 / b:5.2f} frames/s, ratio {b / a:.2f}")
        for what, alone in {"rgb()": frame.rgb, "pixel_digest()": lambda: pixel_digest(frame)}.items():
            print(f"{what:15s} {1000 * best(alone, turns):6.1f} ms")


if __name__ == "__main__":
    main()
