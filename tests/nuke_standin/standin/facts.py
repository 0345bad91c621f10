"""The table of facts (facts.json), and what it lacks: common knobs, Root's, the EXR writer's."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from . import knob_choice, knob_numbers, knob_text
from .knob_base import ALWAYS_SAVE, DO_NOT_WRITE, INVISIBLE, Knob

KNOBS: dict[str, Any] = {
    name: cls
    for module in (knob_choice, knob_numbers, knob_text)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and issubclass(cls, Knob) and name.endswith(("_Knob", "PythonKnob"))
}
BY_ID = {cls._USER_ID: cls for cls in KNOBS.values() if "_USER_ID" in vars(cls) and cls._USER_ID is not None}
BY_ID[1], BY_ID[7], BY_ID[20] = knob_text.EvalString_Knob, knob_numbers.Double_Knob, knob_text.Tab_Knob
BY_ID[8] = knob_numbers.Array_Knob
OPEN_LISTS = {
    "colorspace",
    "in_colorspace",
    "out_colorspace",
    "ocioColorspace",
    "view",
    "display",
    "workingSpaceLUT",
    "OCIO_config",
    "monitorLut",
    "int8Lut",
    "int16Lut",
    "logLut",
    "floatLut",
    "first_part",
    "heroview",
    "hero_view",
}
COMPRESSIONS = [
    "none",
    "Zip (1 scanline)",
    "Zip (16 scanlines)",
    "PIZ Wavelet (32 scanlines)",
    "RLE",
    "B44",
    "B44A",
    "DWAA",
    "DWAB",
]
EXR_KNOBS: list[tuple] = [
    ("datatype", "Enumeration_Knob", "16 bit half", ["16 bit half", "32 bit float"]),
    ("compression", "Enumeration_Knob", "Zip (1 scanline)", COMPRESSIONS),
    ("autocrop", "Boolean_Knob", False, None),
    ("write_ACES_compliant_EXR", "Boolean_Knob", False, None),
    ("heroview", "Enumeration_Knob", "main", ["main"]),
    (
        "metadata",
        "Enumeration_Knob",
        "default metadata",
        [
            "no metadata",
            "default metadata",
            "default metadata and exr/*",
            "all metadata except input/*",
            "all metadata",
        ],
    ),
    ("noprefix", "Boolean_Knob", False, None),
    (
        "interleave",
        "Enumeration_Knob",
        "channels, layers and views",
        ["channels, layers and views", "channels and layers", "channels"],
    ),
    ("standard_layer_name_format", "Boolean_Knob", False, None),
    ("write_full_layer_names", "Boolean_Knob", False, None),
    ("truncateChannelNames", "Boolean_Knob", False, None),
    ("first_part", "Enumeration_Knob", "rgba", ["rgba"]),
    ("dw_compression_level", "Array_Knob", 45.0, None),
]
COMMON: list[tuple] = [
    ("name", "String_Knob", ""),
    ("help", "Multiline_Eval_String_Knob", ""),
    ("onCreate", "PythonKnob", ""),
    ("onDestroy", "PythonKnob", ""),
    ("knobChanged", "PythonKnob", ""),
    ("updateUI", "PythonKnob", ""),
    ("autolabel", "PythonKnob", ""),
    ("tile_color", "ColorChip_Knob", 0),
    ("gl_color", "ColorChip_Knob", 0),
    ("label", "Multiline_Eval_String_Knob", ""),
    ("note_font", "String_Knob", "Verdana"),
    ("note_font_size", "Int_Knob", 11),
    ("note_font_color", "ColorChip_Knob", 0),
    ("selected", "Boolean_Knob", False),
    ("xpos", "Int_Knob", 0),
    ("ypos", "Int_Knob", 0),
    ("icon", "String_Knob", ""),
    ("indicators", "Double_Knob", 0),
    ("hide_input", "Boolean_Knob", False),
    ("cached", "Boolean_Knob", False),
    ("disable", "Disable_Knob", False),
    ("dope_sheet", "Boolean_Knob", False),
    ("bookmark", "Boolean_Knob", False),
    ("postage_stamp", "Boolean_Knob", False),
    ("lifetimeStart", "Double_Knob", 0),
    ("lifetimeEnd", "Double_Knob", 0),
    ("useLifetime", "Boolean_Knob", False),
]
EXTRA: dict[str, list[tuple]] = {  # knobs that the scan does not list
    "Input": [("number", "Int_Knob", 0)],
    "Read": [("version", "Int_Knob", 0), ("origset", "Boolean_Knob", False), ("noprefix", "Boolean_Knob", False)],
    "Write": [("version", "Int_Knob", 0), ("checkHashOnRead", "Boolean_Knob", True)],
    "Shuffle2": [
        ("fromInput1", "Opaque_Knob", ""),
        ("fromInput2", "Opaque_Knob", ""),
        ("in1", "Channel_Knob", "rgba"),
        ("in2", "Channel_Knob", "none"),
        ("out1", "Channel_Knob", "rgba"),
        ("out2", "Channel_Knob", "none"),
        ("mappings", "Opaque_Knob", ""),
    ],
    "Viewer": [("viewerInputOrder", "Opaque_Knob", "")],
}
ROOT: list[tuple] = [
    ("name", "String_Knob", ""),
    ("label", "Multiline_Eval_String_Knob", ""),
    ("project_directory", "File_Knob", ""),
    ("frame", "Double_Knob", 1),
    ("first_frame", "Int_Knob", 1),
    ("last_frame", "Int_Knob", 100),
    ("lock_range", "Boolean_Knob", False),
    ("fps", "Double_Knob", 24),
    ("format", "Format_Knob", ""),
    ("proxy", "Boolean_Knob", False),
    ("proxy_type", "Enumeration_Knob", "format", ["format", "scale"]),
    ("proxy_format", "Format_Knob", "1024 778 0 0 1024 778 1 1K_Super_35(full-ap)"),
    ("proxy_scale", "Double_Knob", 0.5),
    ("proxySetting", "Enumeration_Knob", "if nearest", ["never", "if nearest", "if larger", "always"]),
    ("views", "Multiline_Eval_String_Knob", "main #ffffff"),
    ("hero_view", "Enumeration_Knob", "main", ["main"]),
    ("colorManagement", "Enumeration_Knob", "Nuke", ["Nuke", "OCIO"]),
    (
        "OCIO_config",
        "Enumeration_Knob",
        "nuke-default",
        [
            "nuke-default",
            "aces_1.2",
            "fn-nuke_cg-config-v1.0.0_aces-v1.3_ocio-v2.1",
            "fn-nuke_studio-config-v1.0.0_aces-v1.3_ocio-v2.1",
            "custom",
        ],
    ),
    ("customOCIOConfigPath", "File_Knob", ""),
    ("workingSpaceLUT", "Enumeration_Knob", "linear", ["linear", "scene_linear"]),
    ("monitorLut", "Enumeration_Knob", "sRGB", ["sRGB"]),
    ("int8Lut", "Enumeration_Knob", "sRGB", ["sRGB"]),
    ("int16Lut", "Enumeration_Knob", "sRGB", ["sRGB"]),
    ("logLut", "Enumeration_Knob", "Cineon", ["Cineon"]),
    ("floatLut", "Enumeration_Knob", "linear", ["linear"]),
    ("onScriptLoad", "PythonKnob", ""),
    ("onScriptSave", "PythonKnob", ""),
    ("onScriptClose", "PythonKnob", ""),
    ("onCreate", "PythonKnob", ""),
    ("onDestroy", "PythonKnob", ""),
    ("knobChanged", "PythonKnob", ""),
    ("updateUI", "PythonKnob", ""),
    ("beforeRender", "PythonKnob", ""),
    ("beforeFrameRender", "PythonKnob", ""),
    ("afterFrameRender", "PythonKnob", ""),
    ("afterRender", "PythonKnob", ""),
    ("renderProgress", "PythonKnob", ""),
    ("lut", "Opaque_Knob", ""),
    ("free_type_font_path", "File_Knob", ""),
    ("nodeuserid", "String_Knob", ""),
]
SIZES = {"Array_Knob": 1, "Transform2d_Knob": 1}


@cache
def table() -> dict:
    """facts.json"""
    loaded = json.loads((Path(__file__).parent / "facts.json").read_text(encoding="utf-8"))
    return dict(loaded["classes"])


def known(class_name: str) -> bool:
    return class_name in table()


def inputs(class_name: str) -> tuple[int, int]:
    """(fewest, most) inputs of a class."""
    low, high = table()[class_name]["inputs"]
    return int(low), int(high)


def make(name: str, kind: str, default: Any = None, values: Any = None) -> Knob:
    """One built-in knob."""
    cls = KNOBS.get(kind)
    if cls is None or cls is knob_numbers.Transform2d_Knob or cls is knob_choice.Link_Knob:
        knob: Any = knob_text.Opaque_Knob(name)
        knob._kind = kind
        return knob
    knob = cls(name)
    if isinstance(knob, knob_choice.Enumeration_Knob):
        knob._values = list(values or [])
        knob._open = name in OPEN_LISTS or not knob._values
        if isinstance(default, str):
            knob._parts = (float(knob._index(default.split("\t")[0]) if default in knob._values or knob._open else 0),)
    elif isinstance(knob, knob_numbers.Array_Knob):
        if isinstance(default, (int, float)):
            knob._parts = (knob._cast(default),) * knob._size()
    elif isinstance(knob, knob_choice.Channel_Knob):
        knob._raw = default if isinstance(default, str) else "none"
    elif isinstance(knob, (knob_text.String_Knob, knob_choice.Format_Knob, knob_text.Opaque_Knob)):
        knob._text = str(default) if isinstance(default, str) else ""
    knob._default = knob._state()
    return knob


def knobs_of(class_name: str) -> list:
    """All knobs of a new node of a class: its own, then the common ones."""
    found = []
    for name, fact in table()[class_name]["knobs"].items():
        knob = make(name, fact["type"], fact.get("default"), fact.get("values"))
        if name in ("executing", "reading"):
            knob._flags |= DO_NOT_WRITE | INVISIBLE
        found.append(knob)
    found += [make(*fact) for fact in EXTRA.get(class_name, []) if fact[0] not in table()[class_name]["knobs"]]
    found += [make(*fact) for fact in COMMON if fact[0] not in table()[class_name]["knobs"]]
    for knob in found:
        if knob._name in ("name", "xpos", "ypos"):
            knob._flags |= ALWAYS_SAVE
    return found
