"""From a plate's working space to scene-linear light with Rec.709 primaries, and back.

Promises: float32 of any shape in, a new array of that shape out; finite in, finite out; a space that cannot be
undone is refused when it is named, not when the pixels are lost; threads may share a space. Must not read files,
know an engine, or change how light is shown (that is `void_engine.colour.shaper`).

A value is held where OCIO would overflow: light at ±`LIMIT`, far above any half in any of the usual primaries, and
codes at `WorkingSpace.top_code`, far outside those that a camera writes. A pixel's channels are mixed in float32,
so a channel comes back to about 2e-7 of the *largest* channel of its pixel, not of itself.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from void_client.errors import JobError

from void_engine.colour import config as configs
from void_engine.colour.config import ColourConfig
from void_engine.colour.names import find, refused

Light = npt.NDArray[np.float32]  # (..., 3), scene-linear, Rec.709 primaries, D65
Codes = npt.NDArray[np.float32]  # (..., 3), what the plate's file holds

LIMIT: Final = 2.0**20
_LINEAR: Final = "Linear Rec.709 (sRGB)"  # in the default configuration
_CHUNK: Final = 1 << 16  # pixels at once: temporaries stay small, and other Python threads get their turn
_LIGHTS: Final = (0.02, 0.18, 0.9)  # what every space must hold: colours of Rec.709 in ordinary light
_HDR: Final = 16.0  # scene-linear spaces must hold this many times as much
_CODES: Final = tuple(step / 8 for step in range(1, 8))  # greys; the ends are left out, where cameras' LUTs clamp
_TINTS: Final = (-1 / 16, 0.0, 1 / 16)  # of a code, per channel, around each grey
_SCENE: Final = 4096.0  # codes that mean more light than this, or strongly negative light, are no one's picture
_LOST: Final = {"light": 1e-2, "code": 2e-3}  # of the largest channel; film's densities lose 5e-3 of saturated light
_FLOAT: Final = 2.0**-21  # how well light is known, of the pixel's largest channel, a few roundings included


@dataclass(frozen=True)
class WorkingSpace:
    """Made by `working_space`. ``name`` is the space's own name in ``config``; "" is light as it is, without OCIO."""

    name: str = ""
    config: ColourConfig | None = None
    top_code: float = LIMIT  # codes are held at ± this on the way to light
    _to: Any = field(default=None, repr=False, compare=False)  # PyOpenColorIO.CPUProcessor
    _from: Any = field(default=None, repr=False, compare=False)

    def to_linear(self, rgb: Codes) -> Light:
        return _through(self._to, rgb, self.top_code)

    def from_linear(self, light: Light) -> Codes:
        return _through(self._from, light, LIMIT)

    def identity(self) -> dict[str, str]:
        """What a result's metadata and a stage's key say of it: content only. Empty where no space was named."""
        if self.config is None:
            return {}
        return {"workingSpace": self.name, "ocio": self.config.name, "ocioDigest": self.config.digest}


def working_space(config: ColourConfig | None, name: str) -> WorkingSpace:
    """The space that ``name`` means in ``config``; it may be an alias or a role.

    "" is scene-linear light with Rec.709 primaries, whatever the configuration; no OCIO is loaded for it, and
    ``config`` may be None. Raises `JobError`: ``details["key"]`` is "colour_space" where another name would do, "ocio"
    where the configuration itself is at fault.
    """
    if not name:
        return WorkingSpace()
    config = config or configs.load()
    space = find(config, name)
    role = _interchange(config, space)
    bridge = configs.load().handle
    there = _processor(config, space.getName(), (config.handle, space.getName(), role, bridge, _LINEAR, role))
    back = _processor(config, space.getName(), (bridge, _LINEAR, role, config.handle, space.getName(), role))
    made = WorkingSpace(space.getName(), config, _top_code(there, back, space.getName()), there, back)
    _check_inverse(made, str(space.getEncoding()))
    return made


def _interchange(config: ColourConfig, space: Any) -> str:
    """The role by which light means the same in two configurations; without one OCIO guesses or refuses.

    Display-referred spaces go by their own: by the scene's they would pass the configuration's view transform, and
    its tone mapping.
    """
    library = configs.ocio()
    of_display = space.getReferenceSpaceType() == library.REFERENCE_SPACE_DISPLAY
    role = configs.DISPLAY_ROLE if of_display else configs.SCENE_ROLE
    if config.handle.hasRole(role):
        return role
    target = "CIE XYZ (D65), display-referred" if of_display else "ACES2065-1"
    raise configs.refused(
        f"The OCIO configuration {config.name} has no role {role}, so nothing says what light {space.getName()!r} is.",
        hint=f"Add to its roles `{role}: <its space for {target}>`; or name no working space, if the plate is linear "
        f"with Rec.709 primaries (Nuke's own default is); or use {configs.DEFAULT}.",
        role=role,
    )


