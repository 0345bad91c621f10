"""Commands on a running server's jobs: submit, status, cancel, fetch. Base install, Python 3.9."""

from __future__ import annotations

import argparse
import os
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from void_client import schema, servers
from void_client.client import Client
from void_client.errors import InputError, RetryableError, VoidError
from void_client.job import Resolved, name_the_file
from void_client.messages import Accepted, JobInfo
from void_client.provenance import describe

from . import seeds
from .output import Output
from .shot import add_server_arguments, add_shot_arguments, all_servers, open_client, resolve


def add_commands(commands: Any) -> None:
    submit = commands.add_parser("submit", help="send a shot to a server and return")
    add_shot_arguments(submit)
    submit.add_argument("--review", action="store_true", help="stop at the quadmask until it is approved")
    submit.set_defaults(run=_submit)
    approve = commands.add_parser("approve", help="a quadmask in review is good: go on")
    approve.add_argument("job_id")
    approve.set_defaults(run=_approve)
    status = commands.add_parser("status", help="the server's jobs, or one")
    status.add_argument("job_id", nargs="?")
    status.set_defaults(run=_status)
    cancel = commands.add_parser("cancel", help="end a job")
    cancel.add_argument("job_id")
    cancel.set_defaults(run=_cancel)
    fetch = commands.add_parser("fetch", help="wait for a job and bring its result")
    fetch.add_argument("job_id")
    fetch.add_argument("--out", type=Path, required=True, help="the folder for the frames")
    fetch.set_defaults(run=_fetch)
    seeds.add_choose(commands)
    for command in (submit, approve, status, cancel, fetch):
        add_server_arguments(command)


def _submit(options: argparse.Namespace, output: Output) -> int:
    resolved, _, _ = resolve(options, output)
    if options.review:
        resolved = replace(resolved, spec=replace(resolved.spec, stop="review"))
    job_id, accepted = _deliver(options, resolved, output)
    output.say(job_id, job=schema.dump(accepted.job), created=accepted.created)
    return 0


def _deliver(options: argparse.Namespace, resolved: Resolved, output: Output) -> tuple[str, Accepted]:
    """To the best of the servers that takes it, which is remembered."""
    job_id = options.job_id or str(uuid.uuid4())
    found = all_servers(options)
    if len(found) > 1:
        found = tuple(each.settings for each in servers.choose(found, resolved.spec, ""))
    for settings in found:
        last = settings is found[-1]
        try:
            with Client(settings) as client:
                accepted = client.deliver(
                    job_id, resolved, priority=options.priority, on_progress=output.transfer,
                    busy_wait_s=600.0 if last else 0.0,
                )  # fmt: skip
        except InputError as error:
            name_the_file(error, resolved.names)
            raise
        except RetryableError as error:
            if last:
                raise
            output.note(f"{settings.endpoint} does not take the job: {error.message}")
            continue
        servers.remember(servers.state_dir(os.environ), job_id, settings.endpoint)
        return job_id, accepted
    raise AssertionError("there is a server at least")


def _status(options: argparse.Namespace, output: Output) -> int:
    """Of several servers, each one's; a server that does not answer is told, and is the exit code."""
    found = all_servers(options)
    if options.job_id or len(found) == 1:
        with open_client(options, options.job_id or "") as client:
            _tell(client, options.job_id, output)
        return 0
    code = 0
    for settings in found:
        try:
            with Client(settings) as client:
                output.say(f"{settings.endpoint}:", server=settings.endpoint)
                _tell(client, None, output)
        except VoidError as error:
            output.error(error)
            code = error.exit_code
    return code


def _tell(client: Client, job_id: str | None, output: Output) -> None:
    jobs = client.status(job_id)
    for job in jobs:
        signed, values = _signed(client, job) if job_id else ("", {})
        output.say(_line(job) + (signed and f"\n    {signed}"), job=schema.dump(job), **values)
    unsigned = {w["signing"]["reason"] for w in client.health()["workers"] if w.get("signing", {}).get("reason")}
    if not jobs:
        output.say("The server has no jobs.")
    for reason in sorted(unsigned):
        output.say(f"This server's results are NOT SIGNED: {reason}", not_signed=reason)


def _cancel(options: argparse.Namespace, output: Output) -> int:
    with open_client(options, options.job_id) as client:
        job = client.cancel(options.job_id)
    output.say(_line(job), job=schema.dump(job))
    return 0


def _approve(options: argparse.Namespace, output: Output) -> int:
    with open_client(options, options.job_id) as client:
        job = client.approve(options.job_id)
    output.say(_line(job), job=schema.dump(job))
    return 0


def _fetch(options: argparse.Namespace, output: Output) -> int:
    with open_client(options, options.job_id) as client:
        in_review = client.status(options.job_id)[0].state == "review"
        if not in_review:
            client.wait(options.job_id, output.event)
        manifest = client.download(options.job_id, options.out, output.transfer)
    if in_review:
        output.say(f"The job waits: look at the quadmask, then `void approve {options.job_id}`.", review=True)
    signed, values = describe(manifest)
    count = len(manifest.frames)
    text = f"{count} frames in {options.out}; {signed}"
    warnings = output.warnings(manifest.facts)
    output.say(text, out=str(options.out), frames=count, provenance=values, warnings=warnings)
    return 0


def _signed(client: Client, job: JobInfo) -> tuple[str, dict[str, Any]]:
    """What a job's result says of its signer, where there is a result."""
    if job.state not in ("done", "review"):
        return "", {}
    try:
        signed, values = describe(client.manifest(job.job_id))
    except VoidError:  # it has left: the status is still the status
        return "", {}
    return signed, {"provenance": values}


def _line(job: JobInfo) -> str:
    state = job.state
    if job.state == "queued":
        state = f"queued, {job.place} before it"
    elif job.state == "running" and job.stage:
        state = f"running: {job.stage}"
    elif job.error:
        state = f"failed: {job.error.get('message', '')}"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.submitted))
    return f"{job.job_id}  {when}  {job.shot:<16} {job.engine:<11} {state}"
