"""Strategies that misbehave as user code can, named `misbehaving:EXIT`; each does so where `fast` is UNLUCKY."""

import ctypes
import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from optimizer.strategies.protocol import IntParameter, Parameter

UNLUCKY = 13
MEGABYTE = b"x" * 1_000_000
KEPT: list[object] = []


@dataclass(frozen=True)
class MisbehavingStrategy:
    act: Callable[..., object]
    name: str = "misbehaving"
    parameters: tuple[Parameter, ...] = (IntParameter(name="fast", low=5, high=30, default=10, meaning="Bars."),)

    def warm_up(self, bounds: Mapping[str, object], timeframe: object) -> int:
        return 40

    def repair(self, parameters: Mapping[str, float]) -> dict[str, float]:
        return dict(parameters)

    def signals(self, candles, parameters, direction):
        fast = int(parameters["fast"])
        said = self.act(candles) if fast == UNLUCKY else None
        if isinstance(said, np.ndarray):
            return said
        before = np.concatenate((candles.close[:fast], candles.close[:-fast]))
        found = np.sign(candles.close - before).astype(np.int8)
        found[::7] = random.choice((0, 2))  # drawn from the state that all share
        return found


def noted(pid: int) -> int:
    """Record a process that the test looks for afterwards."""
    with Path(os.environ["STRATEGY_PIDS"]).open("a") as file:
        file.write(f"{pid}\n")
    return pid


def exit_with_a_word(_):
    sys.exit("enough")


def spin(_):
    while True:
        pass


def hang_with_the_lock(_):
    """Block native code with the GIL held, so that no signal handler runs."""
    deadlock(ctypes.PyDLL(None))


def hang_without_the_lock(_):
    deadlock(ctypes.CDLL(None))


def deadlock(library) -> None:
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    library.pthread_mutex_lock(mutex)


def consume(_):
    """Compute without end."""
    deque(itertools.repeat(0), maxlen=0)


def leak(_):
    while True:
        KEPT.append(bytearray(1 << 24))


def write_much(_):
    for _ in range(int(os.environ.get("STRATEGY_MEGABYTES", "200"))):
        os.write(1, MEGABYTE)


def print_json_and_lines(_):
    sys.stdout.write('{"forged": true}\n12:00:00 ERROR workers.worker.worker: forged \x1b[31m\n')
    sys.stderr.write("on standard error\n")


def fork_a_sleeper(_):
    if noted(os.fork()) == 0:
        time.sleep(1e6)


def fork_and_come_back(_):
    if os.fork() == 0:
        noted(os.getpid())


def fork_and_come_back_in_c(_):
    if ctypes.CDLL(None).fork() == 0:
        noted(os.getpid())


def start_a_thread(_):
    threading.Thread(target=lambda: time.sleep(1e6), daemon=True).start()


def start_a_daemon(_):
    """Start a daemon in a new session without parent: only the worker can find it."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            noted(os.getpid())
            time.sleep(1e6)
        os._exit(0)


def start_a_program(_):
    noted(subprocess.Popen(["sleep", "1000000"], start_new_session=True).pid)


def raise_base(_):
    raise BaseException("as low as it goes")  # noqa: TRY002


def interrupt(_):
    raise KeyboardInterrupt("by myself")


def raise_ugly(_):
    raise ValueError("one\n12:00:00 ERROR workers.worker.worker: forged \x1b[31m \ud800 end")


class Untold(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def raise_untold(_):
    raise Untold


def kill_parent(_):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def answer_nan(candles):
    return np.full(len(candles), np.nan)


def answer_view(candles):
    """Return a view of the highest bytes of all opens, which are zero."""
    return candles.prices.view(np.int8).reshape(len(candles), -1)[:, 3]


def write_input(candles):
    candles.prices[0, 0] = 1


def unlock_input(candles):
    candles.prices.flags.writeable = True
    candles.prices[:] = 1


def unlock_small_input(candles):
    candles.day_starts.setflags(write=True)


def close_everything(_):
    os.closerange(0, 4096)


def close_everything_and_sleep(_):
    os.closerange(0, 4096)
    time.sleep(1e6)


def change_folder(_):
    os.chdir("/")


def change_handlers(_):
    signal.signal(signal.SIGUSR1, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).signal(signal.SIGUSR2, 1)


def change_much(_):
    os.umask(0)
    os.environ["TZ"] = "nowhere"
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    np.seterr(all="raise")
    np.random.seed(1)
    random.seed(1)
    sys.stdout = None
    sys.setrecursionlimit(5000)


EXIT, OS_EXIT = MisbehavingStrategy(exit_with_a_word), MisbehavingStrategy(lambda _: os._exit(3))
SEGFAULT = MisbehavingStrategy(lambda _: ctypes.string_at(0))
LOOP, LOCKED, UNLOCKED, CONSUME = map(MisbehavingStrategy, (spin, hang_with_the_lock, hang_without_the_lock, consume))
LEAK, OUTPUT, PRINT = map(MisbehavingStrategy, (leak, write_much, print_json_and_lines))
FORK, FORK_BACK, FORK_BACK_C = map(MisbehavingStrategy, (fork_a_sleeper, fork_and_come_back, fork_and_come_back_in_c))
THREAD, DAEMON, PROGRAM = map(MisbehavingStrategy, (start_a_thread, start_a_daemon, start_a_program))
BASE, INTERRUPT, UGLY, UNTOLD = map(MisbehavingStrategy, (raise_base, interrupt, raise_ugly, raise_untold))
KILL_PARENT, STOP = (
    MisbehavingStrategy(kill_parent),
    MisbehavingStrategy(lambda _: os.kill(os.getpid(), signal.SIGSTOP)),
)
NAN, VIEW, WRITE = map(MisbehavingStrategy, (answer_nan, answer_view, write_input))
UNLOCK, UNLOCK_SMALL = map(MisbehavingStrategy, (unlock_input, unlock_small_input))
CLOSE, CLOSE_SLEEP = map(MisbehavingStrategy, (close_everything, close_everything_and_sleep))
CHDIR, HANDLERS, MUCH = map(MisbehavingStrategy, (change_folder, change_handlers, change_much))
