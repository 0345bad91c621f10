"""Log files of the server and its workers, bounded in size, for the support bundle."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_BYTES = 5_000_000


def log_to_file(path: Path) -> None:
    """Everything that this process logs goes into ``path`` as well; one older file is kept."""
    handler = RotatingFileHandler(path, maxBytes=_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter(FORMAT))
    logging.getLogger().addHandler(handler)
