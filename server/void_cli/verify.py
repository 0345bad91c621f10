"""``void verify FOLDER``: is a result what its server made, and whose server was it.

Exit codes: 0 nothing was changed and no trusted key says otherwise, 2 it could not be looked at, 4 it is not what was
signed, not signed, or signed by a key that is not trusted.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from void_client import schema
from void_client.errors import EngineUnavailable, InputError, NotVerified
from void_client.manifest import ResultManifest
from void_client.provenance import TRUSTED_KEYS, Report, examine, key_id, printable, read_keys
from void_client.settings import config_dir

from .output import Output

_SHOWN = 20
_HINTS = {
    "altered": "Fetch or render it again; do not pass it on.",
    "unsigned": "Nothing shows who made it. Mend what is said above, and render it again.",
    "other_key": "If that key is one of yours, add it to the trusted ones: docs/provenance.md.",
}


def add_commands(commands: Any) -> None:
    verify = commands.add_parser("verify", help="is a result what its server made: every file, and the signature")
    verify.add_argument("folder", type=Path, help="what `void render` or `void fetch` delivered")
    verify.add_argument(
        "--key",
        action="append",
        default=[],
        help=f"the signer's public key, or a file with some; repeatable. Without it, {TRUSTED_KEYS} of the user's "
        "settings where there is one",
    )
    verify.set_defaults(run=_verify)


def _verify(options: argparse.Namespace, output: Output) -> int:
    try:
        manifest, report = examine(options.folder, _pinned(options.key), output.transfer)
    except OSError as problem:
        raise InputError(f"{options.folder} cannot be read: {problem}.") from problem
    credentials, faults = _credentials(options.folder, manifest)
    _tell(options.folder, manifest, report, credentials, output)
    if not report.passed or faults:
        sentence = report.sentence if not report.passed else f"{', '.join(faults)}: the content credential is invalid."
        verdict = report.verdict if not report.passed else "altered"
        raise NotVerified(sentence, hint=_HINTS[verdict], details={"verdict": verdict})
    return 0


def _pinned(given: list[str]) -> dict[str, str]:
    trusted = config_dir(os.environ) / TRUSTED_KEYS
    sources = given or ([str(trusted)] if trusted.exists() else [])
    return {key: name for source in sources for key, name in read_keys(source).items()}


def _credentials(folder: Path, manifest: ResultManifest) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What each still and movie says of itself, and those that should not be believed."""
    promised = manifest.provenance.credentials if manifest.provenance is not None else {}
    told: dict[str, dict[str, str]] = {}
    for file in manifest.files:  # by these names, which are checked: a manifest from elsewhere names no path
        if promised.get(file.name):
            told[file.name] = {"state": "none", "problem": promised[file.name]}
        elif file.name in promised and (folder / file.name).is_file():
            told[file.name] = _read(folder / file.name)
    return told, sorted(name for name, each in told.items() if each["state"] == "invalid")


def _read(path: Path) -> dict[str, str]:
    from void_server import credentials

    try:
        return credentials.read(path)
    except EngineUnavailable as error:
        return {"state": "unread", "problem": error.message}


def _tell(
    folder: Path, manifest: ResultManifest, report: Report, credentials: Mapping[str, Mapping[str, str]], output: Output
) -> None:
    if output.as_json:
        values = {
            "verdict": report.verdict,
            "passed": report.passed,
            "key": report.key,
            "key_id": _id(report.key),
            "job": manifest.job_id,
            "frames": len(manifest.frames),
            "problems": [schema.dump(problem) for problem in report.problems],
            "credentials": credentials,
            "others": list(report.others),
        }
        output.say(report.sentence, **values)
        return
    for problem in report.problems[:_SHOWN]:
        output.say(problem.text)
    if len(report.problems) > _SHOWN:
        output.say(f"… and {len(report.problems) - _SHOWN} more (--json lists all)")
    for name, each in credentials.items():
        output.say(f"{name}: {printable(_credential_told(each))}")
    if report.others:
        output.say(f"not part of the result: {printable(', '.join(report.others[:_SHOWN]))}")
    if report.passed:
        output.say(f"{len(manifest.frames)} frames and {len(manifest.files)} files in {folder}: {report.sentence}")


def _id(key: str) -> str:
    try:
        return key_id(key) if key else ""
    except ValueError:  # what stands there is no key
        return ""


def _credential_told(each: Mapping[str, str]) -> str:
    source = f" ({each['source']})" if each.get("source") else ""
    return {
        "trusted": f"content credential by {each.get('issuer')}, trusted{source}",
        "untrusted": f"content credential by {each.get('issuer')}: whole, its certificate on no trust list{source}",
        "invalid": f"content credential INVALID: {each.get('problem')}",
        "none": f"NO content credential: {each.get('problem', 'there is none in the file')}",
        "unread": f"content credential not looked at: {each.get('problem')}",
    }[each["state"]]
