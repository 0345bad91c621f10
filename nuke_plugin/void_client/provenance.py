"""Who made a result, and is it still that: the statement that is signed, public keys, and the check of a folder.

Promises: the signed bytes are those of docs/protocol.md on every Python; every file that a manifest names is in them;
what is not signed is never called genuine. Must not: hold a secret key, or need ``cryptography`` before a signature
has to be checked: artists' machines may not have it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from .digest import canonical_json, sha256_file
from .errors import EngineUnavailable, SettingsError
from .manifest import MANIFEST, Provenance, ResultFrame, ResultManifest

PREFIX = b"VOID provenance 1\n"  # a signature that was made for something else can never be one of ours
VERSION = 1
KEY_KIND = "ed25519:"
TRUSTED_KEYS = "trusted_keys"
NOT_RECORDED = "it was made before results were signed"
_DIGITS = re.compile(r"\d+(?=\D*\Z)")


# --- what is signed


def statement(manifest: ResultManifest, provenance: Provenance) -> bytes:
    """All that the signer vouches for: everything in the manifest but the signature."""
    return PREFIX + canonical_json(
        {
            "content_hash": manifest.content_hash,
            "credentials": provenance.credentials,
            "facts": manifest.facts,
            "files": [[file.name, file.sha256, file.size] for file in manifest.files],
            "frames": [[frame.number, frame.name, frame.sha256, frame.size] for frame in manifest.frames],
            "job": manifest.job,
            "job_id": manifest.job_id,
            "key": provenance.key,
            "manifest": manifest.version,
            "time": provenance.time,
        }
    )


def signature_holds(manifest: ResultManifest) -> bool:
    """Whether the key that the manifest names signed this very manifest; whose key it is, is another question.

    Raises ``EngineUnavailable`` where ``cryptography`` is not installed.
    """
    provenance = manifest.provenance
    if provenance is None or not provenance.signed or provenance.version != VERSION:
        return False
    try:
        said = statement(manifest, provenance)
    except ValueError:  # UnicodeError is one: a lone surrogate has no UTF-8, so nobody signed it
        return False
    return key_holds(provenance.key, provenance.signature, said)


def key_holds(public: str, signature: str, data: bytes) -> bool:
    """Whether ``public`` signed ``data``. Raises ``EngineUnavailable`` where ``cryptography`` is not installed."""
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise EngineUnavailable(
            "Signatures cannot be checked here: the package cryptography is not installed.",
            hint="pip install 'void-nuke[provenance]'.",
        ) from None
    try:
        Ed25519PublicKey.from_public_bytes(_raw(public)).verify(_unbase64(signature), data)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- public keys


def public_text(raw: bytes) -> str:
    """A public key as people pass it on: one word without characters that mean something to a shell."""
    return KEY_KIND + base64text(raw)


def key_id(public: str) -> str:
    """Short enough to be read aloud: the first 16 hexadecimal digits of the raw key's SHA-256."""
    return hashlib.sha256(_raw(public)).hexdigest()[:16]


def check_public(text: str) -> str:
    """Raises ``SettingsError``."""
    try:
        _raw(text)
    except ValueError:
        raise SettingsError(
            f"{text[:60]!r} is not a public signing key.",
            hint=f"It begins with {KEY_KIND}, as `void keys signing` prints it.",
        ) from None
    return text


def read_keys(given: str) -> dict[str, str]:
    """Public key → what its owner calls it. ``given``: a key, or a file with one a line: the key, then its name.

    Raises ``SettingsError`` where the file cannot be read, holds no key, or a line is none.
    """
    if given.startswith(KEY_KIND):
        return {check_public(given.strip()): ""}
    try:
        lines = Path(given).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise SettingsError(
            f"{given} is neither a key nor a file of keys that can be read: {problem}.",
            hint=f"A key begins with {KEY_KIND}.",
        ) from problem
    keys = {}
    for line in lines:
        text = line.partition("#")[0].strip()
        if text:
            key, _, name = text.partition(" ")
            keys[check_public(key)] = name.strip()
    if not keys:  # an empty list of pins must not look like no pins at all
        raise SettingsError(f"{given} holds no key.", hint="One a line, as `void keys signing` prints it.")
    return keys


def base64text(data: bytes) -> str:
    """URL-safe, without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unbase64(text: str) -> bytes:
    """Raises ``ValueError``. One spelling only: spare bits that are not 0 would let a manifest be changed unseen."""
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64text(data) != text:
        raise ValueError("not base64")
    return data


def _raw(public: str) -> bytes:
    if not public.startswith(KEY_KIND):
        raise ValueError("not a key")
    raw = _unbase64(public[len(KEY_KIND) :])
    if len(raw) != 32:
        raise ValueError("not a key")
    return raw


def printable(text: str) -> str:
    """What a manifest or a picture says, for a terminal: it may have been written to look like our own words."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text[:500])


def describe(manifest: ResultManifest) -> tuple[str, dict[str, Any]]:
    """What a result says of itself, unchecked: a sentence for people, values for machines."""
    provenance = manifest.provenance
    if provenance is None or not provenance.signed:
        reason = _reason(provenance)
        return f"NOT SIGNED: {reason}", {"signed": False, "reason": reason}
    lacking = {name: why for name, why in provenance.credentials.items() if why}
    values: dict[str, Any] = {"signed": True, "key": provenance.key, "without_credentials": lacking}
    return f"signed by {printable(provenance.key)}{_without(lacking)}", values


