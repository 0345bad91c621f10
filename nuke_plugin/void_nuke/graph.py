"""What is inside the VOID node, as data: the nodes in the order in which a script builds them.

Promises: classes and knobs of Nuke 14 to 17 only; every expression is Tcl or Nuke's own, so that a machine without the
plugin renders the node; where the generated matte is 0 the plate's pixels pass untouched. Must not: import nuke.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Union

from .description import INPUTS, LAYERS, MISSING, OUTPUTS


@dataclass(frozen=True)
class Expression:
    """A knob's value that Nuke works out at each frame."""

    text: str


@dataclass(frozen=True)
class ChannelLink:
    """A channel knob that follows another one."""

    knob: str


Value = Union[str, bool, int, Expression, ChannelLink]


@dataclass(frozen=True)
class Inner:
    """A node inside the Group. ``inputs``: names of nodes before it, input 0 first."""

    kind: str
    name: str
    inputs: tuple[str, ...] = ()
    knobs: tuple[tuple[str, Value], ...] = ()
    place: tuple[int, int] = (0, 0)


_RESULT_SET: Final = "[string length [value parent.result_file]]"
_MASK_SET: Final = "[string length [value parent.mask_file]]"
_INSIDE: Final = "rint(frame) >= parent.{0}_first && rint(frame) <= parent.{0}_last"  # as a Read rounds
_FAIL: Final = f"parent.missing_result == {MISSING.index('fail')}"
_SHOWS_REVIEW: Final = f"parent.output == {OUTPUTS.index('quadmask')} && {_MASK_SET} > 0"

# 0 the plate, 1 the result, 2 the error: never solved, rendered without the interface, and that is to fail.
_WHICH_RESULT: Final = Expression(
    f"{_RESULT_SET} > 0 ? ({_INSIDE.format('result')}) : ($gui == 0 && {_FAIL} && !({_SHOWS_REVIEW}) ? 2 : 0)"
)
_WHICH_MASK: Final = Expression(f"{_MASK_SET} > 0 && {_INSIDE.format('mask')}")
_WHICH_OUTPUT: Final = Expression(f"$gui && {_MASK_SET} > 0 ? {OUTPUTS.index('quadmask')} : parent.output")
"""A quadmask in review is shown in the interface, whatever the artist chose; a farm renders what is chosen."""

# A Read of a file that cannot be there is the one error that every Nuke reports with a text of ours. Where there is a
# result the name is empty, so that tools that look for missing files do not find it.
NO_RESULT: Final = "has no result - solve it, or set missing result to plate on its Farm tab"
_NO_RESULT_FILE: Final = f"[if {{{_RESULT_SET} == 0}} {{concat [value parent.name] {NO_RESULT}.exr}}]"

# Outside of every region, and outside of the data window, is keep.
_GREY_QUADMASK: Final = (
    "void_quadmask.primary > 0.5 ? (void_quadmask.overlap > 0.5 ? 63.0/255.0 : 0)"
    " : (void_quadmask.affected > 0.5 ? 127.0/255.0 : 1)"
)


# Every pixel of a result is in a region; a frame that is not there is black in all of them.
_PRESENT: Final = "void_quadmask.primary + void_quadmask.affected + void_quadmask.keep > 0 ? 1 : 0"


def _read(name: str, what: str, on_error: Value, place: tuple[int, int]) -> Inner:
    """``what``: whose knobs hold its file and frames. ``raw``: the bits are the plate's own working space. Outside of
    its frames nothing is held."""
    first, last = Expression(f"parent.{what}_first"), Expression(f"parent.{what}_last")
    knobs: tuple[tuple[str, Value], ...] = (
        ("file_type", "exr"),
        ("file", f"[value parent.{what}_file]"),
        ("first", first),
        ("last", last),
        ("before", "black"),
        ("after", "black"),
        ("origfirst", first),
        ("origlast", last),
        ("on_error", on_error),
        ("raw", True),
    )
    return Inner("Read", name, (), knobs, place)


def _copy(name: str, base: str, source: str, channels: tuple[str, ...], place: tuple[int, int]) -> Inner:
    """The channels of ``source`` on ``base``, whose data window stays."""
    pairs: list[tuple[str, Value]] = []
    for number, channel in enumerate(channels):
        pairs += [(f"from{number}", channel), (f"to{number}", channel)]
    return Inner("Copy", name, (base, source), (*pairs, ("bbox", "B")), place)


def _grey(name: str, base: str, expression: str, place: tuple[int, int]) -> Inner:
    return Inner("Expression", name, (base,), tuple((f"expr{channel}", expression) for channel in range(3)), place)


def _write(name: str, source: str, channels: str, datatype: str, place: tuple[int, int]) -> Inner:
    """Off, so that rendering a script never writes it; the plugin turns it on for the length of an export.

    The knobs of the EXR writer exist only once ``file_type`` is set: it stands before them.
    """
    knobs: tuple[tuple[str, Value], ...] = (
        ("channels", channels),
        ("raw", True),
        ("file_type", "exr"),
        ("datatype", datatype),
        ("compression", "Zip (1 scanline)"),
        ("metadata", "all metadata"),
        ("create_directories", True),
        ("disable", True),
    )
    return Inner("Write", name, (source,), knobs, place)


