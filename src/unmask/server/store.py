"""Jobs and results on disk: a queue that survives a kill, and nothing that is kept longer than promised."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from unmask.errors import UnmaskError
from unmask.locking import locked

State = Literal["queued", "running", "done", "failed"]

_VERSION = 1
_SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, frames INTEGER NOT NULL,
    created REAL NOT NULL, started REAL, finished REAL, attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT, result TEXT, report BLOB
);
CREATE INDEX by_state ON jobs (state, created);
CREATE TABLE pictures (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE, number INTEGER NOT NULL, about TEXT NOT NULL,
    jpeg BLOB NOT NULL, PRIMARY KEY (job, number)
);
"""
_STRANGE = "is not empty and no folder of this server"
_TABLES = {"jobs", "pictures"}
#: The names of uploads; nothing else is ever deleted.
_ID = re.compile(r"[A-Za-z0-9_-]{22}")
#: A job that was under way at this many ends of the server is not tried again: it may be what ended it.
_ATTEMPTS = 2
#: Seconds after which nobody waits for a verdict any more, and no upload is kept.
_OLDEST = 24 * 3600.0
#: Results that are deleted at a time.
_EXPIRED = 10


@dataclass(frozen=True)
class Job:
    """One upload and what became of it.

    Attributes:
        id: 128 random bits; who knows it may see the result.
        name: of the file, as the client gave it.
        size: bytes.
        frames: how many to analyse.
        created, started, finished: seconds since 1970; the latter two None until then.
        error: one line, why there is no verdict.
        result: JSON of the detection.
    """

    id: str
    state: State
    name: str
    size: int
    frames: int
    created: float
    started: float | None = None
    finished: float | None = None
    error: str | None = None
    result: str | None = None


_COLUMNS = ", ".join(column.name for column in fields(Job))


