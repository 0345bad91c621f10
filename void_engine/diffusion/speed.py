"""What makes the transformer faster, each an option: batched windows, attention kernels, compiled blocks, caches.

Promises: without options the plain eager transformer runs. Must not know the loop.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from void_engine.diffusion.loading import Transformer


@dataclass(frozen=True)
class Speed:
    """``batch_windows``: windows of equal length that go through the transformer together."""

    batch_windows: int = 1

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def prepare(self, transformer: Transformer) -> None:
        """Once, after loading."""

    def window(self, transformer: Transformer, index: int) -> AbstractContextManager[Any]:
        """Around each call: the window's own context, where a cache is in use."""
        return nullcontext()

    def forget(self, transformer: Transformer) -> None:
        """Empty the caches."""
