"""`tradeschool deputy`: standby coordinator, started by `worker start`; it resumes runs whose coordinator died."""

import signal

import click

from tradeschool.cli.context import load_settings, own_command, redis_url_of
from tradeschool.signing_key import signing_key
from workers.deputy import Deputy
from workers.parent import die_with_parent
from workers.queue import connect
from workers.signing import Signer


@click.command()
@click.option("--parent", type=int, help="Process ID of the parent; the standby ends with it.")
def deputy(parent: int | None) -> None:
    """Resume orphaned runs of this machine until interrupted."""
    settings = load_settings()
    if parent is not None:
        die_with_parent(parent, signal.SIGTERM)
    with redis_url_of(settings) as url:
        Deputy(
            connect(url),
            settings.storage,
            lambda run: own_command("optimize", "resume", run, "-j", "0"),
            signer=Signer(signing_key(settings)),
        ).run()
