"""Colour: between the plate's scene-linear light and the display-referred pictures that models know.

Promises: pure functions of pixels. Must not: read files, or know an engine.
"""
