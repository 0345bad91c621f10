"""What working space each side's EXRs are shown from: as told, else as the results say themselves.

Promises: what was told counts for both sides; a clip that says nothing is taken for what the other one says, since it
is most often its plate; whatever is assumed or could not be done is a note. Must not: convert pixels.
"""

from __future__ import annotations

from collections.abc import Mapping

from void_client.errors import EngineUnavailable, JobError

from void_engine.colour import config as configs
from void_engine.colour.working import WorkingSpace, working_space
from void_engine.looking.footage import Footage
from void_engine.looking.said import Said


def name_spaces(space: str, ocio: str, recorded: Mapping[str, str], *sides: Footage) -> list[str]:
    """Gives the sides their ``space_name`` and ``to_linear``; returns notes.

    ``space``, ``ocio``: as told, or "". ``recorded``: side's name → the OCIO file that its job was given.
    Raises ``JobError`` (told, and no such space or configuration), ``EngineUnavailable`` (told, and no OCIO here).
    """
    scenes = [side for side in sides if side.scene_linear]
    if space:
        told = working_space(configs.load(ocio), space)
        for side in scenes:
            _give(side, told)
        return []
    notes = []
    for side in scenes:
        speaker = side if side.said.facts else next((each for each in scenes if each.said.space), side)
        if not speaker.said.space:
            continue
        try:
            _give(side, _space_of(speaker.said, ocio or recorded.get(speaker.name, ""), given=bool(ocio)))
        except (JobError, EngineUnavailable) as problem:
            notes.append(
                f"{side.name} is {speaker.said.space} and is shown as if it were linear Rec.709: {problem.message} "
                "Give --ocio, or --colour-space."
            )
        else:
            how = "as it says itself" if speaker is side else f"as {speaker.name} says of itself"
            notes.append(f"{side.name} is shown from {side.space_name}, {how}.")
    return notes


def _give(side: Footage, space: WorkingSpace) -> None:
    side.space_name, side.to_linear = space.name, space.to_linear


def _space_of(said: Said, ocio: str, *, given: bool) -> WorkingSpace:
    """``ocio``: the configuration where it is none that is built in; ``given`` by hand, it is believed."""
    source = ocio if given or not said.builtin else said.ocio
    if not source:
        raise JobError(f"Its OCIO configuration {said.ocio} is a file that is not at hand.")
    config = configs.load(source)
    if not given and config.digest != said.facts.get("ocioDigest", config.digest):
        raise JobError(f"The OCIO configuration {source} has changed since.")
    return working_space(config, said.space)
