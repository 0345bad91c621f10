"""A farm job as an Open Job Description bundle: a folder with ``template.yaml`` and two files beside it.

``deadline bundle submit FOLDER`` sends it to AWS Deadline Cloud, ``openjd run FOLDER/template.yaml`` runs it here. The
steps: *VoidSolve* (a task for each shot, on a GPU where its engine wants one) and *Render*, which waits for it and runs
the published adaptor of Deadline Cloud for Nuke in chunks of frames. https://github.com/OpenJobDescription
/openjd-specifications, template schemas 2023-09 with the extension TASK_CHUNKING.
Promises: paths inside the bundle are relative, so that it may be moved; the same job gives the same bytes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import LiteralScalarString

from .farm_job import FarmJob, FarmRender, FarmShot, input_files, output_folders, shot_texts
from .manifest import write_durably

TEMPLATE, VALUES, ASSETS = "template.yaml", "parameter_values.yaml", "asset_references.yaml"
SHOTS = "shots"
_NOTICE_S = 30  # a cancelled solve tells its server and ends in order within this
_SOLVE, _SOLVE_CPU, _RENDER = "VoidSolve", "VoidSolveCPU", "Render"


def write_bundle(job: FarmJob, folder: Path) -> Path:
    """The whole bundle; a script to be rendered lies in ``folder`` already. Raises ``DiskFull``, ``OSError``."""
    (folder / SHOTS).mkdir(parents=True, exist_ok=True)
    for name, content in shot_texts(job).items():
        write_durably(folder / SHOTS / name, yaml_bytes(content))
    write_durably(folder / ASSETS, yaml_bytes(asset_references(job)))
    write_durably(folder / VALUES, yaml_bytes(parameter_values(job)))
    write_durably(folder / TEMPLATE, yaml_bytes(template(job)))
    return folder


def template(job: FarmJob) -> dict[str, Any]:
    """What the farm runs."""
    solves = [(_SOLVE, job.with_gpu(True), True), (_SOLVE_CPU, job.with_gpu(False), False)]
    present = [(name, shots, gpu) for name, shots, gpu in solves if shots]
    if len(present) == 1:  # one solve step has one name, whatever it needs
        present = [(_SOLVE, present[0][1], present[0][2])]
    steps = [_solve_step(job, name, shots, gpu) for name, shots, gpu in present]
    if job.render is not None:
        steps.append(_render_step(job, [name for name, _, _ in present]))
    return {
        "specificationVersion": "jobtemplate-2023-09",
        **({"extensions": ["TASK_CHUNKING"]} if job.render is not None else {}),
        "name": job.name,
        "parameterDefinitions": _parameters(job),
        "steps": steps,
    }


def parameter_values(job: FarmJob) -> dict[str, Any]:
    """What the manager itself wants to know; the template's own parameters have their values as defaults."""
    return {
        "parameterValues": [
            {"name": "deadline:priority", "value": job.priority},
            {"name": "deadline:maxRetriesPerTask", "value": job.retries},
            {"name": "deadline:targetTaskRunStatus", "value": "READY"},
        ]
    }


def asset_references(job: FarmJob) -> dict[str, Any]:
    """What must be brought to a worker that does not share the submitter's storage, and what it leaves."""
    return {
        "assetReferences": {
            "inputs": {"filenames": list(input_files(job)), "directories": []},
            "outputs": {"directories": list(output_folders(job))},
            "referencedPaths": [],
        }
    }


# --- parts of the template


def _parameters(job: FarmJob) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    if job.shots:
        made += [
            {
                "name": "ShotDir",
                "type": "PATH",
                "objectType": "DIRECTORY",
                "dataFlow": "IN",
                "default": SHOTS,
                "description": "The shot files, one for each task of the solve.",
            },
            {
                "name": "VoidCommand",
                "type": "STRING",
                "default": job.void,
                "description": "The command `void` on the workers.",
            },
        ]
    if job.render is not None:
        made += _render_parameters(job.render)
    return made


def _render_parameters(render: FarmRender) -> list[dict[str, Any]]:
    return [
        {
            "name": "NukeScriptFile",
            "type": "PATH",
            "objectType": "FILE",
            "dataFlow": "IN",
            "default": render.script,
            "description": "The saved script.",
        },
        {"name": "Frames", "type": "STRING", "default": render.frames, "description": "The frames to render."},
        {
            "name": "ChunkSize",
            "type": "INT",
            "default": render.chunk_size,
            "minValue": 1,
            "description": "Frames of a render task.",
        },
        {"name": "WriteNode", "type": "STRING", "default": render.write_node, "description": "Which Write renders."},
        {
            "name": "ContinueOnError",
            "type": "STRING",
            "default": "true" if render.continue_on_error else "false",
            "allowedValues": ["true", "false"],
            "description": "Go on with the next frame after an error.",
        },
    ]


