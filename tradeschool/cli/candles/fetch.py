"""`tradeschool fetch`: download candles and seal them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tradeschool.app.context import candles_of, holdout_candles_of, load_settings
from tradeschool.app.download.dataset_selection import choose, refuse_unsettled, refuse_with_search, say_nothing_to_do
from tradeschool.cli.options.output import json_option
from tradeschool.markets.catalogue import DatasetRange
from tradeschool.settings.model import Settings
from tradeschool.store.atomic_files import is_swept


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """Values of the options of `fetch`; None for options that were not given."""

    pairs: str | None
    timeframes: str | None
    timerange: str | None
    native: bool
    then_optimize: bool
    curriculum: Path | None
    seed: int | None
    workers: int | None
    run_name: str | None
    holdout: bool
    keep_up: bool
    every: float
    dry_run: bool
    as_json: bool


@click.command()
@click.option("--pairs", help="Pairs, for example BTC/USD,EUR/USD. [default: the curriculum's]")
@click.option("--timeframes", help="Timeframes, for example M5,H1. [default: all]")
@click.option("--timerange", help="Time range, for example 20200101-20240101; end excluded. [default: the catalogue's]")
@click.option("--native", is_flag=True, help="Download M15 and H1 instead of deriving them from M5.")
@click.option("--then-optimize", is_flag=True, help="Search each level as soon as its datasets are sealed.")
@click.option("--curriculum", type=click.Path(path_type=Path), help="With --then-optimize: TOML file with levels.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="With --then-optimize: seed. [default: random]")
@click.option("-j", "--workers", type=click.IntRange(0), help="With --then-optimize: number of workers to start.")
@click.option("--run", "run_name", help="With --then-optimize: run name; an existing run is resumed.")
@click.option("--holdout", is_flag=True, help="Fetch the holdout period into a separate folder that no search reads.")
@click.option("--follow", "keep_up", is_flag=True, help="Keep the chosen datasets up to date until interrupted.")
@click.option("--every", type=click.FloatRange(1), default=300, show_default=True, help="Seconds between two rounds.")
@click.option("--dry-run", is_flag=True, help="Print requests, time and disk space without sending a request.")
@json_option
def fetch(**options: Any) -> None:
    """Download candles and seal them.

    After an interruption, the same command resumes where it stopped.
    """
    _fetch(FetchOptions(**options))


def _fetch(options: FetchOptions) -> None:
    settings = load_settings()
    wanted = choose(options.pairs, options.timeframes, options.timerange, holdout=options.holdout)
    store = holdout_candles_of(settings) if options.holdout else candles_of(settings)
    if options.then_optimize:
        _search_too(options, wanted, settings)
        return
    if not options.keep_up:
        refuse_unsettled(wanted)
        if not options.dry_run and store.holds_all(wanted) and is_swept(store.root):
            say_nothing_to_do(wanted, store, as_json=options.as_json)
            return
    # Imported here: HTTP and dataframe libraries take longer to import than the check above.
    from tradeschool.app.download import dataset_download

    if options.dry_run:
        dataset_download.plan(wanted, store, settings, native=options.native, as_json=options.as_json)
    elif options.keep_up:
        dataset_download.keep_up(wanted, store, settings, native=options.native, every=options.every)
    else:
        dataset_download.fetch_all(wanted, store, settings, native=options.native, as_json=options.as_json)


def _search_too(options: FetchOptions, wanted: list[DatasetRange], settings: Settings) -> None:
    refuse_with_search(holdout=options.holdout, keep_up=options.keep_up, dry_run=options.dry_run)
    from tradeschool.app import fetch_and_search  # imported here: a plain download needs no search code

    fetch_and_search.fetch_and_search(
        settings,
        wanted,
        {"curriculum": options.curriculum, "seed": options.seed, "workers": options.workers},
        options.run_name,
        native=options.native,
        as_json=options.as_json,
    )
