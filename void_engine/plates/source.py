"""Which frame of which input a file is, and the error that names all three.

Promises: every ``FrameError`` of this room says the input, the frame number and the file, in words and in ``details``.
Must not: read anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from void_client.errors import FrameError


@dataclass(frozen=True)
class FrameSource:
    """``input`` is "plate" or "quadmask"; ``frame`` the plate's frame number."""

    input: str
    frame: int
    path: Path

    def error(self, what: str, hint: str, **details: object) -> FrameError:
        """A ``FrameError`` saying ``what`` is wrong with this frame; ``what`` is a clause without a full stop."""
        where: Mapping[str, object] = {"input": self.input, "frame": self.frame, "file": str(self.path)}
        return FrameError(
            f"The {self.input}'s frame {self.frame} ({self.path}): {what}.", hint=hint, details={**where, **details}
        )

    def unreadable(self, error: OSError) -> FrameError:
        """A ``FrameError`` for a file that the system does not give."""
        if isinstance(error, FileNotFoundError):
            return self.error("the file is missing", "Render or copy this frame, or take it out of the frame range.")
        return self.error(f"the file cannot be read ({error.strerror or error})", "Check the file and its permissions.")
