"""The generated matte and the composite: where the clean plate goes, and how it is laid in.

Promises: a pixel that the quadmask keeps comes back bit for bit. Must not: read files, or know engines.
"""

from void_engine.compositing.composite import composite
from void_engine.compositing.layers import quadmask_layers, result_layers
from void_engine.compositing.matte import generated_matte

__all__ = ["composite", "generated_matte", "quadmask_layers", "result_layers"]
