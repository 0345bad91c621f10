"""Commands that bring their own server: serve, render, demo."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from void_client.client import Client
from void_client.errors import EngineUnavailable, InputError, JobError, ServerUnreachable, VoidError
from void_client.job import Resolved, name_the_file
from void_client.manifest import ResultManifest
from void_client.messages import Event
from void_client.provenance import describe
from void_client.settings import CONNECTION_FILE, ClientSettings, data_dir, load_client_settings, load_settings

from . import places
from .output import Output
from .shot import add_server_arguments, add_shot_arguments, open_client, resolve, user_signing_key

_START_S = 60.0
_HOST = ("devices", "models", "memory")


def add_commands(commands: Any) -> None:
    serve = commands.add_parser("serve", help="run a server on this machine")
    serve.add_argument("--data", help="the server's folder, on a local disk")
    serve.add_argument("--bind", help="tcp://address:port (tcp://127.0.0.1:7411); port 0 takes a free one")
    serve.add_argument("--endpoint", help="what clients are told, if not the bound address")
    _add_host_arguments(serve)
    serve.add_argument("--share-root", dest="share_roots", action="append", help="a folder that clients may share")
    serve.add_argument("--config", type=Path, help="a settings file (YAML); all settings: docs/td.md")
    serve.add_argument("--until-stdin-closes", action="store_true", help="end with the program that started it")
    serve.set_defaults(run=_serve)
    render = commands.add_parser("render", help="clean a shot: the frames and their manifest into a folder")
    add_shot_arguments(render)
    add_server_arguments(render)
    render.add_argument("--out", type=Path, help="the folder for the frames")
    render.add_argument(
        "--local", action="store_true", help="use a private server, though --server or --connection is given"
    )
    render.add_argument(
        "--data",
        type=Path,
        help="the private server's folder, which stays; without it one in the cache, kept until the render succeeds",
    )
    _add_host_arguments(render)
    _add_choosing_arguments(render)
    render.set_defaults(run=_render, stop="")
    quadmask = commands.add_parser("quadmask", help="work out a shot's quadmask only, to look at and to edit")
    add_shot_arguments(quadmask)
    add_server_arguments(quadmask)
    quadmask.add_argument("--out", type=Path, help="the folder for the quadmask, the overlay and the analysis")
    quadmask.add_argument("--local", action="store_true", help="use a private server")
    quadmask.add_argument("--data", type=Path, help="the private server's folder, which stays")
    _add_host_arguments(quadmask)
    quadmask.set_defaults(run=_render, stop="masks", again=None, seeds=None, check=False, context=None)
    demo = commands.add_parser("demo", help="a synthetic shot through a real server, measured against the truth")
    demo.add_argument("--out", type=Path, default=Path("demo_out"), help="where to put it (demo_out)")
    demo.add_argument("--size", default="640x360", help="WIDTHxHEIGHT (640x360)")
    demo.add_argument("--length", type=int, default=24, help="frames (24)")
    demo.set_defaults(run=_demo)


def _add_choosing_arguments(render: argparse.ArgumentParser) -> None:
    more = render.add_argument_group("again, and to choose from", "docs/artist.md, Choosing")
    more.add_argument(
        "--again", type=Path, metavar="OUT", help="repeat the result in this folder exactly, or some of its --frames"
    )
    more.add_argument("--check", action="store_true", help="with --again: compare only, keep no frames")
    more.add_argument(
        "--context", type=int, metavar="N", help="with --again and --frames: finished frames around them to go by (16)"
    )
    more.add_argument("--seeds", metavar="N", help="so many seeds, or these: 1,5,9; then `void choose`")


def _add_host_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", dest="devices", action="append", help="cpu, cuda:0 …; one worker each (cpu)")
    command.add_argument("--models", help="the folder of the engine void's weights: see `void models fetch`")
    command.add_argument("--memory", help="how they are held: auto, full, offload, group, fp8, each with +tiled (auto)")


def need_server() -> None:
    """Raises ``EngineUnavailable`` where server or engine cannot run here. Looks for the packages, loads none."""
    lacking = [
        name
        for name in ("numpy", "cv2", "OpenEXR", "OpenImageIO", "patchmatch")
        if importlib.util.find_spec(name) is None
    ]
    if sys.version_info < (3, 11):
        lacking.insert(0, "Python 3.11")
    if sys.platform != "linux":
        lacking.insert(0, "Linux")
    if lacking:
        raise EngineUnavailable(
            f"The server cannot run here: it lacks {', '.join(lacking)}.",
            hint="It needs Linux, Python 3.11 or later and: pip install 'void-nuke[server,plates]'.",
        )


def _serve(options: argparse.Namespace, output: Output) -> int:
    need_server()
    from void_server import server
    from void_server.logs import log_to_file
    from void_server.router import Router
    from void_server.settings import PREFIX, ServerSettings

    given = {k: getattr(options, k) for k in ("data", "bind", "endpoint", "share_roots", *_HOST)}
    if given["models"]:
        given["models"] = os.path.abspath(given["models"])
    if given["share_roots"]:
        given["share_roots"] = [os.path.abspath(root) for root in given["share_roots"]]
    settings = load_settings(
        ServerSettings, file=options.config, prefix=PREFIX, environment=os.environ, overrides=given
    )
    if not settings.data:
        settings = dataclasses.replace(settings, data=str(data_dir(os.environ)))
    settings.root.mkdir(mode=0o700, parents=True, exist_ok=True)
    logging.getLogger().setLevel(logging.INFO)
    log_to_file(settings.root / "server.log")

    def ready(endpoint: str, public: str, router: Router) -> None:
        server.stop_on_signals(router)
        if options.until_stdin_closes:
            threading.Thread(target=_stop_with_stdin, args=(router.stop,), daemon=True).start()
        output.say(
            f"VOID server at {endpoint}\npublic key {public}\ndata in {settings.data}",
            endpoint=endpoint,
            public_key=public,
            data=settings.data,
        )

    server.serve(settings, ready)
    return 0


def _stop_with_stdin(stop: Any) -> None:
    while os.read(0, 4096):
        pass
    stop()


def _render(options: argparse.Namespace, output: Output) -> int:
    if not _is_remote(options):
        need_server()
    elif any(getattr(options, key) for key in _HOST):
        raise InputError(
            "--device, --models and --memory are the server's to say.",
            hint="Leave them out, or render with --local on this machine.",
        )
    if options.again is not None:
        from . import again

        return again.run(options, output)
    if options.check or options.context is not None:
        raise JobError("--check and --context go with --again OUT.")
    resolved, shot, base = resolve(options, output)
    resolved = dataclasses.replace(resolved, spec=dataclasses.replace(resolved.spec, stop=options.stop))
    out = options.out or (base / shot.out if shot.out else None)
    if out is None:
        raise JobError("Where should the frames go?", hint="Give --out FOLDER, or `out:` in the shot file.")
    check_out(out, resolved)
    if options.seeds:
        from . import seeds

        return seeds.solve(options, resolved, out, output)
    with session(options, resolved.files.values(), out) as client:
        manifest = follow(client, options, resolved, out, output)
    signed, values = describe(manifest)
    count = len(manifest.frames)
    output.say(f"{count} frames in {out}; {signed}", out=str(out), job=manifest.job_id, frames=count, provenance=values)
    return 0


def _is_remote(options: argparse.Namespace) -> bool:
    return bool((options.server or options.connection) and not options.local)


@contextmanager
def session(options: argparse.Namespace, files: Iterable[Path], out: Path) -> Iterator[Client]:
    """A client of the server that the options name, or of a private one, which may read where ``files`` lie.

    ``out``: what the private server's work is kept for, until it has succeeded.
    """
    if _is_remote(options):
        with open_client(options) as client:
            yield client
        return
    with _work_folder(options.data, out) as data:
        roots = sorted({str(path.resolve().parent) for path in files})
        with private_server(data, roots, _host(options)) as settings, Client(settings) as client:
            yield client


def _host(options: argparse.Namespace) -> list[str]:
    """The arguments of `void serve` that say how this machine runs engines."""
    arguments = [part for device in options.devices or () for part in ("--device", device)]
    if options.models:
        arguments += ["--models", os.path.abspath(options.models)]
    if options.memory:
        arguments += ["--memory", options.memory]
    return arguments


def check_out(out: Path, resolved: Resolved) -> None:
    for path in resolved.files.values():
        if path.resolve().parent == out.resolve():
            raise JobError(
                f"{out} holds the shot's own frames.", hint="Choose another --out: results must not replace plates."
            )


def follow(
    client: Client,
    options: argparse.Namespace,
    resolved: Resolved,
    out: Path | None,
    output: Output,
    *,
    job_id: str = "",
    on_event: Callable[[Event], None] | None = None,
) -> ResultManifest:
    """One job to its end and into ``out``, or nowhere: the manifest is brought at least. Ctrl-C cancels it."""
    job_id = job_id or options.job_id or str(uuid.uuid4())
    try:
        client.deliver(job_id, resolved, priority=options.priority, on_progress=output.transfer)
        client.wait(job_id, on_event or output.event)
    except InputError as error:
        name_the_file(error, resolved.names)
        raise
    except KeyboardInterrupt:
        with contextlib.suppress(VoidError):
            client.cancel(job_id)
        raise
    if out is None:
        return client.manifest(job_id)
    manifest = client.download(job_id, out, output.transfer)
    places.note(out, resolved.names)
    return manifest


@contextmanager
def _work_folder(chosen: Path | None, out: Path) -> Iterator[Path]:
    """The private server's data. Without a choice it lives in the user's cache until the render has succeeded:
    what was done before a kill or a failure is then found again by the next try of the same output folder."""
    if chosen is not None:
        yield chosen
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "void"
    folder = cache / ("render-" + hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16])
    try:
        yield folder
    except InputError:
        shutil.rmtree(folder, ignore_errors=True)  # nothing was done that another try could use
        raise
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_server(
    data: Path, share_roots: Sequence[str], host: Sequence[str] = (), *, sign_as_user: bool = True
) -> Iterator[ClientSettings]:
    """A server process of our own on a free local port, which ends with us. ``host``: arguments of `void serve`.
    ``sign_as_user``: with the user's own key, else with one of the data folder.

    Raises ``ServerUnreachable``.
    """
    from void_server.settings import HOST_KEYS, PREFIX

    data.mkdir(parents=True, exist_ok=True)
    connection = data / CONNECTION_FILE
    connection.unlink(missing_ok=True)
    command = [sys.executable, "-m", "void_cli.main", "serve", "--until-stdin-closes"]
    command += ["--data", str(data), "--bind", "tcp://127.0.0.1:*"]
    for root in share_roots:
        command += ["--share-root", root]
    command += host
    # From the environment it takes how this machine runs engines, not where a server is.
    kept = {PREFIX + key.upper() for key in ("devices", *HOST_KEYS)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(PREFIX) or k in kept}
    if sign_as_user:
        _sign_as_the_user(environment, PREFIX + "SIGNING_KEY")
    log_path = data / "output.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        _wait_for(connection, process, log_path)
        yield load_client_settings({}, {}, connection)
    finally:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _sign_as_the_user(environment: dict[str, str], variable: str) -> None:
    """Data folders of private servers come and go; results that one user makes should have one key to be pinned.

    Where the user's settings cannot be written, as on some farms, the data folder's own key has to do.
    """
    key = user_signing_key(environment)
    with contextlib.suppress(OSError):
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if key.exists() or os.access(key.parent, os.W_OK):
        environment.setdefault(variable, str(key))


def _wait_for(connection: Path, process: subprocess.Popen[bytes], log_path: Path) -> None:
    give_up = time.monotonic() + _START_S
    while not connection.is_file():
        if process.poll() is not None or time.monotonic() > give_up:
            tail = log_path.read_text(errors="replace").strip().splitlines()[-3:]
            raise ServerUnreachable(f"The private server did not start: {' / '.join(tail)}", hint=f"Log: {log_path}")
        time.sleep(0.02)


def _demo(options: argparse.Namespace, output: Output) -> int:
    need_server()
    from .demo import run as run_demo

    try:
        width, height = (int(part) for part in options.size.split("x"))
    except ValueError:
        raise InputError(f"{options.size!r} is not a size.", hint="Write --size 640x360.") from None
    return run_demo(options.out, width, height, options.length, output)
