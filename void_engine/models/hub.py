"""The hub: what a repository holds, and one file of it. The only module of this room that uses the network.

Mirrors (``HF_ENDPOINT``), tokens (``HF_TOKEN`` or the hub's own login), proxies and ``HF_HUB_OFFLINE`` are the hub
library's settings and are taken as it finds them. Telemetry is off. Files come over plain HTTPS with byte ranges: the
library's own ``hf_hub_download`` deletes what it has when it is stopped (2.4), which is hours at 11 GB a file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from void_client import __version__
from void_client.digest import check_digest
from void_client.errors import EngineUnavailable, ServerUnreachable, SettingsError, VoidError

from void_engine.atomic import write_error
from void_engine.models.weights import need

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

_PATIENCE_S = 30.0


@dataclass(frozen=True)
class RemoteFile:
    """``sha256`` for a file in large-file storage, else ``blob``: git's own id of the content."""

    name: str
    size: int
    sha256: str
    blob: str


@dataclass(frozen=True)
class RemoteModel:
    """``revision``: the whole commit id that ``files`` are of."""

    repository: str
    revision: str
    files: dict[str, RemoteFile]


class Hub:
    def __init__(self, endpoint: str | None = None) -> None:
        """``endpoint``: the hub's address; by default the library's own or ``HF_ENDPOINT``."""
        need("huggingface_hub")
        # Read by the library when it is first imported: it would else name the host's environment to the hub.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        from huggingface_hub import constants
        from huggingface_hub.utils import logging as hub_logging

        if constants.is_offline_mode():
            raise SettingsError(
                "HF_HUB_OFFLINE is set: nothing may be fetched.",
                hint="Unset it, or copy a models' folder from a machine that has one.",
            )
        hub_logging.set_verbosity(logging.ERROR)  # its warnings would tear the progress bar; errors come as exceptions
        self.endpoint = (endpoint or constants.ENDPOINT).rstrip("/")

    def look_up(self, repository: str, revision: str) -> RemoteModel:
        """What the repository holds at the revision; at its newest one where ``revision`` is empty."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.endpoint, library_name="void-nuke", library_version=__version__)
        try:
            with self._errors(repository):
                info = api.model_info(repository, revision=revision or None, files_metadata=True, timeout=_PATIENCE_S)
            if not info.sha:
                raise ValueError("it names no revision")
            files = dict(_files(info))
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # the library takes any JSON as it comes
            raise EngineUnavailable(
                f"{self.endpoint} does not answer as a model hub does ({error}).",
                hint="Check HF_ENDPOINT, and whether a proxy answers in the hub's place.",
            ) from error
        return RemoteModel(repository, info.sha, files)

    def download(self, model: RemoteModel, file: RemoteFile, part: Path, on_bytes: Callable[[int], None]) -> None:
        """Appends to ``part`` what it lacks of the file. When it is stopped, ``part`` keeps what came."""
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented all the same

        url = hf_hub_url(model.repository, file.name, revision=model.revision, endpoint=self.endpoint)
        headers = build_hf_headers(library_name="void-nuke", library_version=__version__)
        headers["Accept-Encoding"] = "identity"  # a compressed answer cannot be gone on with at a byte

        class Bar:
            """What the library wants of a progress bar."""

            def __init__(self, **kwargs: Any) -> None: ...

            def __enter__(self) -> Bar:
                return self

            def __exit__(self, *exception: object) -> None: ...

            def update(self, count: float | None = 1) -> None:
                on_bytes(int(count or 0))

        with self._errors(model.repository), part.open("ab") as stream:
            http_get(
                url, stream, resume_size=part.stat().st_size, headers=headers, expected_size=file.size,
                tqdm_class=cast(Any, Bar),
            )  # fmt: skip
            stream.flush()
            os.fsync(stream.fileno())

    def close(self) -> None:
        from huggingface_hub import close_session

        close_session()

    @contextmanager
    def _errors(self, repository: str) -> Iterator[None]:
        """The library's errors, as ours."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(repository, error.response.status_code, error) from error
        except httpx2.HTTPError as error:
            raise ServerUnreachable(
                f"{self.endpoint} cannot be reached ({error or type(error).__name__}).",
                hint="Try again: what was fetched is kept. Behind a proxy set HTTPS_PROXY; for a mirror HF_ENDPOINT.",
                details={"endpoint": self.endpoint},
            ) from error
        except OSError as error:
            if error.errno is None:  # the library's word for fewer bytes than were announced
                raise ServerUnreachable(
                    f"{self.endpoint} sent less than it announced ({error}).",
                    hint="Try again: what was fetched is kept.",
                ) from error
            raise write_error(Path(error.filename or "the models' folder"), error) from error

    def _refusal(self, repository: str, status: int, error: Exception) -> VoidError:
        from huggingface_hub.errors import GatedRepoError, RevisionNotFoundError

        details = {"repository": repository, "status": status}
        if isinstance(error, RevisionNotFoundError):
            return EngineUnavailable(
                f"{self.endpoint} has {repository}, but not the revision that VOID was tested with.",
                hint="A mirror may be older or younger than it; try the hub itself (unset HF_ENDPOINT).",
                details=details,
            )
        if status in (401, 403) or isinstance(error, GatedRepoError):
            return EngineUnavailable(
                f"{self.endpoint} does not let you have {repository} (HTTP {status}).",
                hint=f"Open {self.endpoint}/{repository} in a browser, accept its terms, make an access token there "
                "and set it as HF_TOKEN; or the repository is gone.",
                details=details,
            )
        if status == 429 or status >= 500:
            return ServerUnreachable(
                f"{self.endpoint} cannot serve {repository} now (HTTP {status}).",
                hint="Try again in a while: what was fetched is kept.",
                details=details,
            )
        return EngineUnavailable(
            f"{self.endpoint} does not have {repository} or a file of it (HTTP {status}).",
            hint="Check HF_ENDPOINT: a mirror may not carry it.",
            details=details,
        )


def _files(info: ModelInfo) -> Iterator[tuple[str, RemoteFile]]:
    for entry in info.siblings or []:
        size = entry.lfs.size if entry.lfs else entry.size
        if size is not None:
            sha256 = check_digest(entry.lfs.sha256) if entry.lfs else ""
            yield entry.rfilename, RemoteFile(entry.rfilename, size, sha256, entry.blob_id or "")
