"""`tradeschool up` and `tradeschool down`: everything on one machine."""

from pathlib import Path

import click

from tradeschool.cli.context import json_option, load_settings, now, redis_url_of, say
from tradeschool.cli.optimize import (
    choose,
    climb,
    curriculum_option,
    draw_seed,
    enough_workers,
    level_option,
    place_of,
    seed_option,
    trials_option,
    workers_option,
)
from tradeschool.cli.pipeline import candles_on_the_way, wanted_by
from tradeschool.cli.wanted import refuse_unsettled
from tradeschool.embedded import Valkey
from workers import search


@click.command()
@curriculum_option
@level_option
@trials_option
@seed_option
@workers_option
@click.option("--native", is_flag=True, help="Ask the provider for M15 and H1 too, instead of deriving them.")
@json_option
def up(
    curriculum: Path | None,
    level_name: str | None,
    trials: int | None,
    seed: int | None,
    workers: int | None,
    *,
    native: bool,
    as_json: bool,
) -> None:
    """Fetch what the levels name, search each as soon as its candles are sealed, and judge it.

    Starts what is missing - server, fetcher, workers - and takes it down again. Exit code 0 when every gate was
    met, 3 when one was not.
    """
    settings = load_settings()
    levels = choose(curriculum, level_name, trials)
    wanted = wanted_by(levels)
    refuse_unsettled(wanted)
    place = place_of(settings)
    seed = draw_seed(seed)
    with (
        candles_on_the_way(place, settings, wanted, native=native) as wait_for_candles,
        redis_url_of(settings) as url,
        enough_workers(url, workers),
    ):
        record = search.begin(place, search.new_run_name(now(), seed), levels, seed, now())
        climb(place, record, url, wait_for_candles, as_json=as_json)


@click.command()
def down() -> None:
    """Stop the embedded server, whoever left it running; what it stored stays."""
    stopped = Valkey.of(load_settings().state_dir).stop()
    say("the embedded server is stopped" if stopped else "no embedded server runs")
