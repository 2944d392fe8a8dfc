"""The page beside a command that does everything: a process of its own, gone when the command is."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tradeschool.cli.context import own_command
from tradeschool.settings import environment_for_child

STOP_SECONDS = 10.0

page_option = click.option(
    "--page/--no-page", default=True, show_default=True, help="Serve the page beside it (serve.host, serve.port)."
)


@contextmanager
def own_page(url: str, *, wanted: bool) -> Iterator[None]:
    """Serve the page over that Redis until the block ends; where its port is taken, it says so, and that is all."""
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
