"""A server's signing key, and what it signs: the manifest of each result, once its files are whole.

Promises: a result is signed, or its manifest says why not; no fault in here fails a job; secret keys are readable by
their owner only and never overwritten. ``cryptography`` is imported only when there is something to sign.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from void_client.digest import sha256_file
from void_client.errors import EngineUnavailable, SettingsError, VoidError
from void_client.manifest import Provenance, ResultFile, ResultManifest, write_durably
from void_client.provenance import base64text, public_text, statement

from . import credentials

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

log = logging.getLogger(__name__)

T = TypeVar("T")

KEY_NAME = "signing.pem"
_RETIRED = "signing.retired"


def key_path(data: Path, chosen: str = "") -> Path:
    """``chosen``: the setting `signing_key`."""
    return Path(chosen) if chosen else data / "keys" / KEY_NAME


# --- keys on disk


def make_key(path: Path) -> str:
    """The public key of the secret one at ``path``, made where there is none. Raises what ``read_key`` raises.

    Several servers of one user may start at once on one home: they end with the same key.
    """
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = _new_secret(path)
        try:
            os.link(temporary, path)  # unlike a rename, never over another's
        except FileExistsError:
            pass
        finally:
            temporary.unlink(missing_ok=True)
    public = public_of(read_key(path))
    _write_public(path, public)
    return public


def read_key(path: Path) -> Ed25519PrivateKey:
    """Raises ``SettingsError`` where the key is missing, open to others or none, ``EngineUnavailable`` where
    ``cryptography`` is not installed."""
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = read_secret(path)
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise SettingsError(
            f"The signing key {path} cannot be read.", hint="It is no PEM of a secret key."
        ) from problem
    if not isinstance(key, Ed25519PrivateKey):
        raise SettingsError(f"The signing key {path} is not an Ed25519 key.", hint="`void keys signing` makes one.")
    return key


def read_secret(path: Path) -> bytes:
    """Raises ``SettingsError`` where the file cannot be read, or others can read it."""
    try:
        mode, data = path.stat().st_mode, path.read_bytes()
    except OSError as problem:
        raise SettingsError(f"The signing key {path} cannot be read: {problem.strerror}.") from problem
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"The signing key {path} can be read by others.", hint=f"Run: chmod 600 {path}")
    return data


def rotate_key(path: Path) -> str:
    """Another key in place of the one at ``path``, from the next result on; the old one's public half is kept in
    ``signing.retired`` beside it, because it still verifies what it signed. Returns the new public key."""
    old = public_of(read_key(path))
    temporary = _new_secret(path)
    retired = path.with_name(_RETIRED)
    before = retired.read_text(encoding="ascii") if retired.exists() else ""
    write_durably(retired, f"{before}{old} until-{_now()[:10]}\n".encode())
    temporary.replace(path)
    public = public_of(read_key(path))
    _write_public(path, public)
    return public


def public_of(key: Ed25519PrivateKey) -> str:
    return public_text(key.public_key().public_bytes_raw())


def _new_secret(path: Path) -> Path:
    """A fresh secret key in a temporary file beside ``path``, mode 0600 from its first instant."""
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(credentials.secret_pem(Ed25519PrivateKey.generate()))
        stream.flush()
        os.fsync(stream.fileno())
    return temporary


def _write_public(path: Path, public: str) -> None:
    """For people; nothing reads it. Where the folder is not ours to write, `void keys signing` still prints it."""
    beside = path.with_suffix(".pub")
    try:
        if not beside.exists() or beside.read_text(encoding="ascii").strip() != public:
            write_durably(beside, f"{public}\n".encode())
    except (OSError, VoidError, UnicodeDecodeError) as problem:
        log.info("the public key was not written beside %s: %s", path, problem)


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise EngineUnavailable(
            "The package cryptography is not installed.", hint="pip install 'void-nuke[server]'."
        ) from None


def start(path: Path) -> None:
    """At a server's start: make the key where it lacks, and log what results will be signed with."""
    state = check(path, make=True)
    if state["key"]:
        log.info("results are signed by %s", state["key"])
    else:
        log.warning("results are NOT SIGNED: %s", state["reason"])


