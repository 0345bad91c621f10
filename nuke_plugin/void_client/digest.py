"""SHA-256 of files and of plain data: how frames, jobs and results are named."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

_DIGEST = re.compile(r"\A[0-9a-f]{64}\Z")
_BLOCK = 1 << 20


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of the file's bytes. Raises ``OSError``."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while True:
            block = stream.read(_BLOCK)
            if not block:
                return digest.hexdigest()
            digest.update(block)


def canonical_json(value: Any) -> bytes:
    """One spelling for equal data: keys sorted, no white space, UTF-8, no NaN (``ValueError``)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_data(value: Any) -> str:
    return hashlib.sha256(canonical_json(value)).hexdigest()


def check_digest(text: str) -> str:
    """``text`` if it is 64 lower-case hexadecimal digits, else ``ValueError``."""
    if not _DIGEST.match(text):
        raise ValueError(f"{text[:80]!r} is not a SHA-256 digest")
    return text
