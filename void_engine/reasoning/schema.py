"""The answer that is asked of a vision-language model, and the way from it to an `Analysis`.

Promises: what lies outside the grid or the clip is moved inside, with a warning; what cannot be meant (no JSON, a
missing key, an unknown category) is a `BadAnswer` that says what is wrong, in words that the model can be told.
Cells are [row, column], counted from 0 at the top left; times are percent of the clip. Must not: use the network.
"""

from __future__ import annotations

import copy
import json
import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from void_engine.reasoning.analysis import Affected, Analysis, Belonging, Category, Region, Waypoint
from void_engine.reasoning.prompt import MAX_AFFECTED, MAX_BELONGINGS

_DIGITS = 5  # of a share: people read and edit it
_MAX_SIGHTINGS, _MAX_CHARS, _MAX_TEXT = 64, 1200, 400_000

T = TypeVar("T")
Cell = Annotated[list[int], Field(min_length=2, max_length=2)]


class BadAnswer(Exception):
    """The model's answer cannot be used; the message says why."""


class _Model(BaseModel):
    # Extra keys are a chatty model's, and harmless; NaN and infinity are legal to Python's JSON reader only.
    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Sighting(_Model):
    """Where a thing is at one time."""

    percent: float = Field(description="when, in percent of the clip: 0 first frame, 100 last frame")
    cells: list[Cell] = Field(description="every grid cell that it touches then, as [row, column]")


class IntegralBelonging(_Model):
    noun: str
    why: str
    sightings: list[Sighting] = Field(default=[], description="where it is, at several of the labelled frames")


class AffectedObject(_Model):
    noun: str
    category: Category = Field(
        description="artifact: a shadow, reflection or glow that goes with the object; physical: a thing that stays"
    )
    why: str
    first_percent: float = Field(default=0.0, description="when it is first affected, in percent of the clip")
    last_percent: float = Field(default=100.0, description="when it is last affected, in percent of the clip")
    sightings: list[Sighting] = Field(default=[], description="where it is in the clip as filmed, at several times")
    currently_moving: bool = Field(default=False, description="whether it moves in the clip as filmed")
    should_have_stayed: bool = Field(
        default=False, description="whether it moves only because of the object, and would have stayed where it was"
    )
    will_move: bool = Field(default=False, description="whether it moves otherwise once the object is gone")
    movement: str = Field(default="", description="how, in one sentence; empty if it does not")
    path: list[Sighting] = Field(
        default=[], description="where it would be instead without the object, in order of time; empty if unchanged"
    )
    confidence: float = Field(default=0.5, description="0 to 1")


class Answer(_Model):
    subject: str = Field(default="", description="what the object marked in red is")
    integral_belongings: list[IntegralBelonging] = Field(description=f"at most {MAX_BELONGINGS}")
    affected_objects: list[AffectedObject] = Field(description=f"at most {MAX_AFFECTED}, the most visible first")
    scene_description: str = Field(description="the scene after the removal, one or two sentences")
    confidence: float = Field(default=0.5, description="how sure the whole answer is, 0 to 1")


@dataclass(frozen=True)
class Parsed:
    """``grid``: (rows, columns) that the answer itself names; None: those that were asked for."""

    answer: Answer
    grid: tuple[int, int] | None = None


