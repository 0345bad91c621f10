"""Upstream's older answer, as recorded for a real shot: one frame only, cells without times, no categories.

Promises what it says becomes an `Answer`, and what it does not say is not made up: times are the clip's two ends, and a
thing is an artifact where its own words say so.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from void_engine.reasoning.analysis import Category
from void_engine.reasoning.schema import (
    AffectedObject,
    Answer,
    BadAnswer,
    Cell,
    IntegralBelonging,
    Parsed,
    Sighting,
    validation_text,
)

_ARTIFACT = re.compile(r"\b(shadow|reflection|glow|glare|caustic|silhouette|visual artifact)", re.IGNORECASE)


class _Old(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class _Subject(_Old):
    noun: str = ""


class _OldBelonging(_Old):
    noun: str
    why: str = ""


class _OldAffected(_Old):
    noun: str
    why: str = ""
    current_position: list[Cell] = []
    contact_position: list[Cell] = []
    will_move: bool = False
    movement_path: list[Cell] = []
    final_position: list[Cell] = []
    movement_reasoning: str = ""


class _OldAnswer(_Old):
    primary_subject: _Subject = _Subject()
    integral_belongings: list[_OldBelonging] = []
    affected_subjects: list[_OldAffected]
    scene_description: str = ""
    confidence: float = 0.5
    grid_rows: int = Field(gt=0, le=256)
    grid_cols: int = Field(gt=0, le=256)


def from_recorded(data: dict[str, Any]) -> Parsed:
    """Raises `BadAnswer`."""
    try:
        old = _OldAnswer.model_validate(data)
    except ValidationError as error:
        raise BadAnswer(validation_text(error)) from None
    answer = Answer(
        subject=old.primary_subject.noun,
        integral_belongings=[IntegralBelonging(noun=each.noun, why=each.why) for each in old.integral_belongings],
        affected_objects=[_affected(each) for each in old.affected_subjects],
        scene_description=old.scene_description,
        confidence=old.confidence,
    )
    return Parsed(answer, (old.grid_rows, old.grid_cols))


def _affected(old: _OldAffected) -> AffectedObject:
    said = f"{old.noun} {old.movement_reasoning}"
    category: Category = "artifact" if not old.will_move and _ARTIFACT.search(said) else "physical"
    end = old.final_position or old.movement_path
    ends = [(0.0, old.current_position), (100.0, end)] if old.will_move and end else []
    return AffectedObject(
        noun=old.noun,
        category=category,
        why=old.why,
        sightings=[Sighting(percent=0.0, cells=old.current_position)] if old.current_position else [],
        will_move=old.will_move,
        movement=old.movement_reasoning if old.will_move else "",
        path=[Sighting(percent=percent, cells=cells) for percent, cells in ends if cells],
    )
