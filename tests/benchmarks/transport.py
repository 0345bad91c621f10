"""How fast frames travel to and from a server, against named baselines in the same run.

``python tests/benchmarks/transport.py [frames] [rounds]``: random bytes in files of 8 to 34 MB, a real server process,
TCP loopback, CURVE. Baselines: a plain copy with fsync of the same files, and the bare CURVE line, no disk, no digests.
Printed is the best round: the one that other processes disturbed least.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import zmq
from void_cli.local import private_server
from void_client.client import Client
from void_client.digest import sha256_file
from void_client.job import FrameRef, JobSpec, PlateSpec, QuadmaskSpec
from void_client.manifest import ResultFrame, ResultManifest, fsync_folder
from void_server.journal import Journal

EXR_MAGIC = b"\x76\x2f\x31\x01"
SMALLEST, LARGEST = 8_000_000, 34_000_000
JOB_ID = "bench"
BLOCK = 1 << 20


def make_frames(folder: Path, count: int) -> tuple[JobSpec, dict[str, Path]]:
    """A job whose plate is ``count`` files of random bytes; its quadmask names the same files."""
    refs, files = [], {}
    for index in range(count):
        size = SMALLEST + (LARGEST - SMALLEST) * index // max(1, count - 1)
        path = folder / f"plate.{1001 + index}.exr"
        path.write_bytes(EXR_MAGIC + os.urandom(size - len(EXR_MAGIC)))
        ref = FrameRef(1001 + index, sha256_file(path), size)
        refs.append(ref)
        files[ref.sha256] = path
    os.sync()
    return JobSpec(PlateSpec(tuple(refs)), QuadmaskSpec(tuple(refs))), files


def finished_result(data: Path, spec: JobSpec, files: dict[str, Path]) -> None:
    """A job that is done, its frames the result: as a server would have left it."""
    data.mkdir()
    journal = Journal(data / "journal.sqlite")
    journal.add_job(JOB_ID, spec, 50, "local", "cpu")
    journal.finish(JOB_ID, "done", {})
    journal.close()
    folder = data / "results" / JOB_ID
    folder.mkdir(parents=True)
    frames = []
    for ref in spec.plate.frames:
        path = files[ref.sha256]
        shutil.copyfile(path, folder / path.name)
        frames.append(ResultFrame(ref.number, path.name, ref.sha256, ref.size))
    ResultManifest(JOB_ID, spec.content_hash(), tuple(frames), spec.to_wire()).write(folder)
    os.sync()


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def copy_with_fsync(files: dict[str, Path], folder: Path) -> None:
    folder.mkdir()
    for path in files.values():
        with path.open("rb") as reading, (folder / path.name).open("wb") as writing:
            while block := reading.read(BLOCK):
                writing.write(block)
            writing.flush()
            os.fsync(writing.fileno())
    fsync_folder(folder)


def bare_curve(total: int) -> float:
    """Seconds for ``total`` bytes over an encrypted TCP line in pieces of 1 MiB, nothing done with them."""
    public, secret = zmq.curve_keypair()
    ours, theirs = zmq.Context(), zmq.Context()  # one I/O thread each, as two processes have
    with theirs.socket(zmq.PULL) as sink, ours.socket(zmq.PUSH) as source:
        sink.curve_server, sink.curve_publickey, sink.curve_secretkey = True, public, secret
        port = sink.bind_to_random_port("tcp://127.0.0.1")
        source.curve_serverkey = public
        source.curve_publickey, source.curve_secretkey = zmq.curve_keypair()
        source.connect(f"tcp://127.0.0.1:{port}")
        piece = os.urandom(BLOCK)
        count = max(1, total // BLOCK)

        def swallow() -> None:
            for _ in range(count):
                sink.recv(copy=False)

        source.send(piece)
        sink.recv()  # the handshake is over
        reader = threading.Thread(target=swallow)
        start = time.perf_counter()
        reader.start()
        for _ in range(count):
            source.send(piece, copy=False)
        reader.join()
        took = time.perf_counter() - start
    ours.term()
    theirs.term()
    return took


def upload(work: Path, spec: JobSpec, files: dict[str, Path], roots: list[str]) -> float:
    total = sum(ref.size for ref in spec.plate.frames)
    with private_server(work / "server", roots) as settings, Client(settings) as client:
        client.hello()
        sent: list[int] = []
        took = seconds(lambda: sent.append(client.upload(spec, files)))
        if sent != [0 if roots else total]:
            raise RuntimeError(f"{sent} bytes were sent of {total}, with share roots {roots}")
    shutil.rmtree(work / "server")
    return took


def download(work: Path, spec: JobSpec, files: dict[str, Path]) -> float:
    finished_result(work / "server", spec, files)
    with private_server(work / "server", []) as settings, Client(settings) as client:
        client.hello()
        took = seconds(lambda: client.download(JOB_ID, work / "result"))
    shutil.rmtree(work / "server")
    shutil.rmtree(work / "result")
    return took


def one_round(work: Path, spec: JobSpec, files: dict[str, Path], total: int) -> dict[str, float]:
    times = {
        "copy and fsync": seconds(lambda: copy_with_fsync(files, work / "copy")),
        "bare CURVE": bare_curve(total),
        "upload": upload(work, spec, files, []),
        "share by path": upload(work, spec, files, [str(work.resolve())]),
        "download": download(work, spec, files),
    }
    shutil.rmtree(work / "copy")
    return times


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 24
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    with tempfile.TemporaryDirectory(prefix="void-bench-") as name:
        work = Path(name)
        (work / "frames").mkdir()
        spec, files = make_frames(work / "frames", count)
        total = sum(ref.size for ref in spec.plate.frames)
        results = [one_round(work, spec, files, total) for _ in range(rounds)]
    best = {what: min(times[what] for times in results) for what in results[0]}
    print(f"{count} files, {total / 1e6:.0f} MB, {os.cpu_count()} cores, best of {rounds}; ratios: our speed / theirs")
    for what, took in best.items():
        ratios = "".join(f"{best[base] / took:14.2f}" for base in ("copy and fsync", "bare CURVE"))
        print(f"{what:15s} {total / took / 1e6:6.0f} MB/s  of copy, of CURVE: {ratios}")


if __name__ == "__main__":
    main()
