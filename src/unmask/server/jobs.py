"""The queue and the processes that work it off."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from unmask.errors import UnmaskError
from unmask.server.judge import Answer, Item, make
from unmask.server.metrics import Metrics
from unmask.server.problems import Problem
from unmask.server.settings import Settings
from unmask.server.store import Job, Store
from unmask.workers import Worker, WorkerDied

_log = logging.getLogger("unmask.server")

_NO_SPACE, _UNFORESEEN = "no space for the result", "the server failed; its log says where"


class Jobs:
    """Jobs of one server. Everything but the waiting for a process happens in the thread of the event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings, self._metrics = settings, metrics
        self.detector: dict[str, Any] = {}
        self._incoming = 0
        self._waiting: deque[str] = deque()
        self._arrived = asyncio.Event()
        self._running: dict[str, threading.Event] = {}
        self._progress: dict[str, float] = {}
        self._ended: dict[str, asyncio.Event] = {}
        self._lost: dict[str, Job] = {}
        self._stopping = asyncio.Event()
        self._took = 1.0
        metrics.watch(lambda: len(self._waiting) + self._incoming, lambda: len(self._running))

    async def start(self) -> None:
        """Open the folder, start the processes and wait for the first.

        Raises:
            UnmaskError: the folder or the detector cannot be used.
            ModuleNotFoundError: the detector needs a package that is not installed.
        """
        settings = self.settings
        self.store = Store(settings.folder)
        build = functools.partial(make, settings.detector, settings.max_pixels, settings.max_duration)
        self._workers = [
            Worker[Item, Answer](
                build, timeout=settings.timeout, cpu=settings.timeout, memory=settings.memory, plain=True
            )
            for _ in range(settings.workers)
        ]
        self._threads = ThreadPoolExecutor(settings.workers, "unmask-worker")
        try:
            about = await self._in_thread(self._workers[0].do, None)
        except WorkerDied as error:
            self._close()
            if isinstance(error.__cause__, ModuleNotFoundError):
                raise error.__cause__ from None  # the command line knows what to install
            subject, _, reason = str(error).partition(": ")
            raise UnmaskError(subject, reason or "no worker could start") from error
        self.detector = json.loads(about["detector"])
        self._waiting.extend(self.store.queued())
        self._arrived.set()
        self._tasks = [asyncio.create_task(self._work(worker)) for worker in self._workers]
        self._keeper = asyncio.create_task(self._expire())

    def hurry(self) -> None:
        """The server is to stop: no new jobs, and nobody who waits for a verdict is kept waiting."""
        self._stopping.set()
        self._arrived.set()
        for event in self._ended.values():
            event.set()

    async def stop(self) -> None:
        """Give running jobs their grace; what is not done then, or waits, starts over with the next start."""
        self.hurry()
        self._keeper.cancel()
        _, late = await asyncio.wait(self._tasks, timeout=self.settings.grace)
        for event in self._running.values():
            event.set()
        if late:
            await asyncio.wait(late)
        self._close()

    @property
    def ready(self) -> bool:
        return not self._stopping.is_set()

    @contextmanager
    def place(self) -> Iterator[str]:
        """A place in the queue, taken before the upload begins; gives the id of the job to come.

        Raises:
            Problem: there is none (503).
        """
        if self._stopping.is_set():
            raise Problem(503, "the server is stopping", {"Retry-After": "10"})
        if len(self._waiting) + self._incoming >= self.settings.queue:
            wait = max(1, round(self._took * len(self._waiting) / self.settings.workers))
            raise Problem(503, f"{self.settings.queue} files are waiting already", {"Retry-After": str(min(wait, 600))})
        self._incoming += 1
        try:
            yield secrets.token_urlsafe(16)
        finally:
            self._incoming -= 1

    def submit(self, id: str, name: str, size: int, frames: int) -> None:
        """Queue a job whose upload is where :meth:`Store.upload` says."""
        self._metrics.bytes.inc(size)
        try:
            self.store.add(Job(id, "queued", name, size, frames, time.time()))
        except sqlite3.Error as error:
            self.store.upload(id).unlink(missing_ok=True)
            raise Problem(507, "no space for another job") from error
        self._waiting.append(id)
        self._arrived.set()

    def get(self, id: str) -> Job | None:
        return self._lost.get(id) or self.store.get(id)

    def place_of(self, id: str) -> int | None:
        """How many jobs are before this one; None if it does not wait."""
        return self._waiting.index(id) if id in self._waiting else None

    def progress(self, job: Job) -> float:
        """In [0, 1]."""
        return 1.0 if job.finished is not None else self._progress.get(job.id, 0.0)

    async def ended(self, id: str) -> None:
        """Return when a job has ended in whatever way, or the server is to stop."""
        job = self.get(id)
        if job is not None and job.finished is None and not self._stopping.is_set():
            await self._ended.setdefault(id, asyncio.Event()).wait()

    def delete(self, id: str) -> bool:
        """Stop a job if it runs and forget all about it; False if there is none.

        Raises:
            Problem: the disk is so full that not even that can be written (507); the job is as it was.
        """
        job = self.get(id)
        if job is None:
            return False
        try:
            self.store.delete(id)
        except sqlite3.Error as error:
            raise Problem(507, "no space on the disk, of which deleting needs some; try again later") from error
        if job.finished is None:
            self._metrics.jobs.labels("deleted").inc()
        if id in self._running:
            self._running[id].set()
        if id in self._waiting:
            self._waiting.remove(id)
        self._lost.pop(id, None)
        self._tell(id)
        return True

    async def _work(self, worker: Worker[Item, Answer]) -> None:
        while not self._stopping.is_set():
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            id = self._waiting.popleft()
            try:
                await self._run(worker, id)
            except Exception as error:  # such as a disk so full that not even a failure can be noted on it
                _log.error("job %s: %s", id[:6], type(error).__name__)
                if (job := self.store.get(id)) is not None and job.finished is None:
                    reason = _NO_SPACE if isinstance(error, sqlite3.Error) else _UNFORESEEN
                    self._lost[id] = replace(job, state="failed", finished=time.time(), error=reason)
                    self._metrics.jobs.labels("failed").inc()
            finally:
                self._running.pop(id, None)
                self._progress.pop(id, None)
                if self.get(id) is None:
                    self.store.drop_upload(id)  # what was deleted under way may have been open then
                self._tell(id)

    async def _run(self, worker: Worker[Item, Answer], id: str) -> None:
        job = self.store.get(id)
        if job is None:
            return
        stop = self._running[id] = threading.Event()
        self.store.start(id)
        self._metrics.waited.observe(max(0.0, time.time() - job.created))
        began, replaced = time.monotonic(), worker.replaced
        item = (str(self.store.upload(id)), job.name, job.frames)
        tell = functools.partial(self._progress.__setitem__, id)
        try:
            answer = await self._in_thread(worker.do, item, tell, stop.is_set)
        except WorkerDied as error:
            if stop.is_set():
                self.store.put_back(id)  # unless it was deleted
                return
            answer = {"error": str(error)}
        finally:
            self._metrics.replaced.inc(worker.replaced - replaced)
        seconds = time.monotonic() - began
        if self.store.get(id) is None:
            return  # deleted in the meantime
        outcome = self._keep(id, answer)
        self._took += 0.2 * (seconds - self._took)
        self._metrics.jobs.labels(outcome).inc()
        self._metrics.seconds.observe(seconds)
        _log.info("job %s: %s in %.2f s", id[:6], outcome, seconds)

    def _keep(self, id: str, answer: Answer) -> str:
        try:
            if "error" not in answer:
                self.store.finish(id, answer["result"], answer["report"], answer["pictures"])
                return str(json.loads(answer["result"])["verdict"])
        except sqlite3.Error:
            answer = {"error": _NO_SPACE}
        self.store.fail(id, answer["error"])
        return "failed"

    async def _expire(self) -> None:
        while True:
            try:
                for id, job in list(self._lost.items()):  # there may be room by now
                    self.store.fail(id, job.error or _NO_SPACE)
                    del self._lost[id]
                while self.store.expire(self.settings.keep, self.settings.keep_at_most):
                    await asyncio.sleep(0)  # others get their turn
            except (OSError, sqlite3.Error) as error:
                _log.error("results cannot be deleted: %s", type(error).__name__)
            await asyncio.sleep(min(60.0, max(0.2, self.settings.keep / 4)))

    async def _in_thread(self, function: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    def _tell(self, id: str) -> None:
        if (event := self._ended.pop(id, None)) is not None:
            event.set()

    def _close(self) -> None:
        for worker in self._workers:
            worker.close()
        self._threads.shutdown()
        self.store.close()
