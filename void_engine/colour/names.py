"""What people call a colour space, and what the configuration calls it.

Promises: a name is understood only where it can mean one space; otherwise the refusal says what it may have meant.
Must not build transforms or touch pixels.
"""

from __future__ import annotations

import difflib
from typing import Any, Final

from void_client.errors import JobError

from void_engine.colour.config import ColourConfig, ocio

# Names of Nuke's own configuration that other ones lack, where all that they can mean gives the same light.
_SAME: Final = {"srgb": ("srgb_tx", "sRGB - Texture", "sRGB Encoded Rec.709 (sRGB)", "sRGB - Display")}
# Those that may mean several things, which differ: offered, never taken.
_MAYBE: Final = {
    "linear": ("lin_rec709", "scene_linear"),
    "default": ("scene_linear",),
    "rec709": ("Camera Rec.709", "Rec.1886 Rec.709 - Display"),
    "outputsrgb": ("sRGB - Display",),
    "outputrec709": ("Rec.1886 Rec.709 - Display",),
    "alexav3logc": ("ARRI LogC3 (EI800)",),
    "logc": ("ARRI LogC3 (EI800)", "ARRI LogC4"),
    "logc3": ("ARRI LogC3 (EI800)",),
    "slog3": ("S-Log3 S-Gamut3.Cine", "S-Log3 S-Gamut3"),
    "vlog": ("V-Log V-Gamut",),
    "log3g10": ("Log3G10 REDWideGamutRGB",),
    "redlog3g10": ("Log3G10 REDWideGamutRGB",),
    "gamma22": ("Gamma 2.2 Encoded Rec.709",),
    "gamma24": ("Gamma 2.4 Encoded Rec.709",),
}


def find(config: ColourConfig, name: str) -> Any:
    """The PyOpenColorIO.ColorSpace that ``name`` means. Raises `JobError`, ``details`` {"key": "colour_space"}."""
    space = config.handle.getColorSpace(name) or _friendly(config, name.strip())
    if space is None:
        raise _unknown(config, name)
    if space.isData():
        raise refused(
            name,
            f"The colour space {name!r} of {config.name} is for data, not for pictures.",
            "Name the space that the plate's colours are in.",
        )
    return space


def _friendly(config: ColourConfig, name: str) -> Any:
    """``role (space)`` and ``Family/space`` as Nuke's menus write them, other punctuation, and `_SAME`."""
    for wanted in (_role(config, name), name.rpartition("/")[2]):
        space = config.handle.getColorSpace(wanted) if wanted else None
        if space is not None and (wanted != name.rpartition("/")[2] or _in_family(name, space)):
            return space
    alike = {known: space for space in _all(config) for known in [space.getName()] if _plain(name) in _names(space)}
    if len(alike) == 1:
        return next(iter(alike.values()))
    for wanted in _SAME.get(_plain(name), ()) if not alike else ():
        space = config.handle.getColorSpace(wanted)
        if space is not None:
            return space
    return None


def _role(config: ColourConfig, name: str) -> str:
    """The space of ``scene_linear (ACEScg)``, where the role does point to it."""
    role, opened, rest = name.partition(" (")
    if not opened or not rest.endswith(")") or not config.handle.hasRole(role):
        return ""
    target, inside = config.handle.getColorSpace(role), config.handle.getColorSpace(rest[:-1])
    same = target is not None and inside is not None and target.getName() == inside.getName()
    return str(inside.getName()) if same else ""


def _in_family(name: str, space: Any) -> bool:
    family = name.rpartition("/")[0]
    return bool(family) and str(space.getFamily()).lower() == family.lower()


def _all(config: ColourConfig) -> Any:
    library = ocio()
    return config.handle.getColorSpaces(library.SEARCH_REFERENCE_SPACE_ALL, library.COLORSPACE_ALL)


def _names(space: Any) -> set[str]:
    return {_plain(each) for each in (space.getName(), *space.getAliases())}


def _plain(name: str) -> str:
    """Letters and digits only: "Linear Rec709 (sRGB)" is "linearrec709srgb"."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _unknown(config: ColourConfig, name: str) -> JobError:
    maybe = _MAYBE.get(_plain(name), ())
    meant = list(dict.fromkeys(s.getName() for s in map(config.handle.getColorSpace, maybe) if s is not None))
    pictures = [space for space in _all(config) if not space.isData()]
    spoken = {each.casefold(): s.getName() for s in pictures for each in (s.getName(), *s.getAliases())}
    close = difflib.get_close_matches(name.casefold(), spoken, n=5, cutoff=0.6)
    meant = list(dict.fromkeys([*meant, *(spoken[each] for each in close)]))
    linear = [each for each in config.scene_linear() if each not in meant][:8]
    hint = f"Did you mean {' or '.join(repr(each) for each in meant)}? " if meant else ""
    hint += f"Scene-linear spaces there: {', '.join(linear)}." if linear else ""
    return refused(name, f"The OCIO configuration {config.name} has no colour space {name!r}.", hint, close=meant)


def refused(name: str, message: str, hint: str, **details: Any) -> JobError:
    """What every refusal of a space's name is."""
    return JobError(message, hint=hint.strip(), details={"key": "colour_space", "value": name, **details})