def _processor(config: ColourConfig, name: str, ends: tuple[Any, ...]) -> Any:
    library = configs.ocio()
    try:
        whole = library.Config.GetProcessorFromConfigs(*ends)
        # Lossless: the default flags take fast logarithms that are wrong by 3e-5.
        return whole.getOptimizedCPUProcessor(
            library.BIT_DEPTH_F32, library.BIT_DEPTH_F32, library.OPTIMIZATION_LOSSLESS
        )
    except library.ExceptionMissingFile as problem:
        raise configs.refused(
            f"The OCIO configuration {config.name} needs a file that is not there: {problem}",
            hint="Put the LUT where the configuration looks for it, as the server sees it; an .ocioz file holds them.",
        ) from problem
    except configs.failures() as problem:
        raise _not_invertible(WorkingSpace(name, config), f"OCIO says: {problem}") from problem


def _top_code(there: Any, back: Any, name: str) -> float:
    """The largest power of two that `there` brings to numbers, in every corner: a log of 65504 is infinite."""
    for power in range(20, -1, -1):
        corners = np.array(list(itertools.product((-(2.0**power), 2.0**power), repeat=3)), np.float32)
        there.applyRGB(corners)
        if np.isfinite(corners).all():
            break
    else:
        raise refused(name, f"The colour space {name!r} does not bring codes of ±1 to light.", "Name another one.")
    corners = np.array(list(itertools.product((-LIMIT, LIMIT), repeat=3)), np.float32)
    back.applyRGB(corners)
    if np.isnan(corners).any():
        raise refused(name, f"The colour space {name!r} has no code for all light.", "Name another one.")
    return 2.0**power


def _check_inverse(space: WorkingSpace, encoding: str) -> None:
    """There and back from light, then from codes. Raises where a colour is lost, as by a tone mapping's ends."""
    light = _grid(_LIGHTS, (0.0,)) * np.float32(_HDR if encoding == "scene-linear" else 1.0)
    _compare(space, "light", light, space.to_linear(space.from_linear(light)), np.float32(0.0))
    codes = _grid(_TINTS, _CODES)
    meant = space.to_linear(codes)
    high = np.abs(meant).max(axis=1, keepdims=True)
    usual = ((meant >= -high / 8) & (meant <= _SCENE)).all(axis=1)
    if usual.sum() * 4 < len(codes) and not encoding == "log":
        raise _not_invertible(space, "Hardly any code of it means light.")
    codes, meant, near = codes[usual], meant[usual], high[usual] * np.float32(_FLOAT)
    unsure = np.abs(space.from_linear(meant + near) - space.from_linear(meant - near))
    _compare(space, "code", codes, space.from_linear(meant), unsure)


def _grid(values: tuple[float, ...], around: tuple[float, ...]) -> Codes:
    tints = np.array(list(itertools.product(values, repeat=3)), np.float32)
    return np.concatenate([tints + np.float32(grey) for grey in around])


def _compare(space: WorkingSpace, kind: str, sent: Codes, back: Codes, unsure: Any) -> None:
    """Within `_LOST` of the largest channel, or of what float32's light cannot tell apart."""
    lost = (np.abs(back - sent) - unsure).max(axis=1) / np.abs(sent).max(axis=1)
    if lost.size and not lost.max() <= _LOST[kind]:
        worst = int(lost.argmax())
        colour = ", ".join(f"{value:.4g}" for value in sent[worst])
        came = ", ".join(f"{value:.4g}" for value in back[worst])
        raise _not_invertible(space, f"The {kind} {colour} comes back as {came}.")


def _not_invertible(space: WorkingSpace, why: str) -> JobError:
    where, linear = (space.config.name, space.config.scene_linear()[:6]) if space.config else ("", ())
    return refused(
        space.name,
        f"The colour space {space.name!r} of {where} does not lead to light and back. {why}",
        "Name the space that the plate was in before any tone mapping or look"
        + (f"; scene-linear ones are {', '.join(linear)}." if linear else "."),
    )


def _through(processor: Any, rgb: npt.NDArray[np.float32], limit: float) -> npt.NDArray[np.float32]:
    whole = np.array(rgb, dtype=np.float32, order="C")  # a copy: OCIO works in place
    if processor is None:
        return whole
    pixels = whole.reshape(-1, 3)
    for start in range(0, len(pixels), _CHUNK):
        part = pixels[start : start + _CHUNK]
        np.clip(part, -limit, limit, out=part)
        processor.applyRGB(part)
        np.clip(part, -LIMIT, LIMIT, out=part)
    return whole
