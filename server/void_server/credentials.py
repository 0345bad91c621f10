"""C2PA content credentials: what a still or a movie says of itself when it has left its result's folder.

Promises: nothing is asked of the network, neither to sign nor to read; the source is never written to; what a
picture is called follows from what made it. Must not: tell shot names or prompts, which are not the public's.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from void_client import __version__
from void_client.errors import EngineUnavailable, JobFailed, SettingsError
from void_client.manifest import ResultManifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.x509 import Certificate, Name

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".mp4", ".mov"})
ASSERTION = "void_nuke.result"
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_CONTEXT = {
    # A thumbnail would show the shot a second time. A credential elsewhere, or a certificate's state, is not fetched.
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_BEGIN, _END = datetime.datetime(2025, 1, 1), datetime.datetime(2065, 1, 1)


@dataclass(frozen=True)
class PictureSigner:
    """``algorithm`` by C2PA's name; the chain and the secret key as PEM, leaf first."""

    algorithm: str
    chain: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"PictureSigner({self.algorithm!r}, …)"


# --- writing


def about(manifest: ResultManifest) -> dict[str, Any]:
    """The statement that goes into a picture: which result it belongs to and what made its pixels."""
    facts = manifest.facts
    models = {key.removeprefix("void/"): str(value) for key, value in facts.items() if key.startswith("void/model.")}
    return {
        "engine": str(facts.get("engine", "")),
        "engine_version": str(facts.get("engine_version", "")),
        "job": manifest.content_hash,
        "models": models,
    }


