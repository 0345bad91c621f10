"""The journal: jobs, their numbered events, counters and the frames' table, in one SQLite file.

Promises: what a method has returned from survives kill -9 and power loss (WAL, synchronous=FULL); event
numbers of a job run from 1 without gaps. Must not: decide anything; the scheduler and the store do.
One thread owns it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from void_client.job import JobSpec
from void_client.messages import Event, JobInfo

SCHEMA_VERSION = 3
_BY_WANTS = "CREATE INDEX jobs_by_wants ON jobs (state, wants, priority DESC, number)"
_FROM = {
    1: ["ALTER TABLE jobs ADD COLUMN approved INTEGER NOT NULL DEFAULT 0"],
    2: ["ALTER TABLE jobs ADD COLUMN wants TEXT NOT NULL DEFAULT ''", _BY_WANTS],
}
"""The statements that bring an older journal one version on."""
_SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL UNIQUE,
    content_hash TEXT NOT NULL,
    spec TEXT NOT NULL,
    shot TEXT NOT NULL,
    engine TEXT NOT NULL,
    priority INTEGER NOT NULL,
    state TEXT NOT NULL,
    stage TEXT NOT NULL DEFAULT '',
    crashes INTEGER NOT NULL DEFAULT 0,
    cancelling INTEGER NOT NULL DEFAULT 0,
    approved INTEGER NOT NULL DEFAULT 0,
    wants TEXT NOT NULL DEFAULT '',
    last_seq INTEGER NOT NULL DEFAULT 0,
    submitted REAL NOT NULL,
    finished REAL,
    client TEXT NOT NULL,
    error TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, priority DESC, number);
CREATE INDEX jobs_by_wants ON jobs (state, wants, priority DESC, number);
CREATE TABLE events (
    job_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time REAL NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    PRIMARY KEY (job_id, seq)
) WITHOUT ROWID;
CREATE TABLE job_frames (job_id TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (job_id, sha256)) WITHOUT ROWID;
CREATE INDEX job_frames_by_digest ON job_frames (sha256);
CREATE TABLE frames (sha256 TEXT PRIMARY KEY, size INTEGER NOT NULL, used REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX frames_by_use ON frames (used);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_LIVE = "('queued', 'running', 'review')"


class Journal:
    def __init__(self, path: Path) -> None:
        """Opens or creates. Raises ``sqlite3.DatabaseError`` for a file of another program or a newer version."""
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self.transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        elif version in _FROM:
            with self.transaction():
                for statement in (each for old in range(version, SCHEMA_VERSION) for each in _FROM[old]):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"{path} is a journal of version {version}; this server reads {SCHEMA_VERSION}")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nested uses join the outer one."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # --- jobs

    def add_job(self, job_id: str, spec: JobSpec, priority: int, client: str, wants: str) -> None:
        """``wants``: the kind of device, as `void_server.needs` names them."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO jobs (job_id, content_hash, spec, shot, engine, priority, state, submitted, client, wants)"
                " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
                (
                    job_id,
                    spec.content_hash(),
                    json.dumps(spec.to_wire()),
                    spec.shot,
                    spec.engine.name,
                    priority,
                    time.time(),
                    client,
                    wants,
                ),
            )
            self._db.executemany(
                "INSERT OR IGNORE INTO job_frames VALUES (?, ?)", [(job_id, ref.sha256) for ref in spec.frame_refs()]
            )
            self.add_event(job_id, "queued", {})

    def job(self, job_id: str) -> JobInfo | None:
        row = self._db.execute("SELECT * FROM jobs WHERE job_id = ?", (job_id,)).fetchone()
        return self._info(row) if row else None

    def jobs(self, limit: int) -> list[JobInfo]:
        """Live jobs first, then the newest."""
        rows = self._db.execute(
            f"SELECT * FROM jobs ORDER BY state IN {_LIVE} DESC, number DESC LIMIT ?",  # noqa: S608 - a constant
            (limit,),
        )
        return [self._info(row) for row in rows.fetchall()]

    def spec_text(self, job_id: str) -> str:
        """The specification as it was submitted, JSON."""
        return str(self._column(job_id, "spec"))

    def content_hash(self, job_id: str) -> str:
        return str(self._column(job_id, "content_hash"))

    def count(self, state: str) -> int:
        return int(self._db.execute("SELECT COUNT(*) FROM jobs WHERE state = ?", (state,)).fetchone()[0])

    def first_queued(self, kinds: Sequence[str]) -> list[tuple[str, str]]:
        """(job, what it wants): the first of each kind of want, highest priority first, then the oldest."""
        query = (
            "SELECT job_id, wants, priority, number FROM jobs WHERE state = 'queued' AND wants = ?"
            " ORDER BY priority DESC, number LIMIT 1"
        )
        found = [row for kind in kinds for row in self._db.execute(query, (kind,)).fetchall()]
        return [(r["job_id"], r["wants"]) for r in sorted(found, key=lambda r: (-r["priority"], r["number"]))]

    def unsorted(self) -> list[str]:
        """Live jobs from before it was written down what they want."""
        query = f"SELECT job_id FROM jobs WHERE wants = '' AND state IN {_LIVE}"  # noqa: S608 - a constant
        return [row[0] for row in self._db.execute(query)]

    def set_wants(self, job_id: str, wants: str) -> None:
        self._db.execute("UPDATE jobs SET wants = ? WHERE job_id = ?", (wants, job_id))

    def live_jobs(self, state: str) -> list[str]:
        return [r[0] for r in self._db.execute("SELECT job_id FROM jobs WHERE state = ? ORDER BY number", (state,))]

    def set_running(self, job_id: str, device: str) -> None:
        with self.transaction():
            self._db.execute("UPDATE jobs SET state = 'running', stage = '' WHERE job_id = ?", (job_id,))
            self.add_event(job_id, "running", {"device": device})

    def set_stage(self, job_id: str, stage: str) -> None:
        self._db.execute("UPDATE jobs SET stage = ? WHERE job_id = ?", (stage, job_id))

    def requeue(self, job_id: str, reason: str, crashed: bool) -> int:
        """Back into the queue at its old place; returns how often it has taken a worker down."""
        with self.transaction():
            self._db.execute(
                "UPDATE jobs SET state = 'queued', crashes = crashes + ? WHERE job_id = ?", (int(crashed), job_id)
            )
            self.add_event(job_id, "queued", {"reason": reason})
        return int(self._column(job_id, "crashes"))

    def set_review(self, job_id: str, data: dict[str, Any]) -> None:
        """The quadmask is there to be looked at; the job waits, over restarts, too."""
        with self.transaction():
            self._db.execute("UPDATE jobs SET state = 'review', stage = '' WHERE job_id = ?", (job_id,))
            self.add_event(job_id, "review", data)

    def approve(self, job_id: str, wants: str) -> None:
        """Back into the queue at its old place; for the engine it may want another device than for the masks."""
        with self.transaction():
            self._db.execute(
                "UPDATE jobs SET state = 'queued', approved = 1, wants = ? WHERE job_id = ?", (wants, job_id)
            )
            self.add_event(job_id, "queued", {"reason": "the quadmask was approved"})

    def is_approved(self, job_id: str) -> bool:
        return bool(self._column(job_id, "approved"))

    def set_cancelling(self, job_id: str) -> None:
        """A running job is to end: also remembered over a restart."""
        self._db.execute("UPDATE jobs SET cancelling = 1 WHERE job_id = ?", (job_id,))

    def is_cancelling(self, job_id: str) -> bool:
        return bool(self._column(job_id, "cancelling"))

    def finish(self, job_id: str, state: str, data: dict[str, Any], error: dict[str, Any] | None = None) -> None:
        """``state``: done, failed or cancelled; ``data`` goes into the last event."""
        with self.transaction():
            self._db.execute(
                "UPDATE jobs SET state = ?, stage = '', finished = ?, error = ? WHERE job_id = ?",
                (state, time.time(), json.dumps(error) if error else None, job_id),
            )
            self.add_event(job_id, state, data)

    def forget_jobs(self, finished_before: float, *, dry_run: bool = False) -> list[str]:
        """Drop ended jobs and their events; returns their ids."""
        with self.transaction():
            ids = [r[0] for r in self._db.execute("SELECT job_id FROM jobs WHERE finished < ?", (finished_before,))]
            for table in () if dry_run else ("events", "job_frames", "jobs"):
                self._db.executemany(f"DELETE FROM {table} WHERE job_id = ?", [(i,) for i in ids])  # noqa: S608
        return ids

    def _column(self, job_id: str, column: str) -> Any:
        row = self._db.execute(f"SELECT {column} FROM jobs WHERE job_id = ?", (job_id,)).fetchone()  # noqa: S608
        if row is None:
            raise KeyError(job_id)
        return row[0]

    def _info(self, row: sqlite3.Row) -> JobInfo:
        return JobInfo(
            job_id=row["job_id"],
            state=row["state"],
            shot=row["shot"],
            engine=row["engine"],
            priority=row["priority"],
            stage=row["stage"],
            last_seq=row["last_seq"],
            submitted=row["submitted"],
            place=self._place(row) if row["state"] == "queued" else 0,
            finished=row["finished"],
            error=json.loads(row["error"]) if row["error"] else None,
        )

    def _place(self, row: sqlite3.Row) -> int:
        query = "SELECT COUNT(*) FROM jobs WHERE state = 'queued' AND (priority > ? OR (priority = ? AND number < ?))"
        return int(self._db.execute(query, (row["priority"], row["priority"], row["number"])).fetchone()[0])

    # --- events

    def add_event(self, job_id: str, kind: str, data: dict[str, Any]) -> int:
        """Returns the event's number."""
        with self.transaction():
            self._db.execute("UPDATE jobs SET last_seq = last_seq + 1 WHERE job_id = ?", (job_id,))
            seq = int(self._column(job_id, "last_seq"))
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?)", (job_id, seq, time.time(), kind, json.dumps(data))
            )
        return seq

    def events(self, job_id: str, after: int, limit: int) -> list[Event]:
        rows = self._db.execute(
            "SELECT seq, time, kind, data FROM events WHERE job_id = ? AND seq > ? ORDER BY seq LIMIT ?",
            (job_id, after, limit),
        )
        return [Event(job_id, r["seq"], r["time"], r["kind"], json.loads(r["data"])) for r in rows.fetchall()]

    # --- frames

    def put_frame(self, digest: str, size: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO frames VALUES (?, ?, ?)", (digest, size, time.time()))

    def frame_sizes(self, digests: Sequence[str]) -> dict[str, int]:
        """Size by digest, of those that are known."""
        sizes: dict[str, int] = {}
        for start in range(0, len(digests), 500):
            part = digests[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._db.execute(f"SELECT sha256, size FROM frames WHERE sha256 IN ({marks})", part)  # noqa: S608
            sizes.update((r["sha256"], r["size"]) for r in rows)
        return sizes

    def touch_frames(self, digests: Sequence[str]) -> None:
        now = time.time()
        with self.transaction():
            self._db.executemany("UPDATE frames SET used = ? WHERE sha256 = ?", [(now, d) for d in digests])

    def drop_frame(self, digest: str) -> None:
        self._db.execute("DELETE FROM frames WHERE sha256 = ?", (digest,))

    def stored_bytes(self) -> int:
        return int(self._db.execute("SELECT COALESCE(SUM(size), 0) FROM frames").fetchone()[0])

    def evictable_frames(self) -> list[tuple[str, int]]:
        """(digest, size) of the frames that no live job needs, the least recently used first."""
        rows = self._db.execute(
            "SELECT sha256, size FROM frames WHERE NOT EXISTS ("  # noqa: S608 - a constant
            f" SELECT 1 FROM job_frames JOIN jobs USING (job_id) WHERE job_frames.sha256 = frames.sha256"
            f" AND jobs.state IN {_LIVE}) ORDER BY used"
        )
        return [(r["sha256"], r["size"]) for r in rows]

    def frame_digests(self) -> set[str]:
        return {r[0] for r in self._db.execute("SELECT sha256 FROM frames")}

    # --- counters

    def count_up(self, name: str, by: int = 1) -> None:
        self._db.execute(
            "INSERT INTO counters VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
            (name, by),
        )

    def counters(self) -> dict[str, int]:
        return {r["name"]: r["value"] for r in self._db.execute("SELECT * FROM counters ORDER BY name")}
