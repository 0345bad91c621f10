"""A model hub on this machine: real HTTP, the parts of the API that a fetch uses, and faults on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

BLOCK = 1 << 20


class FakeHub(ThreadingHTTPServer):
    """``repositories``: name → (revision, file → bytes). Safetensors are in large-file storage: at another host name.

    ``declared``: (repository, file) → (SHA-256, size) where the hub announces other than it has. ``cut``: file → how
    many bytes are sent before the line breaks, once. ``stall``: file → after how many bytes it sends no more.
    ``refusals``: path's start → (status, X-Error-Code). ``down``: answers 503 to everything.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, tuple[str, dict[str, bytes]]] = {}
        self.declared: dict[tuple[str, str], tuple[str, int]] = {}
        self.cut: dict[str, int] = {}
        self.stall: dict[str, int] = {}
        self.stalled = threading.Event()
        self.closing = threading.Event()
        self.refusals: dict[str, tuple[int, str]] = {}
        self.down = False
        self.seen: list[tuple[str, str, str]] = []  # path, Range, Authorization
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        if self.closing.is_set():
            return
        self.closing.set()
        self.shutdown()
        self.server_close()

    def ranges(self, name: str) -> list[str]:
        """The ranges that were asked for of a file's bytes."""
        return [asked for path, asked, _ in self.seen if path.startswith("/cdn/") and path.endswith(name)]

    def info(self, repository: str) -> dict[str, Any]:
        revision, files = self.repositories[repository]
        siblings = []
        for name, data in files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": blob(data)}
            if name.endswith(".safetensors"):
                digest, size = self.declared.get((repository, name), (hashlib.sha256(data).hexdigest(), len(data)))
                entry["size"], entry["lfs"] = size, {"sha256": digest, "size": size, "pointerSize": 134}
            siblings.append(entry)
        return {"id": repository, "sha": revision, "siblings": siblings, "private": False, "tags": [], "downloads": 0}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the play."""


def blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeHub

    def log_message(self, *words: object) -> None: ...

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.seen.append((path, self.headers.get("Range", ""), self.headers.get("Authorization", "")))
        if self.server.down:
            return self._say(503)
        for start, (status, code) in self.server.refusals.items():
            if path.startswith(start):
                return self._say(status, {"X-Error-Code": code} if code else {})
        if path.startswith("/api/models/"):
            return self._info(path.removeprefix("/api/models/"))
        if path.startswith("/cdn/"):
            return self._bytes(path.removeprefix("/cdn/"))
        repository, _, rest = path.lstrip("/").partition("/resolve/")
        name = rest.partition("/")[2]
        if name.endswith(".safetensors"):
            return self._say(302, {"Location": f"http://localhost:{self.server.server_port}/cdn/{repository}/{name}"})
        return self._bytes(f"{repository}/{name}")

    def _info(self, rest: str) -> None:
        repository, _, revision = rest.partition("/revision/")
        if repository not in self.server.repositories:
            return self._say(401, {"X-Error-Code": "RepoNotFound"})
        if revision and revision != self.server.repositories[repository][0]:
            return self._say(404, {"X-Error-Code": "RevisionNotFound"})
        return self._say(200, body=json.dumps(self.server.info(repository)).encode())

    def _bytes(self, place: str) -> None:
        account, repository, name = place.split("/", 2)
        data = self.server.repositories[f"{account}/{repository}"][1][name]
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        end = min(self.server.cut.get(name, len(data)), self.server.stall.get(name, len(data)))
        for start in range(begin, end, BLOCK):
            self.wfile.write(data[start : min(start + BLOCK, end)])
        if name in self.server.stall:
            self.server.stalled.set()
            self.server.closing.wait()
        if self.server.cut.pop(name, None) is not None:
            self.server.down = True  # else the client goes on by itself: that is the library's, and another test
            self.close_connection = True

    def _say(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