def _solve_step(job: FarmJob, name: str, shots: tuple[FarmShot, ...], gpu: bool) -> dict[str, Any]:
    arguments = ["render", "{{Param.ShotDir}}/{{Task.Param.Shot}}.yaml", "--progress", "openjd"]
    arguments += ["--path-mapping", "{{Session.PathMappingRulesFile}}"]
    step: dict[str, Any] = {
        "name": name,
        "description": "Each shot once; what is finished already is not done again.",
        "parameterSpace": {
            "taskParameterDefinitions": [
                {"name": "Shot", "type": "STRING", "range": [each.name for each in shots]},
            ]
        },
    }
    if job.server:
        arguments.append("--remote")
    else:
        step["stepEnvironments"] = [_warm_server(job, gpu)]
        step["hostRequirements"] = _host(job, gpu)
    step["script"] = {
        "actions": {
            "onRun": {
                "command": "{{Param.VoidCommand}}",
                "args": arguments,
                "timeout": job.solve_timeout_s,
                "cancelation": {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": _NOTICE_S},
            }
        }
    }
    return step


def _warm_server(job: FarmJob, gpu: bool) -> dict[str, Any]:
    session = ["--session", "{{Session.WorkingDirectory}}/void"]
    start = ["farm", "start", *session, "--lease", str(job.lease_s), "--progress", "openjd"]
    return {
        "name": "VoidServer",
        "description": "A server of this session's own, warm for all its tasks; it ends by itself when they do.",
        "script": {
            "actions": {
                "onEnter": {
                    "command": "{{Param.VoidCommand}}",
                    "args": start + (["--device", "cuda:0"] if gpu else []),
                    "timeout": 600,
                },
                "onExit": {"command": "{{Param.VoidCommand}}", "args": ["farm", "stop", *session], "timeout": 120},
            }
        },
    }


def _host(job: FarmJob, gpu: bool) -> dict[str, Any]:
    amounts = [{"name": "amount.worker.gpu", "min": 1}] if gpu else []
    if gpu and job.gpu_memory_mb:
        amounts.append({"name": "amount.worker.gpu.memory", "min": job.gpu_memory_mb})
    system = {"name": "attr.worker.os.family", "anyOf": ["linux"]}  # where the server runs
    return {**({"amounts": amounts} if amounts else {}), "attributes": [system]}


_CONNECTION = ("--connection-file", "{{Session.WorkingDirectory}}/connection.json")
_GENTLE = {"mode": "NOTIFY_THEN_TERMINATE"}
_INITIAL = (
    "continue_on_error: {{Param.ContinueOnError}}\n"
    "proxy: false\n"
    "script_file: '{{Param.NukeScriptFile}}'\n"
    "write_nodes:\n- '{{Param.WriteNode}}'\n"
    "views:\n- 'All Views'\n"
)


def _render_step(job: FarmJob, after: list[str]) -> dict[str, Any]:
    chunks = {
        "defaultTaskCount": "{{Param.ChunkSize}}",
        "targetRuntimeSeconds": 0,
        "rangeConstraint": "CONTIGUOUS",
    }
    frames = {"name": "Frame", "type": "CHUNK[INT]", "range": "{{Param.Frames}}", "chunks": chunks}
    run = {"name": "runData", "filename": "run-data.yaml", "type": "TEXT", "data": 'frameRange: "{{Task.Param.Frame}}"'}
    arguments = ["daemon", "run", *_CONNECTION, "--run-data", "file://{{Task.File.runData}}"]
    return {
        "name": _RENDER,
        "description": "The frames, in chunks. Needs neither VOID's plugin nor its server.",
        **({"dependencies": [{"dependsOn": name} for name in after]} if after else {}),
        "parameterSpace": {"taskParameterDefinitions": [frames]},
        "stepEnvironments": [_nuke()],
        "script": {"embeddedFiles": [run], "actions": {"onRun": _adaptor(arguments, job.render_timeout_s)}},
    }


def _nuke() -> dict[str, Any]:
    """The adaptor's daemon: one Nuke for all chunks of a session."""
    start = ["daemon", "start", "--path-mapping-rules", "file://{{Session.PathMappingRulesFile}}", *_CONNECTION]
    initial = {
        "name": "initData",
        "filename": "init-data.yaml",
        "type": "TEXT",
        "data": LiteralScalarString(_INITIAL),
    }
    actions = {
        "onEnter": _adaptor([*start, "--init-data", "file://{{Env.File.initData}}"], 900),
        "onExit": _adaptor(["daemon", "stop", *_CONNECTION], 120),
    }
    script = {"embeddedFiles": [initial], "actions": actions}
    return {"name": "Nuke", "description": "Nuke in the background, the script loaded.", "script": script}


def _adaptor(arguments: list[str], timeout_s: int) -> dict[str, Any]:
    return {"command": "NukeAdaptor", "args": arguments, "timeout": timeout_s, "cancelation": dict(_GENTLE)}


def yaml_bytes(value: Any) -> bytes:
    """A file's content: block style, keys in their order, no line broken."""
    text = io.StringIO()
    writer = YAML(typ="rt", pure=True)
    writer.default_flow_style = False
    writer.width = 4096
    writer.representer.ignore_aliases = lambda data: True
    writer.dump(value, text)
    return text.getvalue().encode()
