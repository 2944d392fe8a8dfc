"""`tradeschool up` and `tradeschool down`: run and stop the whole pipeline on one machine."""

import click

from tradeschool.app.context import load_settings
from tradeschool.app.download.dataset_selection import refuse_unsettled
from tradeschool.app.fetch_and_search import search_while_fetching, wanted_by
from tradeschool.app.search.search_request import SearchOptions
from tradeschool.cli.options.output import json_option, page_option
from tradeschool.cli.options.search import search_options
from tradeschool.embedded_valkey.server import EmbeddedValkey
from tradeschool.views.terminal import say


@click.command()
@search_options
@click.option("--native", is_flag=True, help="Download each timeframe instead of deriving it from a shorter one.")
@click.option("--run", "run_name", help="Run name; an existing run is resumed. [default: from date, time and seed]")
@page_option
@json_option
def up(run_name: str | None, *, native: bool, page: bool, as_json: bool, **options: object) -> None:
    """Fetch the candles of the levels, search each level once its candles are sealed, and validate the result.

    The command starts the missing services (queue server, fetcher, workers, page) and stops them at the end. Exit
    code 0: every gate passed. Exit code 3: a gate failed.
    """
    settings = load_settings()
    chosen = SearchOptions.of(options, settings)
    wanted = wanted_by(chosen.written_levels())
    refuse_unsettled(wanted)
    search_while_fetching(
        settings, chosen, wanted, run_name, native=native, to_the_end=False, page=page, as_json=as_json
    )


@click.command()
def down() -> None:
    """Stop the embedded server; stored data is kept."""
    stopped = EmbeddedValkey.of(load_settings().state_dir).stop()
    say("embedded server stopped" if stopped else "no embedded server is running")
