"""With this folder on its path a Python process finds itself on Windows, as far as Linux can show that.

Modules and functions of Unix are gone, and so is ``/proc``. ``msvcrt`` locks files. A file that any process has open is
neither removed nor replaced; a ``NamedTemporaryFile`` is not opened a second time. Text that unmask reads or writes
without naming its encoding is an error. Processes are spawned. Python loads a module of this name before any other.
"""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import subprocess  # noqa: F401 (before there is an msvcrt, by which it knows Windows)
import sys
import tempfile
import types
import warnings
from pathlib import Path
from typing import Any, NoReturn

from open_files import is_open

_MODULES = {"fcntl", "grp", "posix_ipc", "pty", "pwd", "resource", "syslog", "termios", "tty"}
_FUNCTIONS = (
    *("fork", "forkpty", "getegid", "geteuid", "getgid", "killpg", "mkfifo", "sched_getaffinity"),
    # Not statvfs: shutil.disk_usage, which Windows has, asks it here.
    *("sched_setaffinity", "setsid"),
)


def _locking(file: int, mode: int, count: int) -> None:
    assert (os.lseek(file, 0, os.SEEK_CUR), count) == (0, 1), "another byte is another lock"
    try:
        fcntl.flock(file, fcntl.LOCK_UN if mode == 0 else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PermissionError(errno.EACCES, "Permission denied") from None


class _Refuse:
    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> None:
        if name in _MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _named(*arguments: Any, **options: Any) -> Any:
    file = _named_temporary_file(*arguments, **options)
    _open_once.add(file.name)
    return file


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str):
        if arguments[0].startswith("/proc/"):
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", arguments[0])
        if arguments[0] in _open_once and not arguments[2] & os.O_CREAT:
            _refuse(arguments[0])
    elif event == "os.remove":
        _check_closed(*arguments)
    elif event == "os.rename":  # also os.replace
        source, target, source_folder, target_folder = arguments
        _check_closed(source, source_folder)
        _check_closed(target, target_folder)


def _check_closed(path: Any, folder: int) -> None:
    within = Path() if folder == -1 else Path(f"/proc/self/fd/{folder}").readlink()
    if is_open(str((within / os.fsdecode(path)).resolve())):
        _refuse(path)


def _refuse(path: Any) -> NoReturn:
    raise PermissionError(errno.EACCES, "The process cannot access the file, another process is using it", path)


_named_temporary_file, _open_once = tempfile.NamedTemporaryFile, set[str]()
tempfile.NamedTemporaryFile = _named  # type: ignore[assignment]
multiprocessing.set_start_method("spawn")
warnings.filterwarnings("ignore", category=EncodingWarning)
warnings.filterwarnings("error", category=EncodingWarning, module="unmask")
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
vars(sys.modules["msvcrt"]).update(locking=_locking, LK_UNLCK=0, LK_NBLCK=2)
for _name in _MODULES:
    sys.modules.pop(_name, None)
for _name in _FUNCTIONS:
    delattr(os, _name)
sys.meta_path.insert(0, _Refuse)  # type: ignore[arg-type]
sys.addaudithook(_watch)