def _layer(name: str) -> tuple[str, ...]:
    return tuple(f"{name}.{channel}" for channel in LAYERS[name])


def nodes() -> tuple[Inner, ...]:
    """Every node, each after those that it needs."""
    plate, primary, affected, quadmask = (one.node for one in INPUTS)
    inputs = tuple(
        Inner("Input", one.node, (), (("number", one.number),) if one.number else (), (one.number * 220, -300))
        for one in INPUTS
    )
    exports = (
        _write("ExportPlate", plate, "rgba", "32 bit float", (-220, -180)),
        _pick("PrimaryPick", primary, "primary_channel", (220, -240)),
        _write("ExportPrimary", "PrimaryPick", "alpha", "16 bit half", (220, -180)),
        _pick("AffectedPick", affected, "affected_channel", (440, -240)),
        _write("ExportAffected", "AffectedPick", "alpha", "16 bit half", (440, -180)),
        _write("ExportQuadmask", quadmask, "rgb", "16 bit half", (660, -180)),
    )
    return (*inputs, *exports, *_result(plate), *_review(), *_output(plate))


def _pick(name: str, source: str, knob: str, place: tuple[int, int]) -> Inner:
    """The chosen channel, as alpha: where the server looks for a matte."""
    knobs: tuple[tuple[str, Value], ...] = (("from0", ChannelLink(f"parent.{knob}")), ("to0", "rgba.alpha"))
    return Inner("Copy", name, (source, source), knobs, place)


def _result(plate: str) -> tuple[Inner, ...]:
    """``ResultSwitch``: the result where there is one, else the plate without the layers of a VOID node before."""
    bare: tuple[tuple[str, Value], ...] = (("operation", "remove"),)
    bare += tuple((f"channels{number or ''}", layer) for number, layer in zip((0, 2, 3), LAYERS))
    error: tuple[tuple[str, Value], ...] = (("file_type", "exr"), ("file", _NO_RESULT_FILE), ("on_error", "error"))
    return (
        Inner("Remove", "PlateBare", (plate,), bare, (-220, 0)),
        _read("ResultRead", "result", Expression("parent.missing_result"), (220, -60)),
        Inner("BlackOutside", "ResultEdge", ("ResultRead",), (), (220, 0)),
        Inner("Read", "NoResult", (), error, (440, -60)),
        Inner(
            "Switch",
            "ResultSwitch",
            ("PlateBare", "ResultEdge", "NoResult"),
            (("which", _WHICH_RESULT),),
            (220, 60),
        ),
    )


def _review() -> tuple[Inner, ...]:
    """``MaskSwitch``: the quadmask in review, else the result's."""
    return (
        _read("MaskRead", "mask", Expression("parent.missing_result"), (660, -60)),
        Inner("BlackOutside", "MaskEdge", ("MaskRead",), (), (660, 0)),
        Inner("Switch", "MaskSwitch", ("ResultSwitch", "MaskEdge"), (("which", _WHICH_MASK),), (440, 120)),
    )


def _output(plate: str) -> tuple[Inner, ...]:
    matte, confidence = _layer("void_matte")[0], _layer("void_conf")[0]
    keymix: tuple[tuple[str, Value], ...] = (
        ("channels", "rgb"),
        ("maskChannel", matte),
        ("bbox", "B"),
        ("mix", Expression("parent.mix")),
    )
    generated: tuple[tuple[str, Value], ...] = (("channels", "rgba"), ("maskChannel", "rgba.alpha"), ("bbox", "B"))
    shown = ("LayersMore", "Generated", "GreyQuadmask", "GreyMatte", "GreyConfidence", plate)
    return (
        Inner("Keymix", "Composite", (plate, "ResultSwitch", "ResultSwitch"), keymix, (0, 120)),
        _copy("Layers", "Composite", "MaskSwitch", _layer("void_quadmask"), (0, 180)),
        _copy("LayersMore", "Layers", "ResultSwitch", (matte, confidence), (0, 240)),
        Inner("Expression", "Present", ("ResultSwitch",), (("expr3", _PRESENT),), (330, 240)),
        Inner("Keymix", "Generated", ("LayersMore", "ResultSwitch", "Present"), generated, (220, 300)),
        _grey("GreyQuadmask", "LayersMore", _GREY_QUADMASK, (330, 300)),
        _grey("GreyMatte", "LayersMore", matte, (440, 300)),
        _grey("GreyConfidence", "LayersMore", confidence, (550, 300)),
        Inner("Switch", "OutputSwitch", shown, (("which", _WHICH_OUTPUT),), (0, 380)),
        Inner("Output", "Output1", ("OutputSwitch",), (), (0, 440)),
    )