def json_schema(*, closed: bool = False) -> dict[str, Any]:
    """`Answer` for structured output: no references, no titles, no defaults, every key required.

    ``closed``: says that there are no other keys, which OpenAI's strict mode demands and Gemini refuses.
    """
    schema = Answer.model_json_schema()
    definitions = schema.pop("$defs", {})

    def plain(node: Any) -> Any:
        if isinstance(node, list):
            return [plain(each) for each in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return plain(copy.deepcopy(definitions[node["$ref"].rpartition("/")[2]]))
        # Bounds on lists inside lists make some services refuse the schema as too complex: they are checked here.
        dropped = ("title", "default", "minItems", "maxItems")
        if node.get("type") != "object":
            return {key: plain(value) for key, value in node.items() if key not in dropped}
        properties = {name: plain(value) for name, value in node["properties"].items()}
        made: dict[str, Any] = {"type": "object", "properties": properties, "required": list(properties)}
        return {**made, "additionalProperties": False} if closed else made

    made: dict[str, Any] = plain(schema)
    return made


def read_answer(text: str) -> Parsed:
    """The answer in ``text``: JSON, bare or fenced or after a model's thoughts. Raises `BadAnswer`."""
    if not text.strip():
        raise BadAnswer("the answer is empty")
    if len(text) > _MAX_TEXT:
        raise BadAnswer(f"the answer has {len(text)} characters, over the limit of {_MAX_TEXT}")
    data = _json_object(text)
    if "affected_subjects" in data:
        from void_engine.reasoning.recorded import from_recorded

        return from_recorded(data)
    try:
        return Parsed(Answer.model_validate(data))
    except ValidationError as error:
        raise BadAnswer(validation_text(error)) from None


def validation_text(error: ValidationError) -> str:
    """The first few faults, each with the key that it is at."""
    faults = [
        f"{'.'.join(str(part) for part in each['loc']) or 'the answer'}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False)
    ]
    more = f" (and {len(faults) - 6} more)" if len(faults) > 6 else ""
    return "the answer does not have the form that was asked for: " + "; ".join(faults[:6]) + more


def _json_object(text: str) -> dict[str, Any]:
    fault = ""
    bare = re.sub(r"\A.*?</think>", "", text, flags=re.DOTALL).strip()
    fenced = re.findall(r"```(?:json)?\s*\n(.*?)```", bare, flags=re.DOTALL)
    start, end = bare.find("{"), bare.rfind("}")
    for candidate in (bare, *fenced, bare[start : end + 1] if start >= 0 else ""):
        try:
            data = json.loads(candidate)
        except (ValueError, RecursionError) as error:
            fault = fault or str(error)
            continue
        if isinstance(data, dict):
            return data
        fault = "its outermost value is not an object"
    raise BadAnswer(f"the answer is not JSON: {fault}")


def to_analysis(parsed: Parsed, *, reasoner: str, numbers: tuple[int, ...], grid: tuple[int, int]) -> Analysis:
    """``numbers``: the plate's frame numbers by position. ``grid``: (rows, columns) that was asked for."""
    answer = parsed.answer
    mapper = _Mapper(numbers, parsed.grid or grid)
    belongings = mapper.few(answer.integral_belongings, MAX_BELONGINGS, "belongings")
    affected = mapper.few(answer.affected_objects, MAX_AFFECTED, "affected things")
    return Analysis(
        reasoner=reasoner,
        scene=mapper.words(answer.scene_description, "the scene"),
        belongings=tuple(mapper.belonging(each) for each in belongings),
        affected=tuple(mapper.affected(each) for each in affected),
        confidence=mapper.share(answer.confidence, "the whole"),
        warnings=tuple(dict.fromkeys(mapper.warnings)),
    )


@dataclass
class _Mapper:
    numbers: tuple[int, ...]
    grid: tuple[int, int]
    warnings: list[str] = field(default_factory=list)

    def belonging(self, given: IntegralBelonging) -> Belonging:
        noun = self.words(given.noun, "a belonging")
        return Belonging(noun, self.words(given.why, noun), self._regions(given.sightings, noun))

    def affected(self, given: AffectedObject) -> Affected:
        noun = self.words(given.noun, "an affected thing")
        first, last = self.frame(given.first_percent, noun), self.frame(given.last_percent, noun)
        if first > last:
            self.warnings.append(f"{noun}: it was said to be affected from {first} to {last}; turned round.")
            first, last = last, first
        path, movement = self._path(given.path, noun), self.words(given.movement, noun)
        stays = given.should_have_stayed and given.category == "physical"
        start = self._path(sorted(given.sightings, key=lambda each: each.percent)[:1], noun)
        if stays and not path and start:
            path = tuple(Waypoint(frame, start[0].x, start[0].y) for frame in dict.fromkeys((first, last)))
            movement = movement or "It stays where it was before the object moved it."
        # `will_move` of an Analysis: it is elsewhere than in the plate. What should have stayed is, too.
        will_move = given.category == "physical" and (given.will_move or bool(stays and path))
        return Affected(
            noun=noun,
            category=given.category,
            why=self.words(given.why, noun),
            first_frame=first,
            last_frame=last,
            will_move=will_move,
            movement=movement,
            regions=self._regions(given.sightings, noun),
            path=path if will_move else (),
            confidence=self.share(given.confidence, noun),
        )

    def few(self, given: list[T], limit: int, what: str) -> list[T]:
        if len(given) > limit:
            self.warnings.append(f"The answer names {len(given)} {what}; only the first {limit} are taken.")
        return given[:limit]

    def frame(self, percent: float, noun: str) -> int:
        held = min(100.0, max(0.0, percent))
        if held != percent:
            self.warnings.append(f"{noun}: a time of {percent:g} % lies outside the clip; taken as {held:g} %.")
        return self.numbers[math.floor(held / 100 * (len(self.numbers) - 1) + 0.5)]

    def share(self, value: float, noun: str) -> float:
        held = min(1.0, max(0.0, value))
        if held != value:
            self.warnings.append(f"{noun}: a confidence of {value:g} is not within 0 and 1; taken as {held:g}.")
        return held

    def words(self, text: str, what: str) -> str:
        text = " ".join(text.split())
        if len(text) <= _MAX_CHARS:
            return text
        self.warnings.append(f"{what[:80]}: a text of {len(text)} characters was cut to {_MAX_CHARS}.")
        return text[:_MAX_CHARS]

    def _regions(self, sightings: list[Sighting], noun: str) -> tuple[Region, ...]:
        rows, columns = self.grid
        made: list[Region] = []
        for each in self.few(sightings, _MAX_SIGHTINGS, f"sightings of {noun!r}"):
            frame = self.frame(each.percent, noun)
            for top, left, bottom, right in rectangles(self._cells(each.cells, noun)):
                box = (left / columns, top / rows, right / columns, bottom / rows)
                made.append(Region(frame, *(round(share, _DIGITS) for share in box)))
        return tuple(sorted(made, key=lambda region: region.frame))

    def _path(self, path: list[Sighting], noun: str) -> tuple[Waypoint, ...]:
        """The middle of the cells at each time; of two at one frame the first counts."""
        rows, columns = self.grid
        made: dict[int, Waypoint] = {}
        for each in self.few(path, _MAX_SIGHTINGS, f"points of the path of {noun!r}"):
            cells = self._cells(each.cells, noun)
            if cells:
                frame = self.frame(each.percent, noun)
                y = sum(row + 0.5 for row, _ in cells) / len(cells) / rows
                x = sum(column + 0.5 for _, column in cells) / len(cells) / columns
                made.setdefault(frame, Waypoint(frame, round(x, _DIGITS), round(y, _DIGITS)))
        return tuple(made[frame] for frame in sorted(made))

    def _cells(self, cells: list[Cell], noun: str) -> set[tuple[int, int]]:
        rows, columns = self.grid
        held = set()
        for row, column in cells:
            inside = min(rows - 1, max(0, row)), min(columns - 1, max(0, column))
            if inside != (row, column):
                self.warnings.append(f"{noun}: cells outside the {rows} x {columns} grid were moved to its edge.")
            held.add(inside)
        return held


def rectangles(cells: set[tuple[int, int]]) -> list[tuple[int, int, int, int]]:
    """Cells as (top, left, bottom, right), far edges outside, that cover them exactly: equal runs are stacked."""
    runs: list[tuple[int, int, int]] = []
    for row, column in sorted(cells):
        if runs and runs[-1][0] == row and runs[-1][2] == column:
            runs[-1] = (row, runs[-1][1], column + 1)
        else:
            runs.append((row, column, column + 1))
    made: dict[tuple[int, int, int], tuple[int, int, int, int]] = {}  # by (bottom, left, right)
    for row, left, right in runs:
        top = made.pop((row, left, right), (row,))[0]
        made[row + 1, left, right] = (top, left, row + 1, right)
    return sorted(made.values())
