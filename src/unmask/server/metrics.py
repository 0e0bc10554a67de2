"""Figures for Prometheus, in a registry of their own."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """What a server counts; nothing in it tells one upload from another."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        own = self._registry
        self.jobs = Counter(
            "unmask_jobs", "Jobs that ended, by verdict, `failed` or `deleted`.", ["outcome"], registry=own
        )
        self.seconds = Histogram(
            "unmask_job_seconds", "From the start of a job to its end.", buckets=_SECONDS, registry=own
        )
        self.waited = Histogram("unmask_job_wait_seconds", "In the queue.", buckets=_SECONDS, registry=own)
        self.bytes = Counter("unmask_upload_bytes", "Of uploads that were received whole.", registry=own)
        self.requests = Counter("unmask_http_requests", "Answers.", ["method", "route", "status"], registry=own)
        about = "Worker processes that ended over a job: by a crash, a limit or its deletion."
        self.replaced = Counter("unmask_worker_replacements", about, registry=own)
        self._queued = Gauge("unmask_jobs_queued", "Jobs that wait, uploads in progress included.", registry=own)
        self._running = Gauge("unmask_jobs_running", "Jobs that are worked on.", registry=own)

    def watch(self, queued: Callable[[], float], running: Callable[[], float]) -> None:
        self._queued.set_function(queued)
        self._running.set_function(running)

    def text(self) -> bytes:
        return generate_latest(self._registry)
