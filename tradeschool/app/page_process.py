"""Page process of `tradeschool up`: serves the monitoring page while the command runs."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tradeschool.app.context import own_command
from tradeschool.settings.loading import environment_for_child

STOP_SECONDS = 10.0


@contextmanager
def own_page(url: str, *, wanted: bool) -> Iterator[None]:
    """Serve the page in a child process until the block ends.

    The child reports a port that is in use and exits; the command continues without the page.
    """
    if not wanted:
        yield
        return
    command = [*own_command("serve"), "--parent", str(os.getpid())]
    page = subprocess.Popen(  # noqa: S603  # our own command
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment_for_child(url),
        start_new_session=True,
    )
    try:
        yield
    finally:
        page.terminate()
        try:
            page.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            page.kill()
            page.wait()
