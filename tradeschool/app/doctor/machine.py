"""Checks of the machine: folders, disk, memory, open files, and the port of the page."""

import os
import resource
import shlex
import shutil
import socket
import stat
from contextlib import closing
from pathlib import Path

from tradeschool.app.doctor.check_result import CheckResult, failed, ok, warning
from tradeschool.private_folders import runtime_folder
from tradeschool.settings.model import Settings
from workers.processes.process_group import cores

SMALLEST_FREE_BYTES = 1_000_000_000
SMALLEST_MEMORY_BYTES = 2_000_000_000
FEWEST_FILES = 1_024
OTHERS = stat.S_IRWXG | stat.S_IRWXO
PROBE = ".tradeschool-doctor"


def check_folder(name: str, folder: Path) -> CheckResult:
    """Check that a folder, or the nearest existing one above it, is writable and has free space."""
    existing = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    probe = existing / PROBE
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return failed(name, f"{existing} is not writable: {error.strerror}", f"fix its permissions, or set {name}")
    free = shutil.disk_usage(existing).free
    if free < SMALLEST_FREE_BYTES:
        found = f"{existing} has {free / 1e9:.1f} GB free, expected {SMALLEST_FREE_BYTES / 1e9:g} GB"
        return failed(name, found, f"free space, for example with tradeschool clean, or set {name}")
    return ok(name, f"{folder} is writable, {free / 1e9:.0f} GB free")


def check_private(folder: Path) -> CheckResult:
    """Check that no other user has access to the state folder."""
    if not folder.exists():
        return ok("permissions", f"{folder} does not exist yet")
    if folder.stat().st_mode & OTHERS:
        return failed("permissions", f"other users have access to {folder}", f"chmod 700 {shlex.quote(str(folder))}")
    return ok("permissions", f"{folder} is readable by you alone; sockets are in {runtime_folder()}")


def check_memory() -> CheckResult:
    """Check processors and memory."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    told = f"{cores()} cores for workers, {pages * size / 1e9:.1f} GB of memory"
    if pages * size < SMALLEST_MEMORY_BYTES:
        return warning("machine", told, "start fewer workers: -j 1")
    return ok("machine", told)


def check_open_files() -> CheckResult:
    """Check the limit of open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEWEST_FILES:
        return warning("open files", f"limit {soft}, at most {hard}", f"ulimit -n {FEWEST_FILES}")
    return ok("open files", "no limit" if soft == resource.RLIM_INFINITY else f"limit {soft:,}")


def check_port(settings: Settings) -> CheckResult:
    """Check that the page can listen on its address."""
    serve = settings.serve
    where = f"{serve.host}:{serve.port}"
    if serve.port == 0:
        return ok("page", "listens on a free port")
    with closing(socket.socket(socket.AF_INET6 if ":" in serve.host else socket.AF_INET)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((serve.host, serve.port))
        except OSError as error:
            action = "nothing, if your page is running; else set serve.port to another one"
            return warning("page", f"{where}: {error.strerror}", action)
    return ok("page", f"{where} is free")
