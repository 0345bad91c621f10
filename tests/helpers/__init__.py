"""Shared test support: fakes that keep the engine's promises, and the real shots."""
