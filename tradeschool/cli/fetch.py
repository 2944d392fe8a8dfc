"""`tradeschool fetch`: download candles and seal them."""

from pathlib import Path

import click

from tradeschool.cli.context import candles_of, json_option, load_settings, sealed_candles_of
from tradeschool.cli.wanted import choose, refuse_beside_search, refuse_unsettled, say_nothing_to_do
from tradeschool.store.files import is_swept


@click.command()
@click.option("--pairs", help="Such as BTC/USD,EUR/USD; the curriculum's when not given.")
@click.option("--timeframes", help="Such as M5,H1; all when not given.")
@click.option("--timerange", help="Such as 20200101-20240101, end excluded; the catalogue's when not given.")
@click.option("--native", is_flag=True, help="Ask the provider for M15 and H1 too, instead of deriving them.")
@click.option("--then-optimize", is_flag=True, help="Search each level as soon as its datasets are sealed.")
@click.option("--curriculum", type=click.Path(path_type=Path), help="With --then-optimize: levels of a TOML file.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="With --then-optimize: drawn when not given.")
@click.option("-j", "--workers", type=click.IntRange(0), help="With --then-optimize: workers of its own.")
@click.option("--run", "run_name", help="With --then-optimize: a name; a run that is there already is gone on with.")
@click.option("--sealed", is_flag=True, help="Fetch the sealed period, into a folder that no search reads.")
@click.option("--follow", "keep_up", is_flag=True, help="Stay, and keep what was chosen up to date; its end is now.")
@click.option("--every", type=click.FloatRange(1), default=300, show_default=True, help="Seconds between two rounds.")
@click.option("--dry-run", is_flag=True, help="Print requests, time at the limit and disk space, and ask nothing.")
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
    """Download candles and seal them; run it again after any interruption to go on where it stopped."""
    settings = load_settings()
    wanted = choose(pairs, timeframes, timerange, sealed=sealed)
    store = sealed_candles_of(settings) if sealed else candles_of(settings)
    if then_optimize:
        refuse_beside_search(sealed=sealed, keep_up=keep_up, dry_run=dry_run)
        from tradeschool.cli import pipeline  # a download alone loads no search code

        options = {"curriculum": curriculum, "seed": seed, "workers": workers}
        pipeline.fetch_and_search(settings, wanted, options, run_name, native=native, as_json=as_json)
        return
    if not keep_up:
        refuse_unsettled(wanted)
        if not dry_run and store.holds_all(wanted) and is_swept(store.root):
            say_nothing_to_do(wanted, store, as_json=as_json)
            return
    # Only now: what speaks HTTP and makes frames takes longer to import than it takes to see that all is there.
    from tradeschool.cli import downloading

    if dry_run:
        downloading.plan(wanted, store, settings, native=native, as_json=as_json)
    elif keep_up:
        downloading.keep_up(wanted, store, settings, native=native, every=every)
    else:
        downloading.fetch_all(wanted, store, settings, native=native, as_json=as_json)
