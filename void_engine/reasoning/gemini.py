"""The reasoner ``gemini``: Google's Gemini API, through google-genai. Pictures leave the building.

Promises: nothing is sent anywhere but to ``base_url`` (no redirects, no other service by an environment variable);
the key is in no log, error or file; an uploaded clip is deleted again. The library's own retries stay off: they ignore
``Retry-After`` and give up on dropped connections.
"""

from __future__ import annotations

import io
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from void_client.errors import EngineUnavailable, JobFailed, VoidError

from void_engine.reasoning import prompt
from void_engine.reasoning.asking import Ask, AskingReasoner, Complaint, Question, Reply, check_key, refused
from void_engine.reasoning.retry import Attempts, Away, Patience, retry_after, without

if TYPE_CHECKING:
    from google import genai
    from google.genai import types

log = logging.getLogger(__name__)
DEFAULT_MODEL = "gemini-3.8-flash"  # what the library's own documentation (3.4) uses; 2.5 was to end in October 2026
DEFAULT_URL = "https://generativelanguage.googleapis.com"
KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
INLINE_BYTES = 12_000_000  # of the clip: base64 and the stills come on top, and a request may have 20 MB
CLIP_BYTES = 20_000_000
_VIDEO_FRAMES = 64  # that the service looks at; left alone it takes one a second
_REFUSALS = frozenset(
    "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII IMAGE_SAFETY IMAGE_PROHIBITED_CONTENT ESCALATION MODEL_ARMOR "
    "JAILBREAK PUP_LIMITED_DISABLED LANGUAGE".split()
)


def _installed() -> bool:
    """Looks for it and does not load it, which takes a second: every worker asks when it starts."""
    try:
        return find_spec("google.genai") is not None
    except ModuleNotFoundError:
        return False


def key_from_environment() -> str:
    return next((os.environ[name].strip() for name in KEYS if os.environ.get(name, "").strip()), "")


class GeminiReasoner(AskingReasoner):
    name = "gemini"
    cloud = True

    def __init__(
        self,
        *,
        key: str = "",
        model: str = DEFAULT_MODEL,
        base_url: str = DEFAULT_URL,
        patience: Patience | None = None,
        stills: int = 10,
        clip_bytes: int = CLIP_BYTES,
        inline_bytes: int = INLINE_BYTES,
        answers: Path | None = None,
    ) -> None:
        """``key``: from the settings; empty: GEMINI_API_KEY, else GOOGLE_API_KEY."""
        super().__init__(model=model, patience=patience, stills=stills, clip_bytes=clip_bytes, answers=answers)
        self._key = key.strip() or key_from_environment()
        self._base_url = base_url.rstrip("/")
        self._inline_bytes = inline_bytes

    def check(self) -> None:
        if not _installed():
            raise EngineUnavailable(
                "The reasoner gemini needs google-genai, which is not installed here.",
                hint="pip install 'void-nuke[reasoning]'",
            )
        if not self._key:
            raise EngineUnavailable(
                "The reasoner gemini has no API key.",
                hint=f"Set {KEYS[0]} (or {KEYS[1]}) where the server runs, or choose another reasoner: `motion` needs "
                "none. docs/reasoning.md says where a key comes from.",
                details={"variables": list(KEYS)},
            )
        check_key(self._key, f"{KEYS[0]} or {KEYS[1]}")

    def _identity(self) -> str:
        return f"{self.name} {self._base_url}"

    @contextmanager
    def _session(self, question: Question, attempts: Attempts) -> Iterator[Ask]:
        from google import genai
        from google.genai import types

        # It would say of two variables which one it takes, and it is we who choose.
        logging.getLogger("google_genai._api_client").setLevel(logging.ERROR)
        options = types.HttpOptions(
            base_url=self._base_url,
            timeout=round(self.patience.timeout_s * 1000),
            client_args={"follow_redirects": False},  # the library follows them, key and pictures included
        )
        # Said outright: an environment variable would else turn to Vertex AI.
        client = genai.Client(api_key=self._key, vertexai=False, http_options=options)
        uploaded: types.File | None = None
        try:
            if question.movie is not None and len(question.movie.mp4) > self._inline_bytes:
                uploaded = self._uploaded(client, question.movie.mp4, attempts)
                self.facts["uploaded_bytes"] = len(question.movie.mp4)
            first = types.Content(role="user", parts=_parts(question, uploaded))
            yield lambda complaint, seconds: self._ask(client, first, complaint, seconds)
        finally:
            if uploaded is not None and uploaded.name:
                self._deleted(client, uploaded.name)
            client.close()

    def _ask(self, client: genai.Client, first: types.Content, complaint: Complaint | None, seconds: float) -> Reply:
        from google.genai import types

        from void_engine.reasoning.schema import json_schema

        contents = [first]
        if complaint is not None:
            answered = complaint.answer or "(nothing)"
            contents.append(types.Content(role="model", parts=[types.Part(text=answered)]))
            contents.append(types.Content(role="user", parts=[types.Part(text=complaint.words)]))
        config = types.GenerateContentConfig(
            response_mime_type="application/json",
            response_schema=json_schema(),
            http_options=types.HttpOptions(timeout=max(1, round(seconds * 1000))),
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
        )
        with self._errors():
            response = client.models.generate_content(model=self.model, contents=list(contents), config=config)
        return _reply(response)

    def _uploaded(self, client: genai.Client, mp4: bytes, attempts: Attempts) -> types.File:
        """Through the Files API: a clip that is too large for the request itself."""
        from google.genai import types

        def upload(seconds: float) -> types.File:
            config = types.UploadFileConfig(
                mime_type="video/mp4",
                display_name="clip",  # no file's or show's name
                http_options=types.HttpOptions(timeout=round(seconds * 1000)),
            )
            with self._errors():
                return client.files.upload(file=io.BytesIO(mp4), config=config)

        def look(_: float) -> types.File:
            with self._errors():
                return client.files.get(name=file.name or "")

        file = attempts.call("sending the clip", upload)
        while file.state == types.FileState.PROCESSING:
            attempts.pause(1.0, "gemini reads the clip")
            file = attempts.call("gemini reads the clip", look)
        if file.state == types.FileState.FAILED:
            raise JobFailed("Gemini could not read the clip.", hint="Try again, or set the reasoner's clip_bytes to 0.")
        return file

    def _deleted(self, client: genai.Client, name: str) -> None:
        from google.genai import types

        try:
            with self._errors():
                soon = types.HttpOptions(timeout=round(min(10.0, self.patience.timeout_s) * 1000))
                client.files.delete(name=name, config=types.DeleteFileConfig(http_options=soon))
        except (Away, VoidError) as error:
            log.warning("gemini: the uploaded clip was not deleted (it is after 48 hours): %s", error)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """The library's errors, as ours; ``from None``: theirs may repeat the key."""
        import httpx2
        import pydantic
        from google.genai import errors

        try:
            yield
        except errors.APIError as error:
            raise self._problem(error) from None
        except httpx2.TimeoutException:
            raise Away("no answer in time") from None
        except httpx2.HTTPError as error:
            raise Away(f"the connection failed ({without(self._key, str(error)) or type(error).__name__})") from None
        except (errors.UnknownApiResponseError, pydantic.ValidationError, KeyError, ValueError) as error:
            raise Away(f"{self._base_url} does not answer as Gemini does ({type(error).__name__})") from None

    def _problem(self, error: Any) -> Exception:
        """Of an HTTP status: `Away` where another try may help."""
        status, said = int(error.code or 0), without(self._key, str(error.message or error.status or ""))
        text = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status == 429 or status == 408 or status >= 500:
            headers = getattr(error.response, "headers", None) or {}
            waits = [each for each in (retry_after(headers), _retry_delay(error.details)) if each is not None]
            return Away(text, busy=status == 429, retry_after=max(waits, default=None))
        if status in (401, 403) or "API_KEY_INVALID" in str(error.details) or "api key" in said.lower():
            return EngineUnavailable(
                f"Gemini does not accept the API key ({text}).",
                hint=f"Check {KEYS[0]} (or {KEYS[1]}) where the server runs, and what the key may be used for.",
            )
        if status == 404:
            return EngineUnavailable(
                f"Gemini does not know the model {self.model!r} ({text}).", hint="Set the reasoner's `model`."
            )
        if 300 <= status < 400:
            return EngineUnavailable(f"{self._base_url} redirects to another place, which is not followed ({text}).")
        return JobFailed(f"Gemini refused the request ({text}).", hint="Choose another reasoner, such as `motion`.")


