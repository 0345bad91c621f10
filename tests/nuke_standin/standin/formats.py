"""Formats: sizes with a pixel aspect and a name."""

from __future__ import annotations

from typing import Any, Optional

from .guard import guarded
from .state import S

BUILT_IN = (
    (640, 480, 1.0, "PC_Video"),
    (720, 486, 0.91, "NTSC"),
    (720, 576, 1.09, "PAL"),
    (1280, 720, 1.0, "HD_720"),
    (1920, 1080, 1.0, "HD_1080"),
    (3840, 2160, 1.0, "UHD_4K"),
    (1024, 778, 1.0, "1K_Super_35(full-ap)"),
    (914, 778, 2.0, "1K_Cinemascope"),
    (2048, 1556, 1.0, "2K_Super_35(full-ap)"),
    (1828, 1556, 2.0, "2K_Cinemascope"),
    (2048, 1080, 1.0, "2K_DCP"),
    (4096, 3112, 1.0, "4K_Super_35(full-ap)"),
    (4096, 2160, 1.0, "4K_DCP"),
    (256, 256, 1.0, "square_256"),
    (512, 512, 1.0, "square_512"),
    (1024, 1024, 1.0, "square_1K"),
    (2048, 2048, 1.0, "square_2K"),
)


@guarded
class Format:
    """width, height, x, y, r, t, pixel aspect."""

    def __init__(
        self,
        width: int,
        height: int,
        x: int = 0,
        y: int = 0,
        r: Optional[int] = None,
        t: Optional[int] = None,
        pixelAspect: float = 1.0,
    ) -> None:
        self._w, self._h, self._x, self._y = int(width), int(height), x, y
        self._r, self._t = self._w if r is None else r, self._h if t is None else t
        self._aspect, self._name = float(pixelAspect), ""

    def width(self) -> int:
        return self._w

    def height(self) -> int:
        return self._h

    def x(self) -> int:
        return self._x

    def y(self) -> int:
        return self._y

    def r(self) -> int:
        return self._r

    def t(self) -> int:
        return self._t

    def pixelAspect(self) -> float:
        return self._aspect

    def name(self) -> str:
        return self._name

    def setName(self, name: str) -> None:
        self._name = name

    def add(self, name: str) -> None:
        self._name = name
        S.formats[:] = [f for f in S.formats if f._name != name] + [self]

    def __repr__(self) -> str:
        return f"<Format {self._w} {self._h} {self._aspect} {self._name}>"


def reset() -> None:
    S.formats = []
    for width, height, aspect, name in BUILT_IN:
        made = Format.__new__(Format)
        made._w, made._h, made._x, made._y, made._r, made._t = width, height, 0, 0, width, height
        made._aspect, made._name = aspect, name
        S.formats.append(made)


def parse(text: str) -> Any:
    """`W H [x y r t] aspect name`."""
    words = text.split()
    numbers = []
    while words and words[0].replace(".", "", 1).replace("-", "", 1).isdigit():
        numbers.append(float(words.pop(0)))
    if len(numbers) in (2, 3):
        made = Format(int(numbers[0]), int(numbers[1]), pixelAspect=numbers[2] if len(numbers) == 3 else 1.0)
    elif len(numbers) == 7:
        made = Format(*(int(n) for n in numbers[:6]), numbers[6])
    else:
        raise RuntimeError(f"not a format: {text!r}")
    made._name = " ".join(words)
    return made


def find(text: str) -> Any:
    """A format by name, or made of its description (which then has that name in the script)."""
    for known in S.formats:
        if known._name and known._name == text:
            return known
    try:
        made = parse(text)
    except RuntimeError:
        return None
    for known in S.formats:
        if (known._w, known._h, known._aspect) == (made._w, made._h, made._aspect) and made._name in ("", known._name):
            return known
    if made._name:
        made.add(made._name)
    return made


def script_text(found: Any) -> str:
    """As a script has it."""
    return f"{found._w} {found._h} {found._x} {found._y} {found._r} {found._t} {found._aspect:g} {found._name}".rstrip()


def of(width: int, height: int, aspect: float) -> Any:
    """The named format of a size, or a nameless one."""
    for known in S.formats:
        if (known._w, known._h, round(known._aspect, 4)) == (width, height, round(aspect, 4)):
            return known
    return Format(width, height, pixelAspect=aspect)
