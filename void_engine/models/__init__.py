"""Models: which ones VOID needs, where they lie, whether they are whole.

Promises: weights are safetensors; a file that was fetched is the one that was pinned, or it is not there; what is
wrong is told with the file's name and what to do. Must not: load a tensor, unpickle anything, run code of a
repository, or reach the network elsewhere than in ``hub``.
"""

from void_engine.models.fingerprint import describe_weights, fingerprint
from void_engine.models.folder import ModelFolder, find_models

__all__ = ["ModelFolder", "describe_weights", "find_models", "fingerprint"]
