"""A server that runs Python programs in forks of itself, and its client.

A Python program of this project spends two seconds of processor time on its imports. A fork of a process that has
imported them starts in milliseconds, and is a process all the same: with an id, a session, signals and an exit code of
its own. The server imports, and uses nothing: it has no threads that a fork would lose.
"""

import atexit
import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NoReturn

from tests.child_forks import ChildForks, help_out, open_child_forks, open_streams

ROOT = Path(__file__).parent.parent
SERVER, HELPER = "server", "helper"
"""Who waits for requests: a server of tests, or the helper of `child_forks.py`."""


NOT_FLUSHED = 120
"""Exit code of an interpreter that could not write the rest of its output."""


class Forked:
    """A running program with the part of `subprocess.Popen` that tests use."""

    def __init__(self, line: socket.socket, out: int | None, err: int | None) -> None:
        self._answers = line.makefile("r")
        self._line = line
        self.pid = int(self._answers.readline())
        self.stdout: Any = None if out is None else os.fdopen(out)
        self.stderr: IO[str] | None = None if err is None else os.fdopen(err)
        self.returncode: int | None = None
        self._ended = threading.Thread(target=self._hear_end, daemon=True)
        self._ended.start()

    def _hear_end(self) -> None:
        self.returncode = int(self._answers.readline())
        self._answers.close()
        self._line.close()

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the exit code."""
        self._ended.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read the output until the end of the program."""
        said: dict[str, str] = {}
        readers = [
            threading.Thread(target=lambda name=name, file=file: said.update({name: file.read()}), daemon=True)
            for name, file in (("out", self.stdout), ("err", self.stderr))
            if file is not None
        ]
        end = time.monotonic() + (timeout or 3600.0)
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(max(0.0, end - time.monotonic()))
        self.wait(max(0.0, end - time.monotonic()))
        self.close()
        return said["out"], said.get("err", "")

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        """Close its output pipes."""
        for file in (self.stdout, self.stderr):
            if file is not None:
                file.close()


def start_server(kind: str, modules: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process that imports modules and waits for requests."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, __file__, kind, str(theirs.fileno()), *modules],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd="/",
        )
    return process, ours


class ForkHelper:
    """A process with modules imported; what this process starts with `subprocess` are forks of it, while in use."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._process, self._line = start_server(HELPER, modules)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Python programs are forks until the block ends."""
        forks = ChildForks(self._line)
        try:
            yield
        finally:
            forks.restore()

    def close(self) -> None:
        """End the helper; started programs continue."""
        self._line.close()
        self._process.wait(timeout=60)


@contextmanager
def children_as_forks(modules: Sequence[str]) -> Iterator[None]:
    """Python programs that this process starts with `subprocess` are forks of a process with `modules` imported."""
    helper = ForkHelper(modules)
    try:
        with helper.in_use():
            yield
    finally:
        helper.close()


