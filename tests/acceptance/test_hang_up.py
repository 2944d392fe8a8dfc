"""A closed terminal (SIGHUP) ends a command like Ctrl-C; under nohup the command continues."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

SAID = "the terminal was closed (SIGHUP)"
HOLDS = """
import sys
from tradeschool.app.hangup import end_with_the_terminal
end_with_the_terminal()
print("ready", flush=True)
sys.stdin.read()
"""


def test_closing_the_terminal_ends_a_search_and_its_workers_with_a_message(fetched, eventually) -> None:
    words = ("--curriculum", str(fetched.write_curriculum(trials=4000)), "--seed", "7", "-j", "1", "--run", "r")
    search = fetched.start("optimize", "run", *words)
    eventually(lambda: fetched.trials() > 0)

    search.send_signal(signal.SIGHUP)
    _, err = search.communicate(timeout=120)

    assert search.returncode == 130
    assert err.count(SAID) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("words", [("worker", "start", "-n", "1"), ("serve", "--port", "0")])
def test_closing_the_terminal_ends_servers_and_pools(program, words: tuple[str, ...]) -> None:
    staying = program.start(*words)
    assert staying.stderr is not None
    staying.stderr.readline()

    staying.send_signal(signal.SIGHUP)
    _, err = staying.communicate(timeout=120)

    assert staying.returncode == 0
    assert SAID in err


def started_on_a_terminal(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-P", "-m", "tradeschool", "worker", "start", "-n", "1"]
    process = subprocess.Popen(
        words,
        cwd=folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    return process, ours


def test_workers_end_when_the_terminal_accepts_no_output(program) -> None:
    process, terminal = started_on_a_terminal(program.folder)
    assert b"starting 1 worker;" in os.read(terminal, 4096)

    os.close(terminal)

    assert process.wait(timeout=120) == 0


@pytest.mark.parametrize(("before", "code"), [(signal.SIG_IGN, 0), (signal.SIG_DFL, 1)])
def test_sighup_stays_ignored_under_nohup(before: Callable[..., None] | signal.Handlers, code) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, before),
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=120)

    assert (SAID in err, process.returncode == 0) == (code == 1, code == 0)
