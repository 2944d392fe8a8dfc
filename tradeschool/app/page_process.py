"""Page process of `tradeschool up`: serves the monitoring page while the command runs."""

import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tradeschool.app.context import own_command
from tradeschool.settings.loading import environment_for_child
from tradeschool.views.terminal import say

STOP_SECONDS = 10.0
LINE_SECONDS = 10.0
"""Seconds between two lines while the page starts."""


@contextmanager
def own_page(url: str, *, wanted: bool) -> Iterator[None]:
    """Serve the page in a child process, from the start of the block to its end.

    The child reports a port that is in use and exits; the command continues without the page.
    """
    if not wanted:
        yield
        return
    read, write = os.pipe()
    try:
        page = subprocess.Popen(  # noqa: S603  # our own command
            [*own_command("serve"), "--parent", str(os.getpid()), "--ready-to", str(write)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment_for_child(url),
            start_new_session=True,
            pass_fds=(write,),
        )
    finally:
        os.close(write)
    try:
        _wait_until_closed(read)
        yield
    finally:
        page.terminate()
        try:
            page.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            page.kill()
            page.wait()


def _wait_until_closed(read: int) -> None:
    """Wait until the child serves the page or has ended; both close its end of the pipe."""
    try:
        while not select.select([read], [], [], LINE_SECONDS)[0]:
            say("waiting for the monitoring page to start; --no-page runs without it")
    finally:
        os.close(read)
