"""Colour: between the plate's working space, scene-linear light and the display-referred pictures that models know.

Promises: pure functions of pixels; of files only OCIO configurations, in `config`. Must not know an engine.
"""
