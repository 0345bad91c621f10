"""The plate's grain: measured on what the plate keeps, laid on pixels that were made without any.

Promises grain of the plate's strength by level, channel and frequency, other on every frame, the same for the same
seed. Must not read files or know a clip: frames come from the caller, encoded by ``void_engine.cleanplate.shaper``.
"""

from void_engine.grain.measuring import measure
from void_engine.grain.model import GrainModel
from void_engine.grain.synthesis import synthesise

__all__ = ["GrainModel", "measure", "synthesise"]
