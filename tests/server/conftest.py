"""A server and files to send it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clips import moving, portrait, write_image, write_video
from tests.server.serving import Serving

TOKENS = ["another-token-for-others", "a-token-that-nobody-guesses"]

for needed in ("fastapi", "httpx", "prometheus_client", "python_multipart", "uvicorn"):
    pytest.importorskip(needed)
if sys.platform != "linux":
    pytest.skip("the server is tested on Linux", allow_module_level=True)


@pytest.fixture(scope="session")
def serve(light: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Serving]]:
    """Starts servers with any settings, which end with the tests."""
    running: list[Serving] = []

    def start(**settings: Any) -> Serving:
        folder = tmp_path_factory.mktemp("server") / "data"
        running.append(Serving(folder, **{"detector": str(light), **settings}))
        return running[-1]

    yield start
    for each in running:
        if each.process.poll() is None:
            each.end()


@pytest.fixture(scope="session")
def plain(serve: Callable[..., Serving]) -> Serving:
    """A server for whoever harms nobody."""
    return serve(max_bytes=3_000_000, max_duration=60, keep=900)


@pytest.fixture(scope="session")
def locked(serve: Callable[..., Serving]) -> Serving:
    """A server that asks for one of ``TOKENS``."""
    return serve(tokens=TOKENS)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_image(tmp_path_factory.mktemp("photo") / "a secret name.jpg", portrait())


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film that takes a second or more to judge with 96 frames."""
    return write_video(tmp_path_factory.mktemp("film") / "long.mp4", moving(portrait(320), 96))
