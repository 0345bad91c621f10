"""The arguments that describe a shot and a server, shared by the commands."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from void_client import schema, servers
from void_client.client import Client
from void_client.errors import JobError
from void_client.job import Resolved, ShotFile, check_job_id
from void_client.path_rules import load_rules
from void_client.settings import ClientSettings, config_dir

from .movies import unpacked
from .output import Output


def user_signing_key(environment: Mapping[str, str]) -> Path:
    """What private servers sign with: they come and go, their user's key stays."""
    return config_dir(environment) / "keys" / "signing.pem"


def add_shot_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("shot_file", nargs="?", type=Path, help="a shot file (YAML or JSON); options override it")
    command.add_argument("--plate", help='EXR sequence: "shot/plate.%%04d.exr" or "shot/plate.####.exr"')
    command.add_argument("--frames", help='frame range: "1001-1046"; all on disk without it')
    command.add_argument("--deliver", help='the frames that come back: "1009-1040"; the others are context')
    command.add_argument("--handles", type=int, help="or so: this many frames at both ends are context only")
    command.add_argument("--quadmask", help="quadmask sequence: 0 remove, 63 overlap, 127 affected, 255 keep")
    command.add_argument("--overrides", help="a sidecar of overrides; without it void.yaml beside the shot file")
    _add_mask_arguments(command)
    command.add_argument("--engine", help="what makes the pixels (cleanplate)")
    command.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="an option of the engine")
    command.add_argument("--layer", help="the RGB layer to clean; R, G, B without it")
    command.add_argument(
        "--colour-space", dest="colour_space", help="the plate's working space; default: linear Rec.709"
    )
    command.add_argument("--ocio", help="the OCIO configuration that knows it: ocio://NAME, an .ocioz or .ocio file")
    command.add_argument("--prompt", help="what the scene looks like once the object is gone")
    command.add_argument("--seed", type=int, help="random seed (42)")
    command.add_argument("--name", dest="shot", help="the shot's name, for the queue")
    command.add_argument("--priority", type=int, default=50, help="0 to 100, higher first (50)")
    command.add_argument("--job-id", dest="job_id", help="this job's id; sending one twice is one job")


def _add_mask_arguments(command: argparse.ArgumentParser) -> None:
    masks = command.add_argument_group("the object", "instead of --quadmask: one is worked out from these")
    at = "FRAME:X,Y"
    masks.add_argument(
        "--click", action="append", default=[], metavar=at, help="a point on the object, in plate pixels"
    )
    masks.add_argument("--not-click", action="append", default=[], metavar=at, help="a point beside the object")
    masks.add_argument("--box", action="append", default=[], metavar="FRAME:X0,Y0,X1,Y1", help="a box around it")
    masks.add_argument("--matte", help="the object's own matte, white inside, on any of the plate's frames")
    masks.add_argument(
        "--affected-matte", dest="affected", help="what its removal changes, white inside: where it is, instead of the "
        "reasoner's affected region",
    )  # fmt: skip
    masks.add_argument("--segmenter", help="what carries it through the clip: track, sam2 (track)")
    masks.add_argument("--reasoner", help="who says what it causes: motion, gemini, openai, manual, none (motion)")
    masks.add_argument("--fallback", help="the reasoner that takes over where the first cannot")
    masks.add_argument("--words", help="what you know of the object and of what it does")
    masks.add_argument("--analysis", help="an edited analysis (JSON) instead of a reasoner's")
    masks.add_argument("--mask-option", action="append", default=[], metavar="KEY=VALUE", help="grow, shape, cells …")


def add_server_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--server", metavar="ENDPOINT", help="tcp://host:port")
    command.add_argument("--server-key", dest="server_key", help="the server's public key")
    command.add_argument("--key-file", dest="key_file", help="your secret key file")
    command.add_argument(
        "--connection", type=Path, action="append", help="a connection file, as `void serve` writes it; may be repeated"
    )
    command.add_argument("--timeout", type=float, help="seconds that a request may wait (30)")


def all_servers(options: argparse.Namespace) -> tuple[ClientSettings, ...]:
    """Every server that options and settings name, the first choice first."""
    overrides = {
        "endpoint": options.server,
        "server_key": options.server_key,
        "key_file": options.key_file,
        "timeout_s": options.timeout,
    }
    return servers.load_servers(os.environ, overrides, options.connection or ())


