"""Bringing what a model made back to the plate: where it works, and how its pixels get the plate's detail and grain."""
