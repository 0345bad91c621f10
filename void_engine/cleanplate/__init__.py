"""The embedded engine: clean plates from the clip's own frames. No weights, no GPU, no network."""

from void_engine.cleanplate.engine import CleanplateEngine

__all__ = ["CleanplateEngine"]
