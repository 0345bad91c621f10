"""How a job names one frame's file: by number and digest. A room of its own, below `job` and `override_spec`."""

from __future__ import annotations

from dataclasses import dataclass

from .digest import check_digest


@dataclass(frozen=True)
class FrameRef:
    """One frame: its number in the plate, the SHA-256 of its file, the file's bytes. On the wire an array."""

    __wire_array__ = True

    number: int
    sha256: str
    size: int

    def __post_init__(self) -> None:
        check_digest(self.sha256)
        if self.size < 1:
            raise ValueError(f"frame {self.number} is empty")
        if not -1_000_000 <= self.number <= 10_000_000:
            raise ValueError(f"{self.number} is not a frame number")