def _without(lacking: Mapping[str, str]) -> str:
    if not lacking:
        return ""
    return printable(f"; NO content credentials in {', '.join(sorted(lacking))}: {next(iter(lacking.values()))}")


def _reason(provenance: Provenance | None) -> str:
    return printable(provenance.reason) if provenance is not None else NOT_RECORDED


# --- the check of a folder


@dataclass(frozen=True)
class Problem:
    """``kind``: altered, missing, extra, manifest. ``frame``: its number, where the file is one."""

    kind: str
    text: str
    file: str = ""
    frame: Optional[int] = None


@dataclass(frozen=True)
class Report:
    """``verdict``: genuine, unknown_key (nothing was changed, but no key was given to compare with), other_key,
    altered, unsigned. ``others``: files that belong to nobody and are no frames."""

    verdict: str
    sentence: str
    problems: tuple[Problem, ...]
    key: str
    others: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return self.verdict in ("genuine", "unknown_key")


def examine(
    folder: Path, pinned: Mapping[str, str], on_progress: Callable[[str, int, int], None] | None = None
) -> tuple[ResultManifest, Report]:
    """Compare a result's files with its manifest, and the manifest with its signature. ``pinned``: ``read_keys``.

    Raises ``InputError`` where the folder holds no result, ``EngineUnavailable`` where ``cryptography`` is wanted and
    not there: not for files that differ, which need no signature to be wrong.
    """
    manifest = ResultManifest.read(folder)
    others = _others(folder, manifest)
    problems = [*_file_problems(folder, manifest, others, on_progress), *_extra_frames(manifest, others)]
    verdict, sentence, more = _judge(manifest, pinned, problems)
    extra = {problem.file for problem in problems if problem.kind == "extra"}
    key = manifest.provenance.key if manifest.provenance is not None and manifest.provenance.signed else ""
    harmless = tuple(name for name in others if name not in extra)
    return manifest, Report(verdict, sentence, (*problems, *more), key, harmless)


def _file_problems(
    folder: Path, manifest: ResultManifest, others: list[str], on_progress: Callable[[str, int, int], None] | None
) -> list[Problem]:
    problems: list[Problem] = []
    by_digest: dict[str, str] | None = None  # of the other files: looked at only where something is missing
    for done, file in enumerate(manifest.all_files, 1):
        path = folder / file.name
        frame = file.number if isinstance(file, ResultFrame) else None
        called = f"frame {frame}, {file.name}," if frame is not None else file.name
        if not path.is_file():
            if by_digest is None:
                by_digest = {sha256_file(folder / name): name for name in others}
            found = by_digest.get(file.sha256)
            text = f"{called} is missing{f'; its bytes are there under the name {found}' if found else ''}."
            problems.append(Problem("missing", printable(text), file.name, frame))
        elif path.stat().st_size != file.size or sha256_file(path) != file.sha256:
            problems.append(Problem("altered", f"{called} is not what was delivered.", file.name, frame))
        if on_progress is not None:
            on_progress("verify", done, len(manifest.all_files))
    return problems


def _others(folder: Path, manifest: ResultManifest) -> list[str]:
    named = {MANIFEST, *(file.name for file in manifest.all_files)}
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in named)


def _extra_frames(manifest: ResultManifest, others: list[str]) -> list[Problem]:
    """Files that a frame pattern would read with the result's own: nobody vouches for them."""
    patterns = {_DIGITS.sub("#", frame.name) for frame in manifest.frames}
    text = "{} looks like a frame of this result and is none."
    return [
        Problem("extra", text.format(printable(name)), name) for name in others if _DIGITS.sub("#", name) in patterns
    ]


def _judge(manifest: ResultManifest, pinned: Mapping[str, str], found: list[Problem]) -> tuple[str, str, list[Problem]]:
    """(verdict, sentence, what is wrong with the manifest)."""
    provenance = manifest.provenance
    altered = f"The result was changed: {len(found)} of its files." if found else ""
    if provenance is None or not provenance.signed:
        return "altered" if found else "unsigned", f"{altered} Nobody signed it: {_reason(provenance)}".strip(), []
    if provenance.version != VERSION:
        text = f"It was signed by a later version of VOID ({provenance.version}, this one reads {VERSION})."
        return "altered", text, [Problem("manifest", text, MANIFEST)]
    try:
        holds = signature_holds(manifest)
    except EngineUnavailable:
        if found:
            return "altered", f"{altered} Its signature was not checked: cryptography is not installed.", []
        raise
    if not holds:
        text = f"{MANIFEST} is not what was signed."
        return "altered", f"The result was changed: {text}", [Problem("manifest", text, MANIFEST)]
    if found:
        return "altered", altered, []
    who = f"{provenance.key} (id {key_id(provenance.key)})"
    if not pinned:
        text = f"Nothing was changed since it was signed, by a key that is not known here: {who}."
        return "unknown_key", f"{text} Anybody can make a key: compare it with your server's, or give --key.", []
    if provenance.key not in pinned:
        return "other_key", f"It is signed by another key than those that are trusted: {who}.", []
    name = pinned[provenance.key]
    text = f"Genuine: as it was made on {printable(provenance.time)}, signed by {name or 'the trusted key'}"
    return "genuine", f"{text}, {who}.", []