def about_shown(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The statement of a picture that shows several clips. ``results``: engine, engine_version, job and models of
    those that are results. What is generated counts before what is not; all jobs are named."""
    if not results:
        return {"engine": "", "engine_version": "", "job": "", "models": {}}
    # cleanplate's pixels are the plate's own: a generating engine beside it is what has to be told.
    first = min(results, key=lambda each: each["engine"] == "cleanplate")
    statement = {key: first[key] for key in ("engine", "engine_version", "job", "models")}
    return {**statement, "shows": sorted({str(each["job"]) for each in results if each["job"]})}


def source_type(engine: str) -> str:
    """IPTC's term. A picture without an engine shows the plate and a mask over it. An engine that this does not know
    counts as generative: better said too often than not."""
    terms = {"": "composite", "cleanplate": "algorithmicallyEnhanced"}
    return _SOURCE + terms.get(engine, "compositeWithTrainedAlgorithmicMedia")


def credential(path_in: Path, path_out: Path, statement: dict[str, Any], signer: PictureSigner) -> None:
    """Write ``path_in`` with a content credential as ``path_out``. ``statement``: ``about``.

    Raises ``EngineUnavailable`` without c2pa-python, ``JobFailed`` where it cannot.
    """
    c2pa = _c2pa()
    try:
        with (
            c2pa.Context.from_dict(_CONTEXT) as context,
            c2pa.Signer.from_info(c2pa.C2paSignerInfo(signer.algorithm, signer.chain, signer.secret, None)) as signing,
            c2pa.Builder(_claim(path_in.name, statement), context) as builder,
        ):
            builder.sign_file(path_in, path_out, signing)
    except (c2pa.C2paError, ValueError, TypeError) as problem:
        raise JobFailed(f"c2pa could not sign {path_in.name}: {problem}") from problem


def _claim(title: str, statement: dict[str, Any]) -> dict[str, Any]:
    source = source_type(statement["engine"])
    program = {"name": "VOID for Nuke", "version": __version__}
    actions: list[dict[str, Any]] = [
        {"action": "c2pa.created", "digitalSourceType": source, "softwareAgent": program},
    ]
    if statement["engine"]:
        agent = {"name": statement["engine"], "version": statement["engine_version"]}
        text = "An object and what it caused were removed from a shot."
        actions.append(
            {"action": "c2pa.edited", "digitalSourceType": source, "softwareAgent": agent, "description": text}
        )
    return {
        "claim_generator_info": [program],
        "title": title,
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": actions}},
            {"label": ASSERTION, "data": statement},
        ],
    }


# --- reading


def read(path: Path) -> dict[str, str]:
    """``state``: trusted, untrusted (whole, but its certificate is on no list that is known here), invalid, or none;
    ``issuer`` and ``source`` (IPTC's term) where there are any; ``problem`` of an invalid one.

    Raises ``EngineUnavailable`` without c2pa-python.
    """
    c2pa = _c2pa()
    try:
        with c2pa.Context.from_dict(_CONTEXT) as context:
            reader = c2pa.Reader.try_create(path, context=context)
            if reader is None:
                return {"state": "none"}
            with reader:
                return _told(json.loads(reader.json()))
    except (c2pa.C2paError, ValueError, OSError) as problem:
        return {"state": "invalid", "problem": str(problem)}


def _told(found: dict[str, Any]) -> dict[str, str]:
    claim = found.get("manifests", {}).get(found.get("active_manifest"), {})
    told = {"issuer": str(claim.get("signature_info", {}).get("issuer", ""))}
    for assertion in claim.get("assertions", []):
        if assertion.get("label", "").startswith("c2pa.actions"):
            told["source"] = str(assertion["data"]["actions"][0].get("digitalSourceType", "")).removeprefix(_SOURCE)
    state = found.get("validation_state")
    if state not in ("Valid", "Trusted"):
        faults = [str(fault.get("explanation") or fault.get("code")) for fault in found.get("validation_status", [])]
        return {**told, "state": "invalid", "problem": "; ".join(faults)}
    return {**told, "state": "trusted" if state == "Trusted" else "untrusted"}


def _c2pa() -> Any:
    try:
        import c2pa
    except (ImportError, OSError):  # OSError: its library is not for this machine
        raise EngineUnavailable(
            "The package c2pa-python is not installed.", hint="pip install 'void-nuke[server]'."
        ) from None
    return c2pa


# --- certificates


def secret_pem(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def studio_signer(chain: Path, secret: bytes) -> PictureSigner:
    """The studio's own certificate chain (PEM, leaf first) and its secret key. Raises ``SettingsError``."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        certificates = chain.read_bytes()
        key = load_pem_private_key(secret, None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as problem:
        raise SettingsError(f"c2pa_cert or c2pa_key cannot be read: {problem}.") from problem
    algorithm = ""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "ed25519"
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        algorithm = {256: "es256", 384: "es384", 521: "es512"}.get(key.curve.key_size, "")
    elif isinstance(key, rsa.RSAPrivateKey):
        algorithm = "ps256"
    if not algorithm:
        raise SettingsError(
            "c2pa_key is of a kind that C2PA does not know.", hint="Ed25519, P-256, P-384, P-521 or RSA."
        )
    return PictureSigner(algorithm, certificates, secret_pem(key))


def self_made_signer(key: Ed25519PrivateKey) -> PictureSigner:
    """A chain over the signing key itself: C2PA wants certificates, and refuses a leaf that signed itself.

    It is a function of the key alone, root included: no file to keep, and one issuer for all that the key signs.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding

    root = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"VOID root\n" + key.private_bytes_raw()).digest())
    issuer = _name(root.public_key(), "root")
    certificates = (
        _certificate(_name(key.public_key(), "signing key"), key.public_key(), issuer, root, is_root=False),
        _certificate(issuer, root.public_key(), issuer, root, is_root=True),
    )
    chain = b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)
    return PictureSigner("ed25519", chain, secret_pem(key))


def _certificate(
    subject: Name, public: Ed25519PublicKey, issuer: Name, root: Ed25519PrivateKey, *, is_root: bool
) -> Certificate:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    usage = x509.KeyUsage(
        digital_signature=not is_root, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=is_root, crl_sign=is_root, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    known_by = x509.SubjectKeyIdentifier.from_public_key(public)
    serial = int.from_bytes(known_by.digest[:16], "big") | 1  # never 0
    builder = x509.CertificateBuilder(
        issuer_name=issuer, subject_name=subject, public_key=public, serial_number=serial,
        not_valid_before=_BEGIN, not_valid_after=_END,
    )  # fmt: skip
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(known_by, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), critical=False)
    )
    if not is_root:  # one of the uses that C2PA allows for signing
        use = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(use, critical=False)
    return builder.sign(root, None)


def _name(public: Ed25519PublicKey, what: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    known = hashlib.sha256(public.public_bytes_raw()).hexdigest()[:16]
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "VOID for Nuke (self-made certificate)"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{what} {known}"),
        ]
    )
