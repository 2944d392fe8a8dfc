"""Start of the embedded server, with recovery from unreadable files: they are moved aside and the server starts empty.

All results are stored in the study, so an empty queue costs a few repeated evaluations and changes no result.
"""

import contextlib
import fcntl
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tradeschool.errors import ServiceUnreachable

START_SECONDS = 60.0
"""Time limit for the response of a started server; reading a long append-only file takes a while."""
LOOK_SECONDS = 0.02
HELD_SECONDS = 5.0
"""Time for which a killed server may still hold its lock."""
SERVER_LOCK, PID_FILE = "server.lock", "valkey.pid"
STORED = ("appendonlydir", "appendonly.aof", "dump.rdb")
"""Files in which a server stores its data."""
ASIDE = "unreadable"
MAX_ASIDE = 3
"""Number of folders with unreadable files that are kept for inspection."""
MIN_FREE_BYTES = 1 << 16
UNREADABLE = re.compile(r"\bAOF\b|\bRDB\b|append[- ]only|appendonly", re.IGNORECASE)
"""Matches the server's log where its files are damaged, truncated, owned by another user or of another version."""
LOG_LINE = re.compile(r"^\d+:[A-Z] .{20,30}? ([.*#-]) (.*)$")

log = logging.getLogger(__name__)


def start(folder: Path, log_file: Path, launch: Callable[[int], None], is_loaded: Callable[[], bool]) -> None:
    """Start a server in its folder and wait until it responds; `launch` gets a descriptor for the server to inherit.

    Raises:
        ServiceUnreachable: if the server exits or does not respond in time; gives the reason and what to do.
    """
    said = _try(log_file, launch, is_loaded)
    if said is None:
        return
    if _is_full(folder, said):
        raise ServiceUnreachable(f"embedded Valkey did not start: the disk of {folder} is full; free some space")
    if not UNREADABLE.search(said) or not (aside := _set_aside(folder)):
        raise _not_started(said, log_file)
    log.warning(
        "Embedded Valkey could not read its files; moved them aside and started empty",
        extra={"action": "queue_files_set_aside", "moved_to": str(aside), "reason": said},
    )
    said = _try(log_file, launch, is_loaded)
    if said is not None:
        raise _not_started(said, log_file)


def _try(log_file: Path, launch: Callable[[int], None], is_loaded: Callable[[], bool]) -> str | None:
    """Start the server once; return None if it responds, else its last log message."""
    begin = log_file.stat().st_size if log_file.exists() else 0
    with _server_lock(log_file.parent) as lock:
        launch(lock)
    end = time.monotonic() + START_SECONDS
    while not is_loaded():
        if not is_running(log_file.parent):
            return _last_words(log_file, begin)
        if time.monotonic() > end:
            raise ServiceUnreachable(f"embedded Valkey did not respond within {START_SECONDS:g} s; see {log_file}")
        time.sleep(LOOK_SECONDS)
    return None


def is_running(folder: Path) -> bool:
    """Whether a server of this folder runs, even if its socket or process is not visible from here."""
    with (folder / SERVER_LOCK).open("w") as file:
        return not _locked(file)


@contextlib.contextmanager
def _server_lock(folder: Path) -> Iterator[int]:
    """Yield a locked descriptor for the server to inherit; the lock is held as long as the server runs.

    Raises:
        ServiceUnreachable: if another server holds the lock; a second one would corrupt its files.
    """
    with (folder / SERVER_LOCK).open("w") as file:
        end = time.monotonic() + HELD_SECONDS  # a child of a killed server may still be writing
        while not _locked(file):
            if time.monotonic() > end:
                raise ServiceUnreachable(
                    f"embedded Valkey in {folder} runs, but its socket cannot be reached from here{_pid_of(folder)}: "
                    "stop it, or the commands that use it, and retry (a container or service with a private /tmp "
                    "needs a separate state_dir)"
                )
            time.sleep(LOOK_SECONDS)
        yield file.fileno()


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_of(folder: Path) -> str:
    """Return text such as ` (process 123)` from the server's PID file; empty if there is none."""
    try:
        return f" (process {int((folder / PID_FILE).read_text())})"
    except (OSError, ValueError):
        return ""


def _last_words(log_file: Path, begin: int) -> str:
    """Return the last warning of the server's log after offset `begin`, else its last line; empty if there is none."""
    try:
        with log_file.open("rb") as file:
            file.seek(begin)
            lines = file.read(1 << 16).decode(errors="replace").splitlines()
    except OSError:
        return ""
    told = [(match[1], match[2]) for line in lines if (match := LOG_LINE.match(line))]
    warnings = [text for mark, text in told if mark == "#" and text.strip() and "overcommit" not in text]
    manifest = [line for line in lines if "MANIFEST" in line]
    return " ".join([*manifest[:1], *(warnings or [text for _, text in told])[-1:]]).strip()[:512]


def _is_full(folder: Path, said: str) -> bool:
    return "No space left" in said or shutil.disk_usage(folder).free < MIN_FREE_BYTES


def _set_aside(folder: Path) -> Path | None:
    """Move the server's data files into a new folder and return it; None if there are none.

    Raises:
        ServiceUnreachable: if this user may not move the files.
    """
    stored = [folder / name for name in STORED if (folder / name).exists()]
    if not stored:
        return None
    before = sorted(folder.glob(f"{ASIDE}-*"), key=_number)
    aside = folder / f"{ASIDE}-{_number(before[-1]) + 1 if before else 1}"
    try:
        aside.mkdir(mode=0o700)
        for path in stored:
            path.rename(aside / path.name)
        for old in before[: len(before) + 1 - MAX_ASIDE]:
            shutil.rmtree(old)
    except OSError as error:
        raise ServiceUnreachable(
            f"embedded Valkey cannot read {stored[0]}, and {error.filename} cannot be moved: {error.strerror}: "
            "change their owner to this user, or remove them"
        ) from error
    return aside


def _number(path: Path) -> int:
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _not_started(said: str, log_file: Path) -> ServiceUnreachable:
    return ServiceUnreachable(f"embedded Valkey did not start: {said or 'no reason given'}; see {log_file}")