def check(path: Path, *, make: bool = False) -> dict[str, str]:
    """``key``, or the ``reason`` why there is none that signs."""
    try:
        return {"key": make_key(path) if make else public_of(read_key(path)), "reason": ""}
    except (VoidError, OSError) as error:
        return {"key": "", "reason": str(error)}


# --- signing


@dataclass(frozen=True)
class Notary:
    """Signs results. The key is read anew for each: a rotation, or a repair, counts from the next result on.

    ``cert``, ``cert_key``: the studio's own for content credentials; else a self-made chain over the signing key.
    """

    key: Path
    cert: str = ""
    cert_key: str = ""

    def vouch(self, manifest: ResultManifest, folder: Path) -> ResultManifest:
        """The manifest with its provenance, and with the digests of pictures that got a content credential."""
        key, reason = _or_reason(lambda: read_key(self.key))
        manifest, given = self._credentials(manifest, folder, key)
        if key is not None:
            signed, reason = _or_reason(lambda: sign(manifest, key, _now(), given))
            if signed is not None:
                return signed
        log.warning("the result of %s is NOT SIGNED: %s", manifest.job_id, reason)
        return dataclasses.replace(manifest, provenance=Provenance(False, reason, credentials=given))

    def _credentials(
        self, manifest: ResultManifest, folder: Path, key: Ed25519PrivateKey | None
    ) -> tuple[ResultManifest, dict[str, str]]:
        """Each picture's name → what kept it from its credential, or nothing."""
        given: dict[str, str] = {}
        files = []
        statement = credentials.about(manifest)
        for file in manifest.files:
            if Path(file.name).suffix.lower() in credentials.SUFFIXES:
                signed, reason = _or_reason(functools.partial(self._credential, folder / file.name, statement, key))
                given[file.name] = reason
                if signed is None:
                    log.warning("%s of %s has no content credential: %s", file.name, manifest.job_id, reason)
                file = signed or file
            files.append(file)
        return dataclasses.replace(manifest, files=tuple(files)), given

    def stamp(self, path: Path, statement: dict[str, Any]) -> str:
        """Give a picture that belongs to no result its content credential, in place. ``statement``:
        ``credentials.about_shown``. Returns what kept it from its credential, or nothing."""
        key, lack = _or_reason(lambda: read_key(self.key))
        _, reason = _or_reason(lambda: self._credential(path, statement, key))
        return reason and (lack or reason)

    def _credential(self, path: Path, statement: dict[str, Any], key: Ed25519PrivateKey | None) -> ResultFile:
        signer = self._signer(key)
        temporary = path.with_name(f".credential.{path.name}")  # a cached file that is linked here stays as it is
        try:
            credentials.credential(path, temporary, statement, signer)
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            signed = ResultFile(path.name, sha256_file(temporary), temporary.stat().st_size)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return signed

    def _signer(self, key: Ed25519PrivateKey | None) -> credentials.PictureSigner:
        if self.cert:
            _need_cryptography()
            return credentials.studio_signer(Path(self.cert), read_secret(Path(self.cert_key)))
        if key is None:
            raise SettingsError("There is no signing key to make one with.")
        return credentials.self_made_signer(key)


def _or_reason(work: Callable[[], T]) -> tuple[T | None, str]:
    """What ``work`` gives, or why it gave nothing: hours of frames are not lost to a certificate."""
    try:
        return work(), ""
    except (VoidError, OSError) as problem:
        return None, str(problem)
    except Exception as problem:  # the boundary around two libraries that are not ours
        log.exception("signing failed")
        return None, f"{type(problem).__name__}: {problem}"


def sign(manifest: ResultManifest, key: Ed25519PrivateKey, time: str, given: dict[str, str]) -> ResultManifest:
    unsigned = Provenance(True, key=public_of(key), time=time, credentials=given)
    signature = base64text(key.sign(statement(manifest, unsigned)))
    return dataclasses.replace(manifest, provenance=dataclasses.replace(unsigned, signature=signature))


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
