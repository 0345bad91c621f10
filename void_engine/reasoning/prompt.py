"""The question's text: kept as a data file with its version in the name, filled in for one shot.

Promises: the artist's words go in as data between marks that they cannot close. Must not: be changed without a new
version, or the answers of old questions would be taken for answers to the new one (the digest guards that, too).
"""

from __future__ import annotations

import functools
import hashlib
import json
from importlib import resources
from string import Template

from void_engine.reasoning.samples import Plan

PROMPT_VERSION = "v1"
SCHEMA_VERSION = 1  # of `void_engine.reasoning.schema`, which needs a package that may be missing
MAX_BELONGINGS, MAX_AFFECTED = 5, 8
_MAX_WORDS = 2000  # characters of the artist's note


@functools.cache
def prompt_text() -> str:
    """The file ``prompts/reason.<version>.md``."""
    return (resources.files("void_engine.reasoning.prompts") / f"reason.{PROMPT_VERSION}.md").read_text("utf-8")


def prompt_version() -> str:
    """Changes with the version, the text and the schema."""
    return f"{PROMPT_VERSION}.{hashlib.sha256(prompt_text().encode()).hexdigest()[:8]}.{SCHEMA_VERSION}"


def fill(shown: Plan, *, frames: int, frame_rate: float, words: str, movie: bool) -> str:
    rows, columns = shown.grid
    seconds = f" ({frames / frame_rate:.1f} seconds)" if frame_rate > 0 else ""
    return Template(prompt_text()).substitute(
        stills=len(shown.stills),
        movie="- The whole shot as a small movie, without paint and grid.\n" if movie else "",
        frames=frames,
        seconds=seconds,
        rows=rows,
        columns=columns,
        last_row=rows - 1,
        last_column=columns - 1,
        max_belongings=MAX_BELONGINGS,
        max_affected=MAX_AFFECTED,
        note=quoted(words),
    )


def quoted(words: str) -> str:
    """As a JSON string without angle brackets: a note cannot end its own mark, nor begin another."""
    text = json.dumps(words.strip()[:_MAX_WORDS], ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def label(percent: float, *, marked: bool) -> str:
    """The line before a still."""
    return f"The frame at {percent:g} %" + (", with the object in red:" if marked else ":")


def complaint(fault: str) -> str:
    """What is said after an answer that cannot be used."""
    return (
        f"Your answer cannot be used: {fault}. Answer once more, with one JSON object of the form that was asked for "
        "and nothing else."
    )
