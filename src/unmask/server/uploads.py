"""One uploaded file, from the network to the disk, measured while it arrives."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from unmask.server.problems import Problem

# The parser names the bytes it stumbles over, and no content belongs in a log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)

_FORM = 64 * 1024  # what the form around the file may add
_WRITE = 2**20
#: Bytes of the disk that uploads leave free: verdicts, and the deletion of old ones, need room too.
_SPARE = 64 * 2**20
# How much, and for how long in all, is read of an upload that is refused.
_LINGER = 8 * 2**20
_LINGER_SECONDS = 5.0


async def receive(request: Request, path: Path, max_bytes: int, idle: float) -> tuple[str, int]:
    """Write the file in a form to ``path``; nothing stays there if that fails.

    Args:
        request: ``multipart/form-data`` with exactly one part, ``file``.
        path: a new file.
        max_bytes: most that is read.
        idle: seconds without a byte after which it is given up.

    Returns:
        The name the client gave it, made harmless, and the number of bytes.

    Raises:
        Problem: too large (413), too slow (408), no such form (400, 415), no space (507).
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem(415, "send the file as multipart/form-data, in a part named `file`")
    too_large = Problem(413, f"the file has more than the {megabytes(max_bytes)} allowed")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes + _FORM:
        raise too_large
    form = _Form(options[b"boundary"])
    read = 0
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
            async for chunk in chunks(request, idle):
                read += len(chunk)
                form.feed(chunk)
                if form.size > max_bytes or read > max_bytes + _FORM:
                    raise too_large
                if len(form.data) >= _WRITE:
                    await _write(file.fileno(), form.data, path.parent)
            await _write(file.fileno(), form.data, path.parent)
        form.check()
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Problem(507, f"no space for the upload ({error.strerror})") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return _harmless(form.name), form.size


async def chunks(request: Request, idle: float) -> AsyncIterator[bytes]:
    """The body of a request; ``Problem`` (408) if it pauses for too long or ends before its end."""
    stream = request.stream()
    while True:
        try:
            yield await asyncio.wait_for(anext(stream), idle)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Problem(408, f"nothing was received for {idle:g} s", {"Connection": "close"}) from None
        except ClientDisconnect:
            raise Problem(408, "the connection ended before the upload did") from None


async def linger(request: Request) -> None:
    """Read on for a moment before a refusal: a client that is still sending would not see the answer.

    The answer should say ``Connection: close``, else the server reads on to the end.
    """
    read = 0
    with suppress(Problem, RuntimeError, TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for chunk in chunks(request, 1.0):
                read += len(chunk)
                if read > _LINGER:
                    return


def megabytes(count: int) -> str:
    return f"{count / 2**20:.4g} MB"


async def _write(file: int, data: bytearray, folder: Path) -> None:
    """In a thread, for a disk may be slow and others are waiting. ``OSError`` where no more than the spare is left."""
    whole = bytes(data)
    data.clear()

    def write() -> None:
        if shutil.disk_usage(folder).free < len(whole) + _SPARE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left = memoryview(whole)
        while left:
            left = left[os.write(file, left) :]

    if whole:
        await asyncio.to_thread(write)


class _Form:
    """The one file in a form: its bytes as far as they are not taken yet, its size so far and its name."""

    def __init__(self, boundary: bytes) -> None:
        self.data, self.size, self.name = bytearray(), 0, b""
        self._files, self._field, self._value, self._ended = 0, bytearray(), bytearray(), False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_header_field": lambda data, start, end: self._field.extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                    "on_header_end": self._header,
                    "on_part_data": self._data,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise Problem(400, "the boundary of the form is too long") from None

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Problem(400, "the form is damaged") from None

    def check(self) -> None:
        if not self._ended:
            raise Problem(400, "the form is cut off")
        if self._files != 1:
            raise Problem(400, "there must be one part with a file, named `file`")
        if not self.size:
            raise Problem(400, "the file is empty")

    def _header(self) -> None:
        if self._field.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            if options.get(b"name") != b"file" or b"filename" not in options or self._files:
                raise Problem(400, "there must be one part with a file, named `file`, and no other")
            self._files, self.name = 1, options[b"filename"]
        self._field.clear()
        self._value.clear()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._files:
            raise Problem(400, "there must be one part with a file, named `file`, and no other")
        self.data += data[start:end]
        self.size += end - start

    def _end(self) -> None:
        self._ended = True


def _harmless(name: bytes) -> str:
    """The last part of a path, on one line, not too long."""
    text = PurePosixPath(name.decode("utf-8", "replace").replace("\\", "/")).name
    return "".join(letter for letter in text if letter.isprintable())[-120:] or "upload"
