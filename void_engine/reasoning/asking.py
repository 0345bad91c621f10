"""Asking a vision-language model, whichever it is: question, cache, one more chance for a bad answer, the `Analysis`.

Promises: the same question is sent once; what it cost is logged and in ``facts``. What the two services differ in is
in `gemini` and `openai_compatible`. Importing them needs no package of the extra: `check` says what is missing.
"""

from __future__ import annotations

import functools
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from void_client.errors import EngineUnavailable, JobFailed

from void_engine.reasoning import prompt, samples
from void_engine.reasoning.analysis import Analysis
from void_engine.reasoning.cache import AnswerCache, KnownAnswer
from void_engine.reasoning.interface import ReasonRequest
from void_engine.reasoning.retry import Attempts, Patience
from void_engine.reasoning.samples import Movie, Still
from void_engine.segmentation.interface import Tick

log = logging.getLogger(__name__)
_MAX_REPEATED = 8000  # characters of a bad answer that are shown to the model again
_HINT = "Choose another reasoner (`motion` needs no network), or give mattes of your own (`manual`)."


@dataclass(frozen=True)
class Question:
    """``words``: the prompt. Each still goes with its label before it."""

    words: str
    stills: tuple[Still, ...]
    movie: Movie | None


@dataclass(frozen=True)
class Complaint:
    """An answer that could not be used, and what is said of it."""

    answer: str
    words: str


@dataclass(frozen=True)
class Reply:
    text: str
    tokens_in: int = 0
    tokens_out: int = 0
    cut: bool = False  # it ran into the model's limit


Ask = Callable[[Complaint | None, float], Reply]  # seconds that the call may take


class AskingReasoner(ABC):
    """A `void_engine.reasoning.interface.Reasoner`. ``facts``: of the last call, plain data."""

    name: str
    cloud: bool

    def __init__(
        self, *, model: str, patience: Patience | None, stills: int, clip_bytes: int, answers: Path | None
    ) -> None:
        """``clip_bytes``: the movie's limit, 0 for no movie. ``answers``: a folder that outlives the job."""
        self.model = model
        self.version = f"{prompt.prompt_version()} {model} {stills} {clip_bytes}"
        self.patience = patience or Patience()
        self.facts: dict[str, Any] = {}
        self._stills = stills
        self._clip_bytes = clip_bytes
        self._answers = answers

    @abstractmethod
    def check(self) -> None:
        """Raises ``EngineUnavailable`` where a key, an address or a package is missing. Sends nothing."""

    @abstractmethod
    def _identity(self) -> str:
        """Whom is asked: part of the answers' key."""

    @abstractmethod
    def _session(self, question: Question, attempts: Attempts) -> AbstractContextManager[Ask]:
        """How to ask ``question``: each call raises `Away`, or what the job ends with."""

    def reason(self, request: ReasonRequest, tick: Tick) -> Analysis:
        self.check()
        from void_engine.reasoning.schema import read_answer, to_analysis

        started = time.monotonic()
        shown = samples.plan(request, self._stills, tick)
        movie = self._clip_bytes > 0 and len(request.pictures) > 1
        said = f"{self._identity()}\0{self.version}\0{request.words.strip()}"
        key = samples.content_key(request, shown, said, tick, movie=movie)
        cache = AnswerCache(self._answers or request.scratch / "answers")
        known, cached = cache.read(key), True
        self.facts = {"reasoner": self.name, "model": self.model, "prompt": prompt.prompt_version(), "question": key}
        if known is None:
            known, cached = self._asked(request, shown, movie, tick), False
            cache.write(key, known)
        cost = {"tokens_in": known.tokens_in, "tokens_out": known.tokens_out, "calls": known.calls}
        self.facts |= {"cached": cached, **cost, "latency_s": known.latency_s}
        log.info(
            "%s (%s): %d tokens in, %d out, %d calls, %.1f s%s; %.1f s with preparing",
            self.name, self.model, known.tokens_in, known.tokens_out, known.calls, known.latency_s,
            " when it was asked; nothing sent now" if cached else "", time.monotonic() - started,
        )  # fmt: skip
        return to_analysis(read_answer(known.text), reasoner=self.name, numbers=request.numbers, grid=shown.grid)

    def _asked(self, request: ReasonRequest, shown: samples.Plan, movie: bool, tick: Tick) -> KnownAnswer:
        words = prompt.fill(
            shown, frames=len(request.pictures), frame_rate=request.frame_rate, words=request.words, movie=movie
        )
        clip = samples.movie(request, self._clip_bytes, tick) if movie else None
        question = Question(words, tuple(samples.stills(request, shown)), clip)
        self.facts["stills"] = len(question.stills)
        if clip is not None:
            self.facts |= {"clip_bytes": len(clip.mp4), "clip_every": clip.every}
        attempts = Attempts(self.name, self.patience, tick)
        started = time.monotonic()
        try:
            with self._session(question, attempts) as ask:
                known = self._conversed(ask, attempts)
        finally:
            self.facts["tries"] = attempts.made
        return replace(known, latency_s=round(time.monotonic() - started, 3))

    def _conversed(self, ask: Ask, attempts: Attempts) -> KnownAnswer:
        """One more chance for an answer that cannot be used, with what is wrong with it."""
        from void_engine.reasoning.schema import BadAnswer, read_answer

        complaint: Complaint | None = None
        tokens_in = tokens_out = 0
        fault = ""
        for calls in (1, 2):
            reply = attempts.call(f"asking {self.name} ({self.model})", functools.partial(ask, complaint))
            tokens_in, tokens_out = tokens_in + reply.tokens_in, tokens_out + reply.tokens_out
            try:
                read_answer(reply.text)
            except BadAnswer as error:
                fault = f"{error}, and was cut off: be brief" if reply.cut else str(error)
                log.warning("%s: an answer that cannot be used: %s", self.name, fault)
                complaint = Complaint(reply.text[:_MAX_REPEATED], prompt.complaint(fault))
                continue
            return KnownAnswer(self.name, self.model, reply.text, tokens_in, tokens_out, calls)
        raise JobFailed(
            f"{self.name} ({self.model}) gave no usable answer, twice: {fault}.",
            hint=_HINT,
            details={"tokens_in": tokens_in, "tokens_out": tokens_out},
        )


def check_key(key: str, name: str) -> None:
    """Raises ``EngineUnavailable`` for what cannot be a key: a library would repeat it in its error."""
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise EngineUnavailable(
            f"The key in {name} cannot be one: it has spaces, line breaks or letters that no key has.",
            hint="Set it again, without quotes and line breaks.",
        )


def refused(service: str, reason: str) -> JobFailed:
    """The service will not look at these pictures."""
    return JobFailed(f"{service} refused to look at this shot ({reason}).", hint=f"Asking again will not help. {_HINT}")
