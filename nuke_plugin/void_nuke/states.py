"""The states of a VOID node, and what the artist reads of each. Pure: no nuke.

The state stands in the knob ``void_state`` as JSON, and in ``status`` as text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Optional

from .parts import STATES

NOT_SOLVED: Final = "not solved"
EXPORTING: Final = "exporting"
QUEUED: Final = "queued"
REASONING: Final = "reasoning"
MASKS_READY: Final = "masks ready"
GENERATING: Final = "generating"
READY: Final = "ready"
STALE: Final = "stale"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
OFFLINE: Final = "server offline"

ALL: Final = (
    NOT_SOLVED, EXPORTING, QUEUED, REASONING, MASKS_READY, GENERATING, READY, STALE, FAILED, CANCELLED, OFFLINE,
)  # fmt: skip
UNDER_WAY: Final = frozenset({EXPORTING, QUEUED, REASONING, MASKS_READY, GENERATING, OFFLINE})
"""A job is on its way, or waits for the artist or the server."""

STAGES: Final[Mapping[str, tuple[str, str]]] = {
    "hash": (EXPORTING, "reading the plate"),
    "upload": (EXPORTING, "sending the plate"),
    "ingest": (REASONING, "checking the plate"),
    "segment": (REASONING, "following the object"),
    "reason": (REASONING, "what its removal changes"),
    "detect": (REASONING, "looking for what was named"),
    "hint": (REASONING, "looking for what the overrides name"),
    "quadmask": (REASONING, "drawing the quadmask"),
    "generate": (GENERATING, "making clean pixels"),
    "detail": (GENERATING, "detail and grain"),
    "restore": (GENERATING, "laying them into the plate"),
    "deliver": (GENERATING, "writing the frames"),
    "download": (GENERATING, "fetching the result"),
}
"""A job's stage → the state it is shown as, and in words."""

_COLOURS: Final = {state.name: state.tile for state in STATES}


@dataclass(frozen=True)
class State:
    """``what`` happened and what to ``do``, in sentences. ``step`` of ``of``: progress. ``before``: jobs ahead in the
    queue. ``eta_s``: seconds left, where known. ``version``: "v003". ``job_id``: the job this is about.

    ``looked``: the node's fingerprint that the job is of.
    """

    name: str = NOT_SOLVED
    what: str = ""
    do: str = ""
    step: int = 0
    of: int = 0
    before: int = 0
    eta_s: Optional[float] = None
    version: str = ""
    job_id: str = ""
    looked: str = ""

    @property
    def under_way(self) -> bool:
        return self.name in UNDER_WAY

    @property
    def colour(self) -> int:
        return _COLOURS[self.name]

    def text(self) -> str:
        """One or two sentences for the status knob."""
        head = self.name
        if self.name == QUEUED:
            head += f": {self.before} job{'s' if self.before != 1 else ''} before it" if self.before else ": next"
        elif self.of:
            head += f" {self.step} of {self.of}"
            if self.eta_s is not None:
                head += f", {spoken(self.eta_s)} left"
        elif self.name in (READY, STALE) and self.version:
            head += f" {self.version}"
        said = " ".join(part for part in (self.what, self.do) if part)
        return f"{head}. {said}" if said else head

    def label(self) -> str:
        """A few words for the node in the graph."""
        if self.name == GENERATING and self.of:
            return f"generating {self.step}/{self.of}"
        if self.name in (READY, STALE) and self.version:
            return f"{self.name} {self.version}"
        if self.name == QUEUED and self.before:
            return f"queued {self.before}"
        return self.name

    def to_json(self) -> str:
        empty = asdict(State())
        return json.dumps({k: v for k, v in asdict(self).items() if k == "name" or v != empty[k]}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> State:
        """What cannot be read counts as not solved."""
        try:
            value = json.loads(text)
        except ValueError:
            return cls()
        return cls._of(value) if isinstance(value, dict) else cls()

    @classmethod
    def _of(cls, value: dict[str, Any]) -> State:
        known = {f.name for f in fields(cls)}
        state = cls(**{k: v for k, v in value.items() if k in known})
        return state if state.name in ALL else cls()


def spoken(seconds: float) -> str:
    """ "about 3 min" """
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"
