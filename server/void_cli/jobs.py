"""Commands on a running server's jobs: submit, status, cancel, fetch. Base install, Python 3.9."""

from __future__ import annotations

import argparse
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from void_client import schema
from void_client.client import Client
from void_client.errors import InputError, VoidError
from void_client.job import name_the_file
from void_client.messages import JobInfo
from void_client.provenance import describe

from . import seeds
from .output import Output
from .shot import add_server_arguments, add_shot_arguments, open_client, resolve


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
    job_id = options.job_id or str(uuid.uuid4())
    with open_client(options) as client:
        try:
            accepted = client.deliver(job_id, resolved, priority=options.priority, on_progress=output.transfer)
        except InputError as error:
            name_the_file(error, resolved.names)
            raise
    output.say(job_id, job=schema.dump(accepted.job), created=accepted.created)
    return 0


def _status(options: argparse.Namespace, output: Output) -> int:
    with open_client(options) as client:
        jobs = client.status(options.job_id)
        for job in jobs:
            signed, values = _signed(client, job) if options.job_id else ("", {})
            output.say(_line(job) + (signed and f"\n    {signed}"), job=schema.dump(job), **values)
        unsigned = {w["signing"]["reason"] for w in client.health()["workers"] if w.get("signing", {}).get("reason")}
    if not jobs:
        output.say("The server has no jobs.")
    for reason in sorted(unsigned):
        output.say(f"This server's results are NOT SIGNED: {reason}", not_signed=reason)
    return 0


def _cancel(options: argparse.Namespace, output: Output) -> int:
    with open_client(options) as client:
        job = client.cancel(options.job_id)
    output.say(_line(job), job=schema.dump(job))
    return 0


def _approve(options: argparse.Namespace, output: Output) -> int:
    with open_client(options) as client:
        job = client.approve(options.job_id)
    output.say(_line(job), job=schema.dump(job))
    return 0


def _fetch(options: argparse.Namespace, output: Output) -> int:
    with open_client(options) as client:
        in_review = client.status(options.job_id)[0].state == "review"
        if not in_review:
            client.wait(options.job_id, output.event)
        manifest = client.download(options.job_id, options.out, output.transfer)
    if in_review:
        output.say(f"The job waits: look at the quadmask, then `void approve {options.job_id}`.", review=True)
    signed, values = describe(manifest)
    count = len(manifest.frames)
    output.say(f"{count} frames in {options.out}; {signed}", out=str(options.out), frames=count, provenance=values)
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
