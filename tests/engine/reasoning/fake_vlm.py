"""A model service on this machine: real HTTP, Gemini's and OpenAI's addresses, and faults on demand."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from void_engine.reasoning.interface import ReasonRequest
from void_engine.segmentation.pictures import shrink

GOOD_ANSWER: dict[str, Any] = {
    "subject": "a ball",
    "integral_belongings": [
        {"noun": "ribbon", "why": "It is tied to it.", "sightings": [{"percent": 0, "cells": [[2, 1]]}]}
    ],
    "affected_objects": [
        {
            "noun": "shadow on the floor", "category": "artifact", "why": "The ball casts it.",
            "first_percent": 0, "last_percent": 100,
            "sightings": [{"percent": 50, "cells": [[4, 2], [4, 3], [5, 2], [5, 3]]}],
            "currently_moving": True, "should_have_stayed": False, "will_move": False, "movement": "", "path": [],
            "confidence": 0.9,
        },
        {
            "noun": "box", "category": "physical", "why": "The ball pushes it.",
            "first_percent": 50, "last_percent": 100,
            "sightings": [{"percent": 100, "cells": [[6, 9]]}, {"percent": 50, "cells": [[6, 7]]}],
            "currently_moving": True, "should_have_stayed": True, "will_move": False, "movement": "", "path": [],
            "confidence": 0.7,
        },
    ],
    "scene_description": "An empty room with a box on the floor.",
    "confidence": 0.8,
}  # fmt: skip
KEY = "AIzaSyTest-0123456789abcdefSECRET"


@dataclass(frozen=True)
class Play:
    """What one request for an answer gets. ``text``: the model's words, or the answer as data; None: no candidate.

    ``drop``: the connection is reset. ``stall``: seconds before anything is said. ``drip``: the answer comes in bytes
    that are so many seconds apart. ``raw``: the whole body. ``finish`` and ``block``: Gemini's reasons; ``refusal``:
    OpenAI's.
    """

    text: str | dict[str, Any] | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    error: str = "something went wrong"
    details: list[dict[str, Any]] = field(default_factory=list)
    raw: bytes | None = None
    finish: str = ""
    block: str = ""
    refusal: str = ""
    drop: bool = False
    stall: float = 0.0
    drip: float = 0.0


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    time: float

    def json(self) -> Any:
        return json.loads(self.body)


class FakeVLM(ThreadingHTTPServer):
    """``plays``: one for each request for an answer, in order; the last is repeated. ``files``: what was uploaded.

    ``reading``: how often an uploaded file is said to be processed still. ``formats``: OpenAI's response formats that
    the endpoint takes; None: all.
    """

    daemon_threads = True

    def __init__(self, *plays: Play) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plays = list(plays) or [Play(GOOD_ANSWER)]
        self.seen: list[Seen] = []
        self.files: dict[str, bytearray] = {}
        self.deleted: list[str] = []
        self.reading = 1
        self.formats: set[str] | None = None
        self.closing = threading.Event()
        self.in_call = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def asked(self) -> list[Seen]:
        """The requests for an answer."""
        return [each for each in self.seen if ":generateContent" in each.path or each.path.endswith("/completions")]

    def stop(self) -> None:
        if not self.closing.is_set():
            self.closing.set()
            self.shutdown()
            self.server_close()

    def next_play(self) -> Play:
        return self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeVLM

    def log_message(self, *words: object) -> None: ...

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append(Seen("POST", self.path, headers, body, time.monotonic()))
        if self.path.startswith("/upload/"):
            name = f"files/f{len(self.server.files)}"
            self.server.files[name] = bytearray()
            return self._say(200, b"{}", {"x-goog-upload-url": f"{self.server.url}/bytes/{name}"})
        if self.path.startswith("/bytes/"):
            name = self.path.removeprefix("/bytes/")
            self.server.files[name] += body
            final = "finalize" in headers["x-goog-upload-command"]
            answer = json.dumps({"file": self._file(name)} if final else {}).encode()
            return self._say(200, answer, {"x-goog-upload-status": "final" if final else "active"})
        return self._play(self.server.next_play(), json.loads(body))

    def do_GET(self) -> None:
        self.server.seen.append(Seen("GET", self.path, {}, b"", time.monotonic()))
        self.server.reading -= 1
        self._say(200, json.dumps(self._file(self.path.partition("/")[2].partition("/")[2])).encode())

    def do_DELETE(self) -> None:
        self.server.deleted.append(self.path)
        self._say(200, b"{}")

    def _file(self, name: str) -> dict[str, Any]:
        state = "PROCESSING" if self.server.reading > 0 else "ACTIVE"
        return {"name": name, "uri": f"{self.server.url}/v1/{name}", "mimeType": "video/mp4", "state": state}

    def _play(self, play: Play, asked: dict[str, Any]) -> None:
        self.server.in_call.set()
        if play.stall and self.server.closing.wait(play.stall):
            return
        if play.drop:
            # Reset, as a broken line does it, and not closed in good order.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
            return
        kind = asked.get("response_format", {}).get("type", "text")
        if play.status != 200:
            return self._say(play.status, json.dumps(self._error(play)).encode(), play.headers)
        if self.server.formats is not None and kind not in self.server.formats:
            error = {"error": {"message": f"response_format {kind} is not supported", "code": 400}}
            return self._say(400, json.dumps(error).encode())
        body = play.raw if play.raw is not None else json.dumps(self._good(play, "contents" in asked)).encode()
        self._say(200, body, play.headers, drip=play.drip)

    def _error(self, play: Play) -> dict[str, Any]:
        return {"error": {"code": play.status, "message": play.error, "status": "PLAYED", "details": play.details}}

    def _good(self, play: Play, gemini: bool) -> dict[str, Any]:
        text = json.dumps(play.text) if isinstance(play.text, dict) else play.text
        if not gemini:
            message = {"role": "assistant", "content": text, **({"refusal": play.refusal} if play.refusal else {})}
            choice = {"index": 0, "message": message, "finish_reason": play.finish or "stop"}
            return {"choices": [choice], "usage": {"prompt_tokens": 900, "completion_tokens": 90}}
        usage = {"promptTokenCount": 1000, "candidatesTokenCount": 80, "thoughtsTokenCount": 20}
        if play.block:
            return {"promptFeedback": {"blockReason": play.block}, "usageMetadata": usage}
        content = {"role": "model", "parts": [] if text is None else [{"text": text}]}
        return {"candidates": [{"content": content, "finishReason": play.finish or "STOP"}], "usageMetadata": usage}

    def _say(self, status: int, body: bytes, headers: dict[str, str] | None = None, drip: float = 0.0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not drip:
            self.wfile.write(body)
            return
        for index in range(len(body)):
            self.wfile.write(body[index : index + 1])
            self.wfile.flush()
            if self.server.closing.wait(drip):
                return


class Shot:
    """`Pictures` and `Mattes` in memory: a square that moves over blocks, seen from frame ``first`` on.

    ``restless``: the blocks are others on every frame, which makes a large movie.
    """

    def __init__(
        self, frames: int = 9, size: tuple[int, int] = (90, 160), first: int = 0, restless: bool = False
    ) -> None:
        self.size, self.first, self._frames, self._restless = size, first, frames, restless

    def __len__(self) -> int:
        return self._frames

    def rgb(self, position: int) -> np.ndarray:
        random = np.random.default_rng(position if self._restless else 0)
        height, width = self.size
        blocks = random.integers(0, 256, (height // 10, width // 10, 3), np.uint8)
        picture = np.repeat(np.repeat(blocks, 10, axis=0), 10, axis=1)
        picture[self.read("primary", position) > 0.5] = (20, 200, 60)
        return picture

    def proxy(self, position: int, long_side: int) -> np.ndarray:
        return shrink(self.rgb(position), long_side)

    def has(self, name: str, position: int) -> bool:
        return name == "primary"

    def read(self, name: str, position: int) -> np.ndarray:
        matte = np.zeros(self.size, np.float32)
        if name == "primary" and position >= self.first:
            left = 10 + 3 * position
            matte[20:50, left : left + 30] = 1.0
        return matte

    def write(self, name: str, position: int, matte: np.ndarray, confidence: float) -> None:
        raise AssertionError("a reasoner of words writes no mattes")

    def confidence(self, name: str, position: int) -> float:
        return 1.0


def request(scratch: Path, shot: Shot | None = None, words: str = "") -> ReasonRequest:
    """Of plate frames from 1001 on."""
    shot = shot or Shot()
    return ReasonRequest(shot, tuple(range(1001, 1001 + len(shot))), shot, scratch, words, 24.0)


def no_tick(done: int, of: int, what: str) -> None: ...


def images(seen: Seen) -> list[bytes]:
    """The JPEGs of a request, in order."""
    asked = seen.json()
    if "contents" in asked:
        data = [part["inlineData"] for part in asked["contents"][0]["parts"] if "inlineData" in part]
        return [base64.urlsafe_b64decode(each["data"]) for each in data if kind(each) == "image/jpeg"]
    urls = [part["image_url"]["url"] for part in asked["messages"][0]["content"] if part["type"] == "image_url"]
    return [base64.b64decode(url.partition("base64,")[2]) for url in urls]


def kind(part: dict[str, Any]) -> str:
    """Both spellings are the service's own."""
    return str(part.get("mimeType") or part.get("mime_type"))


def texts(seen: Seen) -> list[str]:
    """The words of a request's first turn."""
    asked = seen.json()
    parts = asked["contents"][0]["parts"] if "contents" in asked else asked["messages"][0]["content"]
    return [part["text"] for part in parts if "text" in part]