class Store:
    """The folder of a server: made if it is not there. Used by one thread.

    Raises:
        UnmaskError: the folder cannot be used, holds something else, or another server uses it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uploads = folder / "uploads"
        with ExitStack() as stack:
            self._open(stack)
            self._close = stack.pop_all()

    def _open(self, stack: ExitStack) -> None:
        folder = self._folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _is_for_servers(folder):
                raise UnmaskError(folder, _STRANGE)
            (folder / "lock").touch(mode=0o600)
            if not stack.enter_context(locked(folder / "lock")):
                raise UnmaskError(folder, "another server uses this folder")
            database = folder / "jobs.sqlite"
            database.touch(mode=0o600)  # the folder may be open to others: it is not ours to close
            self._database = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
            stack.callback(self._database.close)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise UnmaskError(folder, f"was written by another version of unmask (schema {version})")
            tables = {row[0] for row in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables != (_TABLES if version else set()):
                raise UnmaskError(folder, _STRANGE)
            self._uploads.mkdir(mode=0o700, exist_ok=True)
            for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "secure_delete = ON"):
                self._database.execute(f"PRAGMA {pragma}")
            if version == 0:
                self._database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
            self._recover()
        except (OSError, sqlite3.Error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UnmaskError(folder, f"cannot be used for uploads and results: {reason}") from error

    def close(self) -> None:
        self._close.close()

    def upload(self, job: str) -> Path:
        """Where the uploaded bytes of a job are. Its name says nothing, least of all the client's name for it."""
        return self._uploads / job

    def drop_upload(self, job: str) -> None:
        """Remove it if it is there, and if nobody reads it where a file that is read cannot be removed (Windows)."""
        with suppress(PermissionError):
            self.upload(job).unlink(missing_ok=True)

    def add(self, job: Job) -> None:
        """Put a job, whose upload is on disk, at the end of the queue."""
        values = [getattr(job, column.name) for column in fields(Job)]
        marks = ", ".join("?" * len(values))
        self._database.execute(f"INSERT INTO jobs ({_COLUMNS}) VALUES ({marks})", values)

    def get(self, job: str) -> Job | None:
        row = self._database.execute(f"SELECT {_COLUMNS} FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else Job(*row)

    def queued(self) -> list[str]:
        """Ids of the jobs that wait, the next one first."""
        rows = self._database.execute("SELECT id FROM jobs WHERE state = 'queued' ORDER BY created, rowid")
        return [row[0] for row in rows]

    def start(self, job: str) -> None:
        self._database.execute(
            "UPDATE jobs SET state = 'running', started = ?, attempts = attempts + 1 WHERE id = ?", (time.time(), job)
        )

    def put_back(self, job: str) -> None:
        """Let a job that was under way start over, as if it had not been begun."""
        self._database.execute(
            "UPDATE jobs SET state = 'queued', started = NULL, attempts = attempts - 1 WHERE id = ?", (job,)
        )

    def finish(self, job: str, result: str, report: bytes, pictures: Sequence[tuple[str, bytes]]) -> None:
        """Keep the verdict and forget the upload.

        Args:
            result: JSON.
            report: an HTML page.
            pictures: (JSON about it, JPEG).
        """
        with self._transaction():
            self._database.execute(
                "UPDATE jobs SET state = 'done', finished = ?, result = ?, report = ? WHERE id = ?",
                (time.time(), result, report, job),
            )
            rows = [(job, number, about, jpeg) for number, (about, jpeg) in enumerate(pictures)]
            self._database.executemany("INSERT INTO pictures VALUES (?, ?, ?, ?)", rows)
        self.drop_upload(job)

    def fail(self, job: str, reason: str) -> None:
        """Keep the reason and forget the upload."""
        self.drop_upload(job)  # first: on a full disk it makes room for the rest
        self._database.execute(
            "UPDATE jobs SET state = 'failed', finished = ?, error = ? WHERE id = ?", (time.time(), reason, job)
        )

    def report(self, job: str) -> bytes | None:
        row = self._database.execute("SELECT report FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else row[0]

    def pictures(self, job: str) -> list[str]:
        """JSON about each picture of a result."""
        rows = self._database.execute("SELECT about FROM pictures WHERE job = ? ORDER BY number", (job,))
        return [row[0] for row in rows]

    def picture(self, job: str, number: int) -> bytes | None:
        """JPEG."""
        found = "SELECT jpeg FROM pictures WHERE job = ? AND number = ?"
        row = self._database.execute(found, (job, number)).fetchone()
        return None if row is None else row[0]

    def delete(self, *jobs: str) -> None:
        """Forget everything about jobs; what they left in the log of the database is overwritten as well."""
        self._database.executemany("DELETE FROM jobs WHERE id = ?", [(job,) for job in jobs])
        for job in jobs:
            self.drop_upload(job)
        if jobs:
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def expire(self, keep: float, at_most: int) -> int:
        """Forget results older than ``keep`` seconds and all but the ``at_most`` latest; how many that were.

        Some at a time, for each takes milliseconds: it is to be called until there are no more.
        """
        rows = self._database.execute(
            "SELECT id FROM jobs WHERE finished < ?1 OR id IN "
            "(SELECT id FROM jobs WHERE finished IS NOT NULL ORDER BY finished DESC LIMIT -1 OFFSET ?2) LIMIT ?3",
            (time.time() - keep, at_most, _EXPIRED),
        ).fetchall()
        self.delete(*(row[0] for row in rows))
        if len(rows) < _EXPIRED:  # not with every ten
            self._sweep()
        return len(rows)

    def _recover(self) -> None:
        """After a kill: what was under way starts over, and uploads that belong to nobody go."""
        stopped = "the server was stopped twice while it was judged"
        with self._transaction():
            self._database.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, error = ? WHERE state = 'running' AND attempts >= ?",
                (time.time(), stopped, _ATTEMPTS),
            )
            self._database.execute("UPDATE jobs SET state = 'queued', started = NULL WHERE state = 'running'")
            self._database.execute(
                "UPDATE jobs SET state = 'failed', finished = ?, error = ? WHERE state = 'queued' AND created < ?",
                (time.time(), "the server was down for too long", time.time() - _OLDEST),
            )
        self._sweep(age=0)
        for job in self.queued():
            if not self.upload(job).exists():
                self.fail(job, "the upload is gone")

    def _sweep(self, age: float = _OLDEST) -> None:
        """Remove uploads of no job that waits or runs, if nothing was written to them for ``age`` seconds."""
        rows = self._database.execute("SELECT id FROM jobs WHERE state IN ('queued', 'running')")
        wanted = {row[0] for row in rows}
        for path in self._uploads.iterdir():
            with suppress(FileNotFoundError):
                if _ID.fullmatch(path.name) and path.name not in wanted and path.stat().st_mtime <= time.time() - age:
                    path.unlink()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _is_for_servers(folder: Path) -> bool:
    """Whether a server was here before, or nobody; one that was killed at its first start leaves two empty things."""
    names = {path.name for path in folder.iterdir()}
    if "jobs.sqlite" in names:
        return True
    used = any(folder.glob("uploads/*")) or any(path.stat().st_size for path in folder.glob("lock"))
    return names <= {"lock", "uploads"} and not used
