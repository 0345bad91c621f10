"""Answers on disk, by the hash of all that was asked: a question is paid for once.

Promises: an answer is whole or not there; a file that cannot be read counts as not there. Holds the model's words and
what they cost; no pictures and no key. Must not: delete; the folder's owner does.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from void_client.errors import VoidError

from void_engine.atomic import write_atomically

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KnownAnswer:
    """``text``: as the model gave it. ``latency_s``: of all calls that it took."""

    reasoner: str
    model: str
    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 1
    latency_s: float = 0.0


class AnswerCache:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> KnownAnswer | None:
        try:
            data = json.loads(self._path(key).read_text("utf-8"))
            names = {field.name for field in fields(KnownAnswer)}
            known = KnownAnswer(**{name: data[name] for name in names})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known if isinstance(known.text, str) else None

    def write(self, key: str, answer: KnownAnswer) -> None:
        """An answer that cannot be kept is only logged: it was paid for, and is used all the same."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(key), [json.dumps(asdict(answer), indent=1).encode()])
        except (OSError, VoidError) as error:
            log.warning("the reasoner's answer was not kept: %s", error)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.json"
