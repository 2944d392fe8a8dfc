"""Functions for process groups, which import them by name."""

import os
import signal
import time
from pathlib import Path


def double(number: int) -> tuple[int, int]:
    return 2 * number, os.getpid()


def sleep_with_a_name(folder: Path, number: int) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(300)


def end_it(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop_it(number: int) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def refuse(number: int) -> None:
    raise ValueError(f"not {number}")
