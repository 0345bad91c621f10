"""The reasoner ``manual``: what the artist says is the answer.

Promises: it looks at nothing and sends nothing; an analysis that does not fit the plate is said so. Must not: guess.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from void_engine.reasoning.analysis import Affected, Analysis, Belonging
from void_engine.reasoning.analysis_json import analysis_to_json
from void_engine.reasoning.interface import ReasonRequest
from void_engine.segmentation.interface import Tick


class ManualReasoner:
    name = "manual"
    cloud = False

    def __init__(self, analysis: Analysis | None = None) -> None:
        """``analysis``: as read by `analysis_from_json`; None: the artist's mattes say it all."""
        self._analysis = analysis if analysis is not None else Analysis(reasoner=self.name, confidence=1.0)
        self.version = f"1.{hashlib.sha256(analysis_to_json(self._analysis).encode()).hexdigest()[:16]}"

    def reason(self, request: ReasonRequest, tick: Tick) -> Analysis:
        tick(0, 1, "taking the artist's analysis")
        warnings = (*self._analysis.warnings, *self._misfits(request))
        return replace(self._analysis, warnings=tuple(dict.fromkeys(warnings)))

    def _misfits(self, request: ReasonRequest) -> list[str]:
        plate, found = set(request.numbers), []
        things: list[Belonging | Affected] = [*self._analysis.belongings, *self._analysis.affected]
        for thing in things:
            said = {region.frame for region in thing.regions}
            if isinstance(thing, Affected):
                said |= {point.frame for point in thing.path}
            strange = sorted(said - plate)
            if strange:
                found.append(f"{thing.noun}: the plate has no frame {', '.join(map(str, strange[:5]))}.")
            positions = range(len(request.numbers))
            if thing.matte and not any(request.mattes.has(thing.matte, position) for position in positions):
                found.append(f"{thing.noun}: there is no matte named {thing.matte!r}.")
        return found
