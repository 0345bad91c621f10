"""The server's settings, all of them: defaults < file < ``VOID_SERVER_*`` < command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

GB = 1_000_000_000
PREFIX = "VOID_SERVER_"
_MEMORY = re.compile(r"\A(auto|tiled|(full|offload|group|fp8)(\+tiled)?)\Z")
_ENGINES = ("models", "memory", "device_memory_gb", "attention", "compile_blocks", "spread")
_REASONERS = ("allow_cloud", "gemini_model", "reasoner_url", "reasoner_model", "reasoner_in_house", "ocio")
_SIGNING = ("signing_key", "c2pa_cert", "c2pa_key")
_SHARED = ("shared_cache", "shared_cache_keys")
HOST_KEYS = (
    *_ENGINES,
    *_REASONERS,
    *_SIGNING,
    *_SHARED,
)  # how a machine runs engines and reasoners and signs, for any server
_DEVICE = re.compile(r"\A(cpu(:\d+)?|cuda:\d+)\Z")


@dataclass(frozen=True)
class ServerSettings:
    """Every size is in bytes, every time in seconds.

    data: folder of keys, store, stages, results and journal; on a local disk, one server at a time. The command
    line puts this user's own data folder in where it is empty.
    bind: where to listen; port 0 or ``*`` takes a free one. endpoint: what clients are told, if not ``bind``.
    devices: one worker process each; cpu:0, cpu:1 … are several on the CPU. share_roots: folders whose frames clients
    may name by path.
    models: the folder of the engine void's weights (`void models fetch`). memory: how they are held: auto, full,
    offload, group or fp8, each with +tiled. device_memory_gb: what each device has
    for them, where that is not all of it: it decides how large a picture the model may work at; 0 asks the device.
    attention: a kernel by diffusers' name, its own where empty. compile_blocks: compile the transformer; costs minutes
    at the first job. spread: auto lends idle devices to a long shot's windows; off does not. See docs/performance.md.
    allow_cloud: whether a job may choose a reasoner that sends pictures out of the building. gemini_model,
    reasoner_url, reasoner_model: what `gemini` and `openai` ask. reasoner_in_house: the name in reasoner_url is the
    building's own, so that it is no cloud. Keys come from the environment alone.
    ocio: the OCIO configuration of jobs that name none: ocio://NAME, or a file.
    signing_key: the file of the secret key that signs results, made where it lacks; keys/signing.pem of the
    data folder where empty. c2pa_cert, c2pa_key: the studio's certificate chain (PEM, its own first) and its secret
    key for the content credentials of stills and movies; self-made where empty. Nothing turns signing off.
    shared_cache: a folder on storage that the farm's servers share; stages are looked up and published there.
    shared_cache_keys: a file of public signing keys (or one key) whose stages are used; everybody's where empty.
    shared_cache_max_bytes: this server keeps the folder within so much; 0 leaves it to another. docs/farm.md.
    """

    data: str = ""
    bind: str = "tcp://127.0.0.1:7411"
    endpoint: str = ""
    devices: tuple[str, ...] = ("cpu",)
    share_roots: tuple[str, ...] = ()
    models: str = ""
    memory: str = "auto"
    device_memory_gb: float = 0.0
    attention: str = ""
    compile_blocks: bool = False
    spread: str = "off"
    allow_cloud: bool = True
    gemini_model: str = ""
    reasoner_url: str = ""
    reasoner_model: str = ""
    reasoner_in_house: bool = False
    ocio: str = ""
    signing_key: str = ""
    c2pa_cert: str = ""
    c2pa_key: str = ""
    shared_cache: str = ""
    shared_cache_keys: str = ""
    shared_cache_max_bytes: int = 0
    max_queued: int = 1000
    max_frames: int = 20_000
    max_frame_bytes: int = 4 * GB
    chunk_bytes: int = 1 << 20
    store_max_bytes: int = 200 * GB
    stages_max_bytes: int = 100 * GB
    results_max_bytes: int = 100 * GB
    disk_reserve_bytes: int = 1 * GB
    job_history_s: float = 90 * 86400.0
    max_attempts: int = 3
    cancel_grace_s: float = 10.0
    worker_silence_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.bind.startswith("tcp://"):
            raise ValueError(f"bind {self.bind!r} does not begin with tcp://")
        if not self.devices:
            raise ValueError("devices is empty: name one at least, such as cpu")
        for device in self.devices:
            if not _DEVICE.match(device):
                raise ValueError(f"the device {device!r} is neither cpu, cpu:NUMBER nor cuda:NUMBER")
        if not _MEMORY.match(self.memory):
            raise ValueError(f"memory {self.memory!r} is none of auto, full, offload, group, fp8, each with +tiled")
        if not 0 <= self.device_memory_gb <= 100_000:
            raise ValueError("device_memory_gb is not between 0 and 100000")
        if self.spread not in ("off", "auto"):
            raise ValueError(f"spread {self.spread!r} is neither off nor auto")
        if len(set(self.devices)) != len(self.devices):
            raise ValueError("devices names one twice")
        if not 4096 <= self.chunk_bytes <= 4 << 20:
            raise ValueError("chunk_bytes is not between 4 KiB and 4 MiB")
        for key in ("max_queued", "max_frames", "max_attempts", "store_max_bytes", "max_frame_bytes"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} must be above 0")
        if bool(self.c2pa_cert) != bool(self.c2pa_key):
            raise ValueError("c2pa_cert and c2pa_key belong together: one of them is empty")
        if self.shared_cache and not Path(self.shared_cache).is_absolute():
            raise ValueError(f"shared_cache {self.shared_cache!r} is not an absolute path")
        if self.shared_cache_max_bytes < 0:
            raise ValueError("shared_cache_max_bytes is below 0")
        for root in self.share_roots:
            if not Path(root).is_absolute():
                raise ValueError(f"the share root {root!r} is not an absolute path")

    @property
    def host(self) -> dict[str, str | bool | float]:
        """What the workers are told."""
        return {key: getattr(self, key) for key in HOST_KEYS}

    @property
    def root(self) -> Path:
        return Path(self.data)
