"""Draws docs/images/nuke_day.jpg: the artist's day of docs/artist.md on the real shot `lime`, at an eighth of its size.

``python tests/helpers/nuke_day_picture.py OUT.jpg``: Nuke's stand-in, the plugin, a real server with `cleanplate`. What
the pictures show is what the node gave; only the marks of the clicks and the captions are drawn.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
for _folder in ("tests", "tests/nuke_standin", "tests/nuke/plugin", "nuke_plugin"):
    sys.path.insert(0, str(ROOT / _folder))

import standin  # noqa: E402 - after the path
from small_shots import Server  # noqa: E402

from helpers.shots import write_sequences  # noqa: E402

SCALE, FRAME, CLICKS = 0.125, 1025, ((2458, 1389), (2348, 1915))
SHOWN = (1012, 1025, 1038)
STEPS = ("1  click on the object", "2  the quadmask, in review", "3  the clean plate")


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        pattern, _ = write_sequences("lime", work / "plate", scale=SCALE)
        with Server(work / "server") as server:
            os.environ.update(
                VOID_CONFIG_DIR=str(work / "config"),
                VOID_STATE_DIR=str(work / "state"),
                VOID_NUKE_ENDPOINT=server.endpoint,
                VOID_NUKE_SERVER_KEY=str(server.settings.server_key),
                VOID_NUKE_KEY_FILE=str(server.settings.key_file),
            )
            standin.reset()
            standin.start(ROOT / "nuke_plugin")
            masks, clean = solved(work, pattern)
            rows = [pictures(pattern, clicked), pictures(masks, None, pattern), pictures(clean, None)]
        cv2.imwrite(str(out), laid_out(rows), [cv2.IMWRITE_JPEG_QUALITY, 82])


def solved(work: Path, pattern: str) -> tuple[str, str]:
    """The day: node, clicks, solve, review, approve. Returns the patterns of quadmask and result."""
    import nuke
    from void_nuke.node import VoidNode

    nuke.scriptSaveAs((work / "lime_comp_v001.nk").as_posix(), 1)
    nuke.pluginAddPath(str(ROOT / "gizmos"))
    read = nuke.nodes.Read(file=pattern, first=1001, last=1046, origfirst=1001, origlast=1046)
    node = nuke.createNode("VOID", inpanel=False)
    node.setInput(0, read)
    nuke.frame(FRAME)
    for x, y in CLICKS:
        node["point"].setValue([x * SCALE, 2160 * SCALE - y * SCALE])
        standin.press(node["add_positive"])

    def reached(*states: str) -> Any:
        def there() -> bool:
            name = VoidNode(node).state.name
            if name == "failed":
                raise RuntimeError(node["status"].value())
            return name in states

        return there

    standin.press(node["solve"])
    standin.pump(reached("masks ready"), 900)
    masks = node["mask_file"].value()
    standin.press(node["approve"])
    standin.pump(reached("ready"), 1800)
    return masks, node["result_file"].value()


def pictures(pattern: str, mark: Any, under: str = "") -> list[np.ndarray]:
    """Three frames; a quadmask over its plate."""
    import OpenEXR

    made = []
    for number in SHOWN:
        with OpenEXR.File(pattern % number, separate_channels=True) as file:
            planes = {name: channel.pixels.astype(np.float32) for name, channel in file.channels().items()}
        if under:
            picture = coloured(planes["R"], pictures(under, None)[SHOWN.index(number)])
        else:
            picture = display(np.dstack([planes[name] for name in "BGR"]))
        made.append(mark(picture, number) if mark else picture)
    return made


def display(light: np.ndarray) -> np.ndarray:
    light = np.clip(light, 0.0, 1.0)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(code * 255.0 + 0.5).astype(np.uint8)


def coloured(mask: np.ndarray, plate: np.ndarray) -> np.ndarray:
    """Remove red, affected blue, overlap violet: half over the plate."""
    code, picture = np.rint(mask * 255), plate.astype(np.float32)
    for value, colour in ((0, (40, 40, 230)), (63, (200, 40, 200)), (127, (230, 150, 40))):
        picture[code == value] = 0.5 * picture[code == value] + 0.5 * np.array(colour, np.float32)
    return np.asarray(picture.astype(np.uint8))


def clicked(picture: np.ndarray, number: int) -> np.ndarray:
    if number == FRAME:
        for x, y in CLICKS:
            at = (round(x * SCALE), round(y * SCALE))
            cv2.drawMarker(picture, at, (0, 0, 0), cv2.MARKER_CROSS, 44, 8)
            cv2.drawMarker(picture, at, (80, 255, 80), cv2.MARKER_CROSS, 40, 4)
    return picture


def laid_out(rows: list[list[np.ndarray]]) -> np.ndarray:
    wide, high, bar = 400, 225, 26
    sheet = np.full((len(rows) * (high + bar), wide * len(SHOWN), 3), 32, np.uint8)
    for row, (text, found) in enumerate(zip(STEPS, rows, strict=True)):
        top = row * (high + bar)
        cv2.putText(sheet, text, (8, top + 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (230, 230, 230), 1, cv2.LINE_AA)
        for column, picture in enumerate(found):
            small = cv2.resize(picture, (wide, high), interpolation=cv2.INTER_AREA)
            sheet[top + bar : top + bar + high, column * wide : (column + 1) * wide] = small
    return sheet


if __name__ == "__main__":
    main(Path(sys.argv[1]))