def client_settings(options: argparse.Namespace) -> ClientSettings:
    return all_servers(options)[0]


def open_client(options: argparse.Namespace, job_id: str = "") -> Client:
    """Of the first server; or, of several, of that which has ``job_id``."""
    found = all_servers(options)
    if job_id:
        return Client(servers.find(found, job_id, servers.state_dir(os.environ)))
    return Client(found[0])


def shot_of(options: argparse.Namespace) -> tuple[ShotFile, Path]:
    """The shot that file and options describe, and the folder from which its paths count. Raises ``JobError``."""
    names = (
        "plate", "frames", "quadmask", "overrides", "engine", "layer", "colour_space", "ocio", "prompt", "seed", "shot",
        "deliver", "handles",
    )  # fmt: skip
    given: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    if options.option:
        given["options"] = dict(_option(text) for text in options.option)
    masks = _masks(options)
    if options.shot_file is None:
        if "plate" not in given:
            raise JobError("Which plate?", hint="Give a shot file, or --plate with a frame pattern.")
        if "quadmask" not in given and not masks:
            raise JobError(
                "Which quadmask?",
                hint="Give --quadmask with a frame pattern, or say what the object is: --click, --box or --matte.",
            )
        if masks:
            given["masks"] = masks
        return schema.load(ShotFile, given, where="command line", error=JobError), Path.cwd()
    base = options.shot_file.resolve().parent
    for name in ("plate", "quadmask", "overrides"):
        if name in given:  # a path on the command line counts from where the command is typed
            given[name] = os.path.abspath(os.path.expanduser(given[name]))
    written = schema.dump(ShotFile.read(options.shot_file))
    if "deliver" in given or "handles" in given:
        written.update(deliver=None, handles=0)
    if masks:
        written["masks"] = {**(written.get("masks") or {}), **masks}
        written["quadmask"] = given.get("quadmask")
    return schema.load(ShotFile, {**written, **given}, where="command line", error=JobError), base


def _masks(options: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of the object, as `void_client.job.MaskFile` is written."""
    names = ("segmenter", "reasoner", "fallback", "words")
    masks: dict[str, Any] = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    for name in ("matte", "affected", "analysis"):
        if getattr(options, name) is not None:
            masks[name] = os.path.abspath(os.path.expanduser(getattr(options, name)))
    points = [(text, True) for text in options.click] + [(text, False) for text in options.not_click]
    if points:
        masks["clicks"] = [
            {**dict(zip(("frame", "x", "y"), _place(text, 2))), "positive": positive} for text, positive in points
        ]
    if options.box:
        masks["boxes"] = [dict(zip(("frame", "x0", "y0", "x1", "y1"), _place(text, 4))) for text in options.box]
    if options.mask_option:
        masks["options"] = dict(_option(text) for text in options.mask_option)
    return masks


def _place(text: str, count: int) -> tuple[float, ...]:
    frame, _, rest = text.partition(":")
    try:
        numbers = tuple(float(part) for part in rest.split(","))
        if len(numbers) != count:
            raise ValueError
        return (int(frame), *numbers)
    except ValueError:
        raise JobError(
            f"{text!r} is not a place.", hint="Write --click 1024:960,540 or --box 1024:900,500,1020,580."
        ) from None


def resolve(options: argparse.Namespace, output: Output) -> tuple[Resolved, ShotFile, Path]:
    # What is typed is judged before a long shot is hashed.
    if options.job_id is not None:
        check_job_id(options.job_id)
    if not 0 <= options.priority <= 100:
        raise JobError(f"The priority {options.priority} is not between 0 and 100.")
    shot, base = shot_of(options)
    rules = load_rules(getattr(options, "path_mapping", None), os.environ)
    shot = unpacked(rules.shot(shot), base, output)
    resolved = shot.resolve(base, lambda done, of: output.bar("hash", done, of), rules.localised)
    for warning in resolved.warnings:
        output.say(f"warning: {warning}", warning=warning)
    return resolved, shot, base


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise JobError(f"{text!r} is not an option.", hint="Write --option key=value.")
    return key, _plain(value)


def _plain(text: str) -> Any:
    words: Mapping[str, Any] = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
