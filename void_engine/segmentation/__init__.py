"""Segmentation: from what the artist said of an object, on any frames, to its matte on every frame.

Promises: mattes on the plate's canvas, forwards and backwards in time, each with a confidence; memory that does not
grow with the clip. Must not: know what removing the object changes (`void_engine.reasoning`), or what a quadmask is.
"""

from void_engine.segmentation.interface import Box, Click, Mattes, Pictures, Prompt, Segmenter
from void_engine.segmentation.mattes import MatteStore
from void_engine.segmentation.pictures import ClipPictures

__all__ = ["Box", "Click", "ClipPictures", "MatteStore", "Mattes", "Pictures", "Prompt", "Segmenter"]
