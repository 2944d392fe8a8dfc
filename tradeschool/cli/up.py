"""`tradeschool up` and `tradeschool down`: everything on one machine."""

import click

from tradeschool.cli.context import json_option, load_settings, say
from tradeschool.cli.own_page import page_option
from tradeschool.cli.pipeline import search_while_fetching, wanted_by
from tradeschool.cli.searching import Chosen, search_options
from tradeschool.cli.wanted import refuse_unsettled
from tradeschool.embedded import Valkey


@click.command()
@search_options
@click.option("--native", is_flag=True, help="Ask the provider for M15 and H1 too, instead of deriving them.")
@click.option("--run", "run_name", help="A name for the run; one that is there already is gone on with.")
@page_option
@json_option
def up(run_name: str | None, *, native: bool, page: bool, as_json: bool, **options: object) -> None:
    """Fetch what the levels name, search each as soon as its candles are sealed, and judge it.

    Starts what is missing - server, fetcher, workers, page - and takes it down again. Exit code 0 when every gate was
    met, 3 when one was not.
    """
    settings = load_settings()
    chosen = Chosen(**options)  # type: ignore[arg-type]  # click has checked them
    wanted = wanted_by(chosen.levels())
    refuse_unsettled(wanted)
    search_while_fetching(
        settings, chosen, wanted, run_name, native=native, to_the_end=False, page=page, as_json=as_json
    )


@click.command()
def down() -> None:
    """Stop the embedded server, whoever left it running; what it stored stays."""
    stopped = Valkey.of(load_settings().state_dir).stop()
    say("the embedded server is stopped" if stopped else "no embedded server runs")
