"""Reasoning: what removing the object changes in the shot.

Promises: a typed `Analysis` in words and regions, and mattes where they are known by the pixel; honest confidences.
Nothing leaves the building unless the job chose a cloud reasoner. Must not: make a quadmask (`void_engine.quadmask`).
"""

from void_engine.reasoning.analysis import Affected, Analysis, Belonging, Region, Waypoint
from void_engine.reasoning.interface import Reasoner, ReasonRequest

__all__ = ["Affected", "Analysis", "Belonging", "ReasonRequest", "Reasoner", "Region", "Waypoint"]
