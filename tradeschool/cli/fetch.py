"""`tradeschool fetch`: download candles and seal them."""

from pathlib import Path

import click

from tradeschool.cli.context import candles_of, json_option, load_settings, sealed_candles_of
from tradeschool.cli.wanted import choose, refuse_beside_search, refuse_unsettled, say_nothing_to_do
from tradeschool.store.files import is_swept


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
@click.option("--sealed", is_flag=True, help="Fetch the holdout period into a separate folder that no search reads.")
@click.option("--follow", "keep_up", is_flag=True, help="Keep the chosen datasets up to date until interrupted.")
@click.option("--every", type=click.FloatRange(1), default=300, show_default=True, help="Seconds between two rounds.")
@click.option("--dry-run", is_flag=True, help="Print requests, time and disk space without sending a request.")
@json_option
def fetch(
    pairs: str | None,
    timeframes: str | None,
    timerange: str | None,
    *,
    native: bool,
    then_optimize: bool,
    curriculum: Path | None,
    seed: int | None,
    workers: int | None,
    run_name: str | None,
    sealed: bool,
    keep_up: bool,
    every: float,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Download candles and seal them.

    After an interruption, the same command resumes where it stopped.
    """
    settings = load_settings()
    wanted = choose(pairs, timeframes, timerange, sealed=sealed)
    store = sealed_candles_of(settings) if sealed else candles_of(settings)
    if then_optimize:
        refuse_beside_search(sealed=sealed, keep_up=keep_up, dry_run=dry_run)
        from tradeschool.cli import pipeline  # imported here: a plain download needs no search code

        options = {"curriculum": curriculum, "seed": seed, "workers": workers}
        pipeline.fetch_and_search(settings, wanted, options, run_name, native=native, as_json=as_json)
        return
    if not keep_up:
        refuse_unsettled(wanted)
        if not dry_run and store.holds_all(wanted) and is_swept(store.root):
            say_nothing_to_do(wanted, store, as_json=as_json)
            return
    # Imported here: HTTP and dataframe libraries take longer to import than the check above.
    from tradeschool.cli import downloading

    if dry_run:
        downloading.plan(wanted, store, settings, native=native, as_json=as_json)
    elif keep_up:
        downloading.keep_up(wanted, store, settings, native=native, every=every)
    else:
        downloading.fetch_all(wanted, store, settings, native=native, as_json=as_json)