class ForkServer:
    """Client of the fork server."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._process, self._line = start_server(SERVER, modules)

    def start(
        self,
        words: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str],
        has_errors: bool = True,
        is_quiet: bool = False,
    ) -> Forked:
        """Run `words`, as `python` would: `-m module arguments`, or `file arguments`.

        Without errors they are ours; what a quiet one says is kept nowhere.
        """
        ours, theirs = socket.socketpair()
        nobody = (None, os.open(os.devnull, os.O_WRONLY)) if is_quiet else None
        out_here, out_there = nobody or os.pipe()
        if has_errors and not is_quiet:
            err_here, err_there = os.pipe()
        else:
            err_here, err_there = None, os.dup(out_there if is_quiet else 2)
        order = {"words": [*words], "cwd": str(cwd or Path.cwd()), "env": dict(env)}
        socket.send_fds(self._line, [b"x"], [theirs.fileno(), out_there, err_there])
        theirs.close()
        os.close(out_there)
        os.close(err_there)
        ours.sendall(json.dumps(order).encode() + b"\n")
        return Forked(ours, out_here, err_here)

    def close(self) -> None:
        """End the server; started programs continue."""
        self._line.close()
        self._process.wait(timeout=60)


def serve(line: socket.socket) -> dict[str, Any] | None:
    """Fork for each request; return the request in the fork, or None at the end of requests."""
    running: dict[int, socket.socket] = {}
    signal.signal(signal.SIGCHLD, lambda *_: reap(running))
    while True:
        given, fds, _, _ = socket.recv_fds(line, 1, 3)
        if not given:
            return None
        answers = socket.socket(fileno=fds[0])
        order = dict(json.loads(answers.makefile("r").readline()))
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})  # none is reaped before it is noted
        pid = os.fork()
        if pid == 0:
            for each in (line, answers, *running.values()):
                each.close()
            become(fds[1], fds[2])
            return order
        running[pid] = answers
        answers.sendall(f"{pid}\n".encode())
        for fd in fds[1:]:
            os.close(fd)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def reap(running: dict[int, socket.socket]) -> None:
    """Report exit codes of ended forks. The end of another fork may interrupt it, and reap some of them."""
    for pid in [*running]:
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue
        if ended:
            told = running.pop(pid)
            with suppress(BrokenPipeError):  # who asked has gone
                told.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            told.close()


def become(out: int, err: int) -> None:
    """Give the fork the state of a new process."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, number in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(fd, number)
        os.close(fd)
    open_streams()


def run(order: Mapping[str, Any]) -> None:
    """Run `python ARGUMENTS` in this process, or in a process that it starts."""
    following: Mapping[str, Any] | None = order
    while following is not None:
        order = following
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        time.tzset()
        following = open_child_forks() if starts_others(order["words"]) else None
    run_words(order["words"], order["cwd"])


def run_to_end(order: Mapping[str, Any]) -> NoReturn:
    """Run a program and end this process with its exit code, as an interpreter would.

    Its threads, exit handlers and output come to their end. The modules are not torn down: that would touch and so
    copy all memory that the fork shares with the server, 0.2 s of processor time for each program.
    """
    code = 0
    try:
        run(order)
    except SystemExit as ended:
        code = exit_code(ended)
    except KeyboardInterrupt:
        code = -signal.SIGINT
        sys.excepthook(*sys.exc_info())
    except BaseException:  # noqa: BLE001  # whatever the program raised
        code = 1
        sys.excepthook(*sys.exc_info())
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    has_flushed = flush(sys.stdout) & flush(sys.stderr)
    if code < 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code if has_flushed else NOT_FLUSHED)


def flush(stream: IO[str] | None) -> bool:
    """Whether nothing of a standard stream is lost."""
    with suppress(OSError):
        if stream is not None and not stream.closed:
            stream.flush()
        return True
    return False


def exit_code(ended: SystemExit) -> int:
    """The exit code of an interpreter; a text goes to standard error."""
    if ended.code is None or isinstance(ended.code, int):
        return (ended.code or 0) & 0xFF
    sys.stderr.write(f"{ended.code}\n")
    return 1


def starts_others(words: Sequence[str]) -> bool:
    """Whether a program starts Python programs; an evaluator has only the children of its strategy."""
    is_ours = "tradeschool" in words[:3] and "evaluate" not in words
    return is_ours or words[0].endswith("pool_process.py")


def run_words(words: list[str], cwd: str) -> None:
    """Run `python ARGUMENTS`."""
    if is_safe := words[0] == "-P":
        words = words[1:]
    if words[0] == "-m":
        sys.path[:1], sys.argv = [] if is_safe else [cwd], words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.path[:1], sys.argv = [] if is_safe else [str(Path(words[0]).parent)], words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    for _module in sys.argv[3:]:
        __import__(_module)
    gc.freeze()  # what is there is shared with every fork for as long as nobody counts its references
    _line = socket.socket(fileno=int(sys.argv[2]))
    if _order := serve(_line) if sys.argv[1] == SERVER else help_out(_line):
        run_to_end(_order)
