"""The reasoner ``openai``: any endpoint that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp.

Promises: nothing is sent anywhere but to the given address: no redirect is followed, and inside the building no proxy
is used. No video: these endpoints take pictures only, so there are more of them. httpx2 comes with huggingface_hub.
"""

from __future__ import annotations

import base64
import ipaddress
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from void_client.errors import EngineUnavailable, JobFailed, SettingsError

from void_engine.reasoning import prompt
from void_engine.reasoning.asking import Ask, AskingReasoner, Complaint, Question, Reply, check_key, refused
from void_engine.reasoning.retry import Attempts, Away, Patience, retry_after, without

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)
KEY = "VOID_OPENAI_KEY"  # not OPENAI_API_KEY: that one must not go to whatever address is set here
_PRIVATE = tuple(
    ipaddress.ip_network(each)
    for each in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
                 "::1/128", "fc00::/7", "fe80::/10")
)  # fmt: skip
_FORMATS = ("json_schema", "json_object", "text")
_FORMAT_WORDS = (
    "response_format",
    "json_schema",
    "json_object",
    "json mode",
    "schema",
    "grammar",
    "guided",
    "structured",
)


def inside(host: str) -> bool:
    """Whether ``host`` is this machine or a private address. A name could be anywhere, so it is not looked up."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _PRIVATE if network.version == address.version)


class OpenAIReasoner(AskingReasoner):
    name = "openai"

    def __init__(
        self,
        *,
        base_url: str = "",
        model: str = "",
        key: str = "",
        in_house: bool = False,
        patience: Patience | None = None,
        stills: int = 16,
        answers: Path | None = None,
    ) -> None:
        """``base_url``: up to and with ``/v1``. ``in_house``: a name, not an address, that the building owns.

        Raises ``SettingsError`` for an address that cannot be meant.
        """
        super().__init__(model=model.strip(), patience=patience, stills=stills, clip_bytes=0, answers=answers)
        self._base_url = base_url.strip().rstrip("/")
        self._key = key.strip() or os.environ.get(KEY, "").strip()
        parts = urlsplit(self._base_url)
        self._private = in_house or inside(parts.hostname or "")
        self.cloud = not self._private
        if self._base_url:
            _check_url(parts, self._private)
        self._format = 0  # in _FORMATS: what this endpoint was found to take

    def check(self) -> None:
        try:
            import httpx2  # noqa: F401
            import pydantic  # noqa: F401
        except ImportError:
            raise EngineUnavailable(
                "The reasoner openai needs httpx2 and pydantic, which are not installed here.",
                hint="pip install 'void-nuke[reasoning]'",
            ) from None
        for name, value in (("base_url", self._base_url), ("model", self.model)):
            if not value:
                raise EngineUnavailable(
                    f"The reasoner openai has no {name}.",
                    hint="Set it in the server's settings, such as base_url http://127.0.0.1:8000/v1 and the name of "
                    "the model that is served there.",
                    details={"key": name},
                )
        check_key(self._key, KEY)

    def _identity(self) -> str:
        return f"{self.name} {self._base_url}"

    @contextmanager
    def _session(self, question: Question, attempts: Attempts) -> Iterator[Ask]:
        import httpx2

        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        client = httpx2.Client(headers=headers, follow_redirects=False, trust_env=not self._private)
        first = {"role": "user", "content": _content(question)}
        try:
            yield lambda complaint, seconds: self._ask(client, first, complaint, seconds)
        finally:
            client.close()

    def _ask(self, client: httpx2.Client, first: dict[str, Any], complaint: Complaint | None, seconds: float) -> Reply:
        messages = [first]
        if complaint is not None:
            messages.append({"role": "assistant", "content": complaint.answer or "(nothing)"})
            messages.append({"role": "user", "content": complaint.words})
        while True:
            body = {"model": self.model, "messages": messages, **_response_format(_FORMATS[self._format])}
            response = self._posted(client, body, seconds)
            if response.status_code == 200:
                self.facts["response_format"] = _FORMATS[self._format]
                return self._reply(response)
            text = without(self._key, _said(response))
            about = any(word in text.lower() for word in _FORMAT_WORDS)
            if response.status_code in (400, 422, 500, 501) and about and self._format + 1 < len(_FORMATS):
                self._format += 1
                log.info("openai: the endpoint takes no %s; trying %s", *_FORMATS[self._format - 1 : self._format + 1])
                continue
            raise self._problem(response, text) from None

    def _posted(self, client: httpx2.Client, body: dict[str, Any], seconds: float) -> httpx2.Response:
        import httpx2

        try:
            return client.post(f"{self._base_url}/chat/completions", json=body, timeout=seconds)
        except httpx2.TimeoutException:
            raise Away("no answer in time") from None
        except httpx2.HTTPError as error:
            raise Away(f"the connection failed ({without(self._key, str(error)) or type(error).__name__})") from None

    def _problem(self, response: httpx2.Response, said: str) -> Exception:
        """Of an HTTP status: `Away` where another try may help."""
        status = response.status_code
        text = f"HTTP {status}: {said}" if said else f"HTTP {status}"
        if status in (408, 429) or status >= 500:
            return Away(text, busy=status == 429, retry_after=retry_after(response.headers))
        if status in (401, 403):
            return EngineUnavailable(
                f"{self._base_url} does not accept the key ({text}).",
                hint=f"Set {KEY} where the server runs, or the reasoner's `key`.",
            )
        if status == 404:
            return EngineUnavailable(
                f"{self._base_url} does not know the address or the model {self.model!r} ({text}).",
                hint="Check the reasoner's base_url (up to and with /v1) and model.",
            )
        if 300 <= status < 400:
            return EngineUnavailable(f"{self._base_url} redirects to another place, which is not followed ({text}).")
        return JobFailed(
            f"{self._base_url} refused the request ({text}).",
            hint="The model must take pictures, and enough of them: see `stills` in docs/reasoning.md.",
        )

    def _reply(self, response: httpx2.Response) -> Reply:
        try:
            data = response.json()
            if "choices" not in data and "error" in data:  # some say so with 200
                raise Away(without(self._key, _said(response)))
            choice = data["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content") or "", message.get("refusal")
            finish = str(choice.get("finish_reason") or "")
            usage = data.get("usage") or {}
            tokens = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise Away(f"{self._base_url} does not answer as OpenAI's API does ({type(error).__name__})") from None
        if refusal or finish == "content_filter":
            raise refused(f"The model {self.model}", without(self._key, str(refusal or finish), 200))
        if not isinstance(text, str):
            raise Away(f"{self._base_url} does not answer as OpenAI's API does (its content is not text)")
        return Reply(text, *tokens, cut=finish == "length")


def _check_url(parts: SplitResult, private: bool) -> None:
    fault = ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        fault = "it must be http:// or https:// with a host"
    elif parts.username or parts.password or parts.query or parts.fragment:
        fault = "it must have no user, password, ? or #: the key goes into a setting of its own"
    elif parts.scheme == "http" and not private:
        fault = "outside the building it must be https; say in_house where the name is the building's own"
    if fault:
        raise SettingsError(f"The reasoner's base_url cannot be used: {fault}.", details={"key": "base_url"})


def _response_format(kind: str) -> dict[str, Any]:
    if kind == "json_schema":
        from void_engine.reasoning.schema import json_schema

        wanted = {"name": "analysis", "strict": True, "schema": json_schema(closed=True)}
        return {"response_format": {"type": "json_schema", "json_schema": wanted}}
    return {"response_format": {"type": "json_object"}} if kind == "json_object" else {}


def _content(question: Question) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = [{"type": "text", "text": question.words}]
    for still in question.stills:
        content.append({"type": "text", "text": prompt.label(still.percent, marked=still.marked)})
        data = base64.b64encode(still.jpeg).decode("ascii")
        content.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}})
    return content


def _said(response: httpx2.Response) -> str:
    """What an error's body says, in any of the forms in use."""
    try:
        data = response.json()
    except ValueError:
        return response.text
    error = data.get("error", data) if isinstance(data, dict) else data
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error
    return str(error)
