"""`tradeschool serve`: serve the monitoring page, its API and metrics."""

import asyncio
import signal

import click

from tradeschool.app.context import load_settings
from tradeschool.app.monitoring import sources_of
from tradeschool.app.notifications import notifications
from tradeschool.settings.model import Settings
from tradeschool.views.terminal import say
from workers.monitoring.overview import Overview
from workers.processes.parent_death import die_with_parent
from workers.web import app
from workers.web.auth import Auth
from workers.web.connections import raise_file_limit


@click.command()
@click.option(
    "--host",
    help="Address to listen on; a non-loopback address needs a token (serve.token_file). [default: serve.host]",
)
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port to listen on; 0 chooses a free one. [default: serve.port]"
)
@click.option("--parent", type=int, hidden=True, help="Process ID of the parent; the page ends with it.")
def serve(host: str | None, port: int | None, parent: int | None) -> None:
    """Serve the monitoring page, its API and metrics until interrupted.

    The page is read-only except for requeueing failed jobs. It starts no services and reports unreachable ones.
    """
    if parent is not None:
        die_with_parent(parent, signal.SIGTERM)
    settings = load_settings()
    with notifications(settings):
        asyncio.run(_serve(settings, host or settings.serve.host, settings.serve.port if port is None else port))


async def _serve(settings: Settings, host: str, port: int) -> None:
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    raise_file_limit()
    made = app.make_app(Overview(sources_of(settings)), Auth(token=settings.page_token()))
    runner = await app.serve(made, host, port)
    try:
        say(f"monitoring page: {app.address(runner)}; Ctrl-C stops the page only")
        await over.wait()
    finally:
        await runner.cleanup()
