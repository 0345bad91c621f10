"""A picture of one frame: named planes on a data window inside a format."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

RGB = ("rgba.red", "rgba.green", "rgba.blue")
RGBA = (*RGB, "rgba.alpha")


@dataclass
class Image:
    """`window` is x0, y0, x1, y1 (ends exclusive), in pixels from the format's top left; planes are float32."""

    width: int
    height: int
    aspect: float
    window: tuple
    planes: dict
    metadata: dict = field(default_factory=dict)

    def plane(self, channel: str) -> Any:
        """A channel's plane; black where the picture has none."""
        import numpy as np

        x0, y0, x1, y1 = self.window
        found = self.planes.get(channel)
        return np.zeros((y1 - y0, x1 - x0), np.float32) if found is None else found

    def on(self, window: tuple) -> Image:
        """The same picture on another window: black outside its own."""
        if window == self.window:
            return self
        import numpy as np

        x0, y0, x1, y1 = window
        a0, b0, a1, b1 = self.window
        left, top, right, bottom = max(x0, a0), max(y0, b0), min(x1, a1), min(y1, b1)
        planes = {}
        for name, plane in self.planes.items():
            out = np.zeros((y1 - y0, x1 - x0), np.float32)
            if right > left and bottom > top:
                out[top - y0 : bottom - y0, left - x0 : right - x0] = plane[
                    top - b0 : bottom - b0, left - a0 : right - a0
                ]
            planes[name] = out
        return Image(self.width, self.height, self.aspect, window, planes, dict(self.metadata))

    def mapped(self, change: Callable[[str, Any], Any]) -> Image:
        """Each plane replaced by what the function makes of it."""
        planes = {name: change(name, plane) for name, plane in self.planes.items()}
        return Image(self.width, self.height, self.aspect, self.window, planes, dict(self.metadata))

    def with_planes(self, planes: dict) -> Image:
        """These planes beside, or instead of, its own."""
        return Image(self.width, self.height, self.aspect, self.window, {**self.planes, **planes}, dict(self.metadata))


def union(a: tuple, b: tuple) -> tuple:
    """The window that holds both."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def cut(a: tuple, b: tuple) -> tuple:
    """What both windows share; at least a pixel."""
    x0, y0 = max(a[0], b[0]), max(a[1], b[1])
    return x0, y0, max(x0 + 1, min(a[2], b[2])), max(y0 + 1, min(a[3], b[3]))
