"""Detection: from words to boxes on one picture.

Promises: boxes in the picture's own pixels, the surest first, each with the word that it answers; nothing where a word
is not seen. Must not: know time or mattes (`void_engine.segmentation`), or what a thing is looked for
(`void_engine.detecting`).
"""

from void_engine.detection.interface import Detection, Detector

__all__ = ["Detection", "Detector"]
