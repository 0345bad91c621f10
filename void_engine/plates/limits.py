"""What a frame may ask of this machine, judged on the header before a pixel is decoded.

Promises: a small file that unfolds into a huge one (62 KB of DWAA can hold 768 MB) is refused on its header.
Must not: read anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one frame; sizes in bytes.

    ``max_pixels``: width x height of one part's data window or of the display window.
    ``max_channels`` and ``max_decoded_bytes``: over all parts. ``max_file_bytes`` bounds what is read from disk.
    """

    max_pixels: int = 16384 * 16384
    max_channels: int = 1024
    max_decoded_bytes: int = 8 << 30
    max_file_bytes: int = 9 << 30
    max_header_bytes: int = 64 << 20
    max_parts: int = 256


DEFAULT_LIMITS: Final = Limits()