def _retry_delay(details: Any) -> float | None:
    """Google's own way to say it, in the body: ``"retryDelay": "34.5s"``."""
    found = re.search(r"retryDelay'?\"?: *'?\"?(\d+(?:\.\d+)?)s", str(details))
    return float(found[1]) if found else None


def _parts(question: Question, uploaded: types.File | None) -> list[types.Part]:
    from google.genai import types

    parts = [types.Part(text=question.words)]
    for still in question.stills:
        parts.append(types.Part(text=prompt.label(still.percent, marked=still.marked)))
        parts.append(types.Part.from_bytes(data=still.jpeg, mime_type="image/jpeg"))
    if question.movie is not None:
        frames = max(1.0, question.movie.seconds * question.movie.rate)
        rate = min(24.0, question.movie.rate, question.movie.rate * _VIDEO_FRAMES / frames)
        looked = types.VideoMetadata(fps=round(max(0.1, rate), 3))
        parts.append(types.Part(text="The whole shot as a movie:"))
        if uploaded is not None:
            data = types.FileData(file_uri=uploaded.uri, mime_type="video/mp4")
            parts.append(types.Part(file_data=data, video_metadata=looked))
        else:
            blob = types.Blob(data=question.movie.mp4, mime_type="video/mp4")
            parts.append(types.Part(inline_data=blob, video_metadata=looked))
    return parts


def _reply(response: types.GenerateContentResponse) -> Reply:
    """Raises ``JobFailed`` for a refusal. The text is ours to read: the library says nothing where it does not fit."""
    feedback = response.prompt_feedback
    if feedback is not None and feedback.block_reason is not None:
        raise refused("Gemini", str(feedback.block_reason.value))
    candidate = response.candidates[0] if response.candidates else None
    finish = str(candidate.finish_reason.value) if candidate is not None and candidate.finish_reason else ""
    if finish in _REFUSALS:
        raise refused("Gemini", finish)
    parts = (candidate.content.parts or []) if candidate is not None and candidate.content is not None else []
    usage = response.usage_metadata
    tokens_in = tokens_out = 0
    if usage is not None:
        tokens_in = usage.prompt_token_count or 0
        tokens_out = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    text = "".join(part.text for part in parts if part.text and not part.thought)
    return Reply(text, tokens_in, tokens_out, cut=finish == "MAX_TOKENS")
