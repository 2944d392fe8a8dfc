"""Starts the embedded server, and starts it anew without its files where it cannot read them.

The queue holds nothing that a study lacks: a server without memory costs a few evaluations, and no result changes.
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
"""In which a server that lives must answer; a long append-only file is read for a while."""
LOOK_SECONDS = 0.02
HELD_SECONDS = 5.0
"""How long a server that was killed may go on holding its lock."""
SERVER_LOCK, PID_FILE = "server.lock", "valkey.pid"
STORED = ("appendonlydir", "appendonly.aof", "dump.rdb")
"""What a server may keep in its folder."""
ASIDE = "unreadable"
MOST_ASIDE = 3
"""Unreadable files that are kept, for people to look at."""
LEAST_FREE_BYTES = 1 << 16
UNREADABLE = re.compile(r"\bAOF\b|\bRDB\b|append[- ]only|appendonly", re.IGNORECASE)
"""What the server's last words are about where its files are damaged, cut, not ours, or of another version."""
LOG_LINE = re.compile(r"^\d+:[A-Z] .{20,30}? ([.*#-]) (.*)$")

log = logging.getLogger(__name__)


def start(folder: Path, log_file: Path, launch: Callable[[int], None], is_loaded: Callable[[], bool]) -> None:
    """Start a server in its folder and wait until it answers; `launch` is given a descriptor that it is to inherit.

    Raises:
        ServiceUnreachable: where it ends again, or does not answer in time: why, and what to do.
    """
    said = _try(log_file, launch, is_loaded)
    if said is None:
        return
    if _is_full(folder, said):
        raise ServiceUnreachable(f"embedded Valkey did not start: the disk of {folder} is full: free some space")
    if not UNREADABLE.search(said) or not (aside := _set_aside(folder)):
        raise _not_started(said, log_file)
    log.warning(
        "queue's files cannot be read, and were set aside; the search goes on without them",
        extra={"action": "queue_files_set_aside", "moved_to": str(aside), "reason": said},
    )
    said = _try(log_file, launch, is_loaded)
    if said is not None:
        raise _not_started(said, log_file)


def _try(log_file: Path, launch: Callable[[int], None], is_loaded: Callable[[], bool]) -> str | None:
    """Start it once; its last words where it ended, None where it answers."""
    begin = log_file.stat().st_size if log_file.exists() else 0
    with _server_lock(log_file.parent) as lock:
        launch(lock)
    end = time.monotonic() + START_SECONDS
    while not is_loaded():
        if not is_running(log_file.parent):
            return _last_words(log_file, begin)
        if time.monotonic() > end:
            raise ServiceUnreachable(f"embedded Valkey does not answer after {START_SECONDS:g} s; see {log_file}")
        time.sleep(LOOK_SECONDS)
    return None


def is_running(folder: Path) -> bool:
    """Whether a server lives that was started in this folder, also one whose socket or process cannot be seen here."""
    with (folder / SERVER_LOCK).open("w") as file:
        return not _locked(file)


@contextlib.contextmanager
def _server_lock(folder: Path) -> Iterator[int]:
    """A descriptor that the server inherits: the lock on it is held for as long as the server lives.

    Raises:
        ServiceUnreachable: where another server holds it, whose files a second one would spoil.
    """
    with (folder / SERVER_LOCK).open("w") as file:
        end = time.monotonic() + HELD_SECONDS  # a killed server's child may still write what it had begun
        while not _locked(file):
            if time.monotonic() > end:
                raise ServiceUnreachable(
                    f"embedded Valkey in {folder} runs, but its socket cannot be reached from here{_pid_of(folder)}: "
                    "end it, or the commands that use it, and try again (a container or service with a /tmp of its "
                    "own needs a state_dir of its own)"
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
    """Such as ` (process 123)`, as the server wrote it; empty where it did not."""
    try:
        return f" (process {int((folder / PID_FILE).read_text())})"
    except (OSError, ValueError):
        return ""


def _last_words(log_file: Path, begin: int) -> str:
    """The last warning of the server's log since then, else its last line; empty where it could not write one."""
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
    return "No space left" in said or shutil.disk_usage(folder).free < LEAST_FREE_BYTES


def _set_aside(folder: Path) -> Path | None:
    """Move what the server stored into a folder of another name; None where there is nothing to move.

    Raises:
        ServiceUnreachable: where this user may not move it.
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
        for old in before[: len(before) + 1 - MOST_ASIDE]:
            shutil.rmtree(old)
    except OSError as error:
        raise ServiceUnreachable(
            f"embedded Valkey cannot read {stored[0]}, and {error.filename} cannot be moved: {error.strerror}: "
            "give them to this user, or remove them"
        ) from error
    return aside


def _number(path: Path) -> int:
    number = path.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _not_started(said: str, log_file: Path) -> ServiceUnreachable:
    return ServiceUnreachable(f"embedded Valkey did not start: {said or 'it gave no reason'}; see {log_file}")
