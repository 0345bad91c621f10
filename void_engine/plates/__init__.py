"""Plates: EXR sequences in and out, bit for bit.

Promises: what the quadmask keeps, what is not the chosen layer, and every header attribute come out as they went in; a
file that cannot be trusted is refused by name before its pixels are decoded; written files are whole or not there.
Must not: convert colour, know models, sockets or nuke.

``FileClip`` is in ``void_engine.plates.clip``: it needs the quadmask room, which needs this one.
"""

from void_engine.plates.folder import FrameFolder
from void_engine.plates.frames import NativeRGB, PlateFrame, pixel_digest, read_frame
from void_engine.plates.header import PlateHeader, RgbLayer, read_header
from void_engine.plates.limits import DEFAULT_LIMITS, Limits
from void_engine.plates.part import ChannelInfo, PartHeader
from void_engine.plates.sequence import check_sequence
from void_engine.plates.source import FrameSource
from void_engine.plates.write import write_frame

__all__ = [
    "DEFAULT_LIMITS",
    "ChannelInfo",
    "FrameFolder",
    "FrameSource",
    "Limits",
    "NativeRGB",
    "PartHeader",
    "PlateFrame",
    "PlateHeader",
    "RgbLayer",
    "check_sequence",
    "pixel_digest",
    "read_frame",
    "read_header",
    "write_frame",
]
